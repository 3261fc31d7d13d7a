"""One run, from a configuration to its result: `run`, the session that trains, its checkpoints."""
