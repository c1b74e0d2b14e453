"""Floor 1: pure decisions. Never reads a clock, the environment, randomness or a global; never does I/O."""
