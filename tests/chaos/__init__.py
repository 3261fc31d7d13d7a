"""Faults on purpose: what the harness survives, counted."""
