"""Gradient estimators on a language so small that all its sentences can be enumerated."""
