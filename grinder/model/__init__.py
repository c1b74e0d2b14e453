"""Floor 0: frozen values, closed sets and tables. Never imports another floor, a clock or any I/O."""
