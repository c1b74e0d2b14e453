"""Market tapes for the simulated venue: a seeded synthetic one, and recorded frames."""
