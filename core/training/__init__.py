"""Training: the loop, one file for each kind of step, optimisation, checkpoints, ranks."""
