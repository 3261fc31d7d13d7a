"""Words to scores."""
