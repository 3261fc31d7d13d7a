"""A latent to the memory that the noise blocks read."""
