"""MAUVE (Pillutla et al. 2021), by its authors' package `mauve-text`, an optional extra.

The embeddings of samples and references, each of length one, are clustered together by k-means,
with a tenth as many clusters as the smaller text has sentences. Of the two histograms P and Q of
clusters, the divergence curve has the points (exp(-5 KL(Q | R)), exp(-5 KL(P | R))) for mixtures
R = w P + (1 - w) Q, and MAUVE is the area under it: 1 for equal histograms. Higher is better.

Published values use GPT-2 as encoder; these use the encoder of FED, so they are comparable with
each other and not with published ones. k-means depends on its seed: the value is the mean over
SEEDS, one start each. It has no interval. It depends on the number of sentences: compare equal
numbers only. `textgan evaluate` computes it only if `--metrics` names it. The package prints
warnings that its clusters have few points, which its definition makes so.
"""

from __future__ import annotations

import numpy as np

from core.metrics.intervals import Measure

SEEDS = (0, 1, 2, 3, 4)
FEWEST = 20  # sentences on each side: two clusters
ITERATIONS = 100


def mauve(samples: np.ndarray, references: np.ndarray) -> Measure:
    """Of embeddings (n, E) and (m, E)."""
    n, m = len(samples), len(references)
    if min(n, m) < FEWEST:
        return Measure(None, n, m, reason=f"needs {FEWEST} sentences on each side")
    try:
        from mauve import compute_mauve
    except ImportError:
        reason = "needs the package mauve-text; pip install 'textgan-lab[mauve]'"
        return Measure(None, n, m, reason=reason)
    if np.ptp(np.concatenate([samples, references]), axis=0).max() == 0:
        return Measure(1.0, n, m)  # one point, which the package cannot cluster
    found = [
        compute_mauve(
            p_features=references,
            q_features=samples,
            kmeans_num_redo=1,
            kmeans_max_iter=ITERATIONS,
            seed=seed,
        ).mauve
        for seed in SEEDS
    ]
    return Measure(min(float(np.mean(found)), 1.0), n, m)  # rounding may exceed 1
