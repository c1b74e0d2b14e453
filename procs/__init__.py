"""Floor 6: one file per process: settings, adapters, service. Never holds a decision."""
