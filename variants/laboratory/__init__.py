"""Gradient estimators on a language so small that every sentence can be enumerated.

`toy.py` has the players, `exact.py` the exact gradients, `measure.py` compares the two.
"""
