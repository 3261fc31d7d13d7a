"""NLL_gen: against the plain definition, and of whom there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.metrics.catalogue import METRICS, has_curve
from core.tracking.memory import MemoryTracker
from core.training.jsd import IMPLICIT
from core.training.nll_gen import nll_gen
from core.training.players import as_module, build_generator, sampling_spec
from core.types import END, PAD
from experiments.single_run.run import run
from tests.conftest import tiny
from variants import registry

V, N, S = 13, 260, 7  # more sentences than one batch
SILENT = ("next_input.name=last_token", "next_input.first=start", "noise_mapping.name=none")
PLAIN = (*SILENT, "generator.noise_blocks=0")
EXPLICIT = (*PLAIN, "sampling.name=gumbel_softmax")
RECURRENT = (*SILENT, "sampling.name=straight_through", "generator.name=lstm")


def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    words = rng.integers(END + 1, V, (N, S))
    lengths = rng.integers(0, S - 1, N)
    place = np.arange(S)
    return np.where(
        place < lengths[:, None], words, np.where(place == lengths[:, None], END, PAD)
    ).astype(np.int64)


@pytest.mark.parametrize(
    "settings",
    [EXPLICIT, (*EXPLICIT, "generator.attention=full"), (*RECURRENT, "generator.dropout=0.5")],
    ids=["transformer", "full", "lstm"],
)
def test_equals_the_sum_over_words_one_by_one(settings: tuple[str, ...]) -> None:
    config = tiny("model.length=7", *settings)
    generator = build_generator(config, registry(), V)
    module = as_module(generator).double()
    found = nll_gen(generator, sampling_spec(config, registry(), 1.0), rows())
    assert module.training  # left as it was
    module.eval()
    nats, tokens = 0.0, 0
    with torch.no_grad():
        for sentence in rows()[:, None]:
            state = generator.begin(generator.draw_noise(1, torch.Generator()), True)
            last = None
            for word in torch.from_numpy(sentence[0]):
                log_p = generator.head(generator.step(state, last))[0].log_softmax(-1)
                nats, tokens = nats - float(log_p[word]), tokens + 1
                if word == END:
                    break
                last = generator.embed(word[None])
    assert found.value == pytest.approx(nats / tokens, abs=1e-10)
    assert found.samples == N
    bounds = found.interval()
    assert bounds is not None
    assert bounds[0] < nats / tokens < bounds[1]


@pytest.mark.parametrize(
    "settings",
    [
        (*PLAIN, "sampling.name=detached"),
        (*EXPLICIT, "sampling.feedback=soft"),
        (*EXPLICIT, "next_input.name=noise"),
        (*EXPLICIT, "next_input.name=last_token_noise"),
        (*EXPLICIT, "next_input.first=noise"),
        (*EXPLICIT, "noise_mapping.name=full"),
        (*EXPLICIT, "generator.noise_blocks=1"),
        (*EXPLICIT, "generator.noise_blocks=1", "generator.attention=full"),
    ],
    ids=lambda settings: settings[-1],
)
def test_an_implicit_generator_has_none(settings: tuple[str, ...]) -> None:
    config = tiny("model.length=7", *settings)
    generator = build_generator(config, registry(), V)
    assert nll_gen(generator, sampling_spec(config, registry(), 1.0), rows()).value is None


def test_its_interval_covers() -> None:
    """Of 60 sentences drawn anew 400 times, of very unequal lengths."""
    config = tiny("model.length=7", *RECURRENT)
    generator = build_generator(config, registry(), V)
    spec, pool, rng = sampling_spec(config, registry(), 1.0), rows(), np.random.default_rng(0)
    drawn = [nll_gen(generator, spec, pool[rng.integers(0, N, 60)]) for _ in range(400)]
    true = np.mean([measure.value for measure in drawn])
    bounds = [measure.interval() or (0.0, 0.0) for measure in drawn]
    assert 0.92 <= np.mean([low <= true <= high for low, high in bounds]) <= 0.97


def test_a_run_logs_it_of_an_explicit_generator_alone(tmp_path: Path) -> None:
    """And the exact divergence, at its last evaluation. Both runs share the n-gram floors."""
    tracker = MemoryTracker(tmp_path)
    result = run(tiny(*PLAIN, "sampling.name=straight_through"), tracker=tracker, test=True)
    explicit = tracker.run(result.run_id)
    assert explicit.metrics["eval/nll_gen"] > 0
    for name in METRICS:  # some are undefined for such a sample
        steps = [step for step, _ in tracker.history(result.run_id, f"eval/{name}")]
        assert steps in ([], [0, 2, 4] if has_curve(f"eval/{name}") else [4]), name
    assert [step for step, _ in tracker.history(result.run_id, "eval/jsd")] == [4]
    assert 0.9 < explicit.metrics["eval/jsd"] <= 1
    assert explicit.metrics["test/jsd"] == pytest.approx(explicit.metrics["eval/jsd"], abs=0.1)
    assert explicit.metrics["real/jsd"] == 0
    (kept,) = (tmp_path / "baselines").iterdir()
    assert explicit.metrics["trigram/ms_jaccard_2"] > explicit.metrics["unigram/ms_jaccard_2"] > 0
    assert 0 < explicit.metrics["trigram/jsd"] < explicit.metrics["unigram/jsd"]
    kept.write_text(kept.read_text().replace('"trigram/valid": ', '"trigram/valid": 1'))
    implicit = tracker.run(run(tiny(), tracker=tracker).run_id)
    assert "eval/nll_gen" not in implicit.metrics
    assert "eval/jsd" not in implicit.metrics
    assert implicit.tags["undefined.jsd"] == IMPLICIT
    assert implicit.metrics["trigram/valid"] >= 10  # read from the file, not computed again


def test_the_language_model_among_the_baselines_is_scored_on_request_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def model(training: list[list[str]], count: int, _: Path) -> Any:
        made.append(len(training))
        return lambda: training[:count]

    monkeypatch.setattr("experiments.single_run.evaluator.mle_baseline", model)
    tracker = MemoryTracker(tmp_path)
    config = tiny("train.updates=1")
    without = run(config, tracker=tracker)
    assert not made
    assert not [name for name in tracker.run(without.run_id).metrics if name.startswith("likelih")]
    for _ in range(2):
        given = tracker.run(run(config, tracker=tracker, likelihood=True).run_id).metrics
        assert given["likelihood/copied"] == 1.0
        assert "likelihood/oracle_nll" not in given  # best near real text: no baseline's score
    assert len(made) == 1
