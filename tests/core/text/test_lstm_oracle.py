"""SeqGAN's oracle: its language against a plain definition, and as a corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core.errors import InputError
from core.metrics.suite import Suite
from core.text.oracles import WORDS, LstmOracle, draw_corpus, fit_length, lstm_oracle, oracle_of
from core.text.settings import CorpusSettings
from core.text.vocabulary import SPECIALS
from core.tracking.memory import MemoryTracker
from core.training.batches import Batches
from core.types import END, PAD
from experiments.loading import open_corpus
from experiments.single_run.run import run
from tests.conftest import tiny

LENGTH = 8
SETTINGS = CorpusSettings(source="lstm_oracle", sentences=300)


def torch_nll(oracle: LstmOracle, ids: torch.Tensor) -> torch.Tensor:
    """The same language as torch's own LSTM, whose gates are in the order i, f, candidate, o."""
    layer = nn.LSTM(32, 32, batch_first=True).double()

    def gates(array: np.ndarray) -> torch.Tensor:
        i, f, o, c = torch.from_numpy(array).double().chunk(4, dim=-1)
        return torch.cat([i, f, c, o], dim=-1)

    with torch.no_grad():
        layer.weight_ih_l0.copy_(gates(oracle._of_input).T)
        layer.weight_hh_l0.copy_(gates(oracle._of_state).T)
        layer.bias_ih_l0.copy_(gates(oracle._bias))
        layer.bias_hh_l0.zero_()
        before = torch.cat([torch.zeros(len(ids), 1, dtype=torch.long), ids[:, :-1]], dim=1)
        hidden = layer(torch.from_numpy(oracle._embedding).double()[before])[0]
        logits = hidden @ torch.from_numpy(oracle._out).double()
        logits = logits + torch.from_numpy(oracle._out_bias).double()
        return nn.functional.cross_entropy(
            logits.transpose(1, 2), ids, reduction="none"
        ).mean(1)  # fmt: skip


def test_nll_is_the_lstms() -> None:
    oracle = lstm_oracle(LENGTH, 3)
    sentences = [*oracle.sample(5), [oracle.words[i] for i in range(8)]]
    ids = torch.tensor([[int(word[1:]) for word in s] for s in sentences])
    assert np.allclose(oracle.nll(sentences), torch_nll(oracle, ids).numpy(), atol=1e-4)


def test_samples_have_the_oracles_entropy() -> None:
    oracle = lstm_oracle(LENGTH)
    nll = oracle.nll(oracle.sample(500))
    assert abs(nll.mean() - oracle.entropy) < 4 * nll.std() / 500**0.5


@pytest.mark.slow
def test_the_entropy_is_the_published_real_texts() -> None:
    """Nie et al. 2019, table 1: real text has NLL_oracle 5.750 at length 20; other weights of the
    same distribution come near it.
    """
    assert lstm_oracle(20).entropy == pytest.approx(5.75, abs=0.3)


def test_seeds_reproduce_and_first_sentences_stay() -> None:
    few, many = LstmOracle(2).sample(3), LstmOracle(2).sample(501)
    assert many[:3] == few
    assert LstmOracle(2, 1).sample(3) != few
    assert LstmOracle(2).sample(3, seed=1) != few


def test_as_a_corpus_every_sentence_fills_the_row(tmp_path: Path) -> None:
    corpus = open_corpus(SETTINGS, tmp_path, LENGTH)
    assert len(corpus.vocabulary) == WORDS + len(SPECIALS)  # seen or not
    batch = Batches(corpus.train, 50, LENGTH, seed=0).batch(0)
    assert batch.shape == (50, LENGTH)
    assert not ((batch == END) | (batch == PAD)).any()
    assert sum(len(split) for split in corpus.splits().values()) == 300
    with pytest.raises(InputError, match=r"8 words without an end.*set model.length = 8"):
        Batches(corpus.train, 50, LENGTH + 1, seed=0)


def test_another_length_of_words_is_refused() -> None:
    with pytest.raises(InputError, match=r"exactly model.length = 8 words"):
        fit_length(CorpusSettings(source="lstm_oracle", max_words=7), LENGTH)


def test_scores_are_of_whole_sentences() -> None:
    oracle = oracle_of(SETTINGS, LENGTH)
    assert isinstance(oracle, LstmOracle)
    real = draw_corpus(fit_length(SETTINGS, LENGTH))[0][:4]
    scores = Suite(real, (), oracle).evaluate([*real, real[0][:-1], [*real[0][:-1], "<unk>"]])
    assert scores["valid"] == pytest.approx(4 / 6)
    assert scores["oracle_nll"] == pytest.approx(float(oracle.nll(real).mean()))
    assert scores["entropy"] == oracle.entropy
    assert scores["template_tv"] is None
    nothing = Suite(real, (), oracle).evaluate([["<unk>"] * LENGTH])
    assert nothing["oracle_nll"] is None


def test_a_run_is_scored_by_the_oracle(tmp_path: Path) -> None:
    config = tiny("corpus.source=lstm_oracle", "train.updates=1", "evaluation.every=1")
    metrics = run(config, tracker=MemoryTracker(tmp_path)).metrics
    nll, entropy = metrics["eval/oracle_nll"], metrics["eval/entropy"]
    assert nll is not None
    assert entropy is not None
    assert nll > entropy + 3  # nothing is learnt yet
