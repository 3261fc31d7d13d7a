"""Whole text GANs that do not factor into the slots."""
