"""Metrics: pure functions of token sequences, one a file. Undefined is None, never NaN."""
