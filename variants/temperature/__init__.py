"""The sampling temperature over a run."""
