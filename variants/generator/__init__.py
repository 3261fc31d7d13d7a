"""Generators (Noise to words)."""
