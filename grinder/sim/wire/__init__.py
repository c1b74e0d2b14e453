"""The simulated venue's wires: REST, market and user streams, WebSocket API, and the admin interface."""
