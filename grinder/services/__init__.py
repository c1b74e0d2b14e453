"""Floor 3: one sans-I/O service per process, events in and effects out through ports. Never imports an adapter."""
