"""The simulated venue and its market tapes. Never imported by an adapter, a service or a decision."""
