"""With tokens behind the end hidden, cutting them off changes nothing but the work."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.interfaces import SamplingSpec
from core.nn.trim import FEW, cut, grouped, score_by_length
from core.seeding import generator as stream
from core.training.batches import MicroBatches
from core.training.players import as_module, build, build_generator
from core.training.rollout import sample, sample_with_grad
from core.training.scoring import score
from core.types import END, PAD, Embedded, Phase, Shape
from tests.conftest import tiny
from tests.core.test_steps import Batches, after
from variants import registry
from variants.discriminator.transformer import TransformerDiscriminator

N, S, V = 24, 16, 11
CPU = torch.device("cpu")


def masked_rows(width: int) -> Embedded:
    torch.manual_seed(0)
    lengths = torch.randint(1, S + 1, (N,)).clamp(max=12)
    mask = torch.arange(S) < lengths[:, None]
    return Embedded(torch.randn(N, S, width, dtype=torch.float64, requires_grad=True), mask)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=80))
def test_groups_hold_everybody_and_are_of_similar_length(lengths: list[int]) -> None:
    lengths = sorted(lengths, reverse=True)
    place = 0
    for count, longest in grouped(lengths):
        assert lengths[place] == longest
        assert count >= min(FEW, len(lengths))
        place += count
    assert place == len(lengths)


@given(st.lists(st.integers(1, 16), min_size=1, max_size=40), st.integers(1, 64), st.booleans())
def test_parts_hold_everybody_in_order_and_no_more_than_there_is_room_for(
    lengths: list[int], room: int, padded: bool
) -> None:
    parts = cut(lengths, room, padded=padded)
    assert [n for part in parts for n in lengths[part]] == lengths
    words = [len(x) * max(x) if padded else sum(x) for x in (lengths[part] for part in parts)]
    assert all(
        n <= room or part.stop == part.start + 1 for n, part in zip(words, parts, strict=True)
    )
    for part, following in pairwise(parts):  # one more would not have fitted
        more = lengths[part.start : following.start + 1]
        assert (len(more) * max(more) if padded else sum(more)) > room


def test_scores_and_gradients_are_those_of_the_whole_length() -> None:
    players = build(tiny("model.length=16"), registry(), V, CPU)
    assert players.adversary is not None
    D = players.adversary.discriminator
    as_module(D).double()
    penalty, rows = players.adversary.penalty, masked_rows(D.embedding.shape[1])
    assert rows.mask is not None
    assert len(grouped(sorted(rows.mask.sum(1).tolist(), reverse=True))) > 1
    drawn = penalty.draw(N, stream(0, "penalty"))
    weights = torch.randn(N, dtype=torch.float64)
    wanted = [rows.values, *as_module(D).parameters()]
    found = []
    for offers in (type(D).offers, type(D).offers - {"trimming"}):
        D.offers = offers  # type: ignore[misc]
        scores = score(D, rows).values
        other = Embedded(rows.values.flip(0), rows.mask.flip(0))
        loss = (scores * weights).sum() + penalty(D, rows, other, drawn)
        found.append([scores, *torch.autograd.grad(loss, wanted, allow_unused=True)])
    for ours, plain in zip(*found, strict=True):
        assert (ours is None) == (plain is None)
        assert ours is None or torch.allclose(ours, plain, atol=1e-10)


@pytest.mark.parametrize("name", ["lstm", "projection", "transformer_projection"])
def test_a_score_a_step_is_that_of_the_whole_length(name: str) -> None:
    strategy = registry().strategy("discriminator", name)
    torch.manual_seed(0)
    D = strategy(strategy.Config(width=4, hidden=4), Shape(S, V)).double().eval()
    rows, weights = masked_rows(4), torch.randn(N, S, dtype=torch.float64)
    assert rows.mask is not None
    found = []
    for scores in (score(D, rows).values, D.score(rows.values, rows.mask)):
        wanted = [rows.values, *(p for n, p in D.named_parameters() if n != "embedding")]
        found.append([scores, *torch.autograd.grad((scores * weights).sum(), wanted)])
    for ours, plain in zip(*found, strict=True):
        assert torch.allclose(ours, plain, atol=1e-10)


def test_scores_of_steps_are_padded_back() -> None:
    rows = masked_rows(4)
    assert rows.mask is not None
    by_step = score_by_length(lambda x, mask: x.sum(2), rows.values, rows.mask)
    assert by_step.shape == (N, S)
    assert torch.allclose(by_step * rows.mask, rows.values.sum(2) * rows.mask)


@pytest.mark.parametrize("micro_batch", ["4", "8"])
def test_steps_of_both_players_move_the_same(
    monkeypatch: pytest.MonkeyPatch, micro_batch: str
) -> None:
    config = tiny("sampling.name=detached", "train.batch_size=8", "model.mask_after_eos=true",
                  f"train.micro_batch={micro_batch}", "train.generator_lr=1e-9",
                  "train.discriminator_lr=1e-9")  # fmt: skip
    phases = [Phase("discriminator", "adversarial", 2), Phase("generator", "adversarial")]
    ours, values = after(config, phases)
    offers = TransformerDiscriminator.offers - {"trimming"}
    monkeypatch.setattr(TransformerDiscriminator, "offers", offers)
    plain, same_values = after(config, phases)
    assert ours.keys() == plain.keys()
    for key, value in plain.items():
        assert torch.allclose(ours[key], value, atol=1e-8), key
    assert values == pytest.approx(same_values, rel=1e-5, abs=1e-8)


class Short(Batches):
    """Sentences of 2 to 7 words."""

    def batch(self, number: int) -> torch.Tensor:
        tokens = super().batch(number)
        at = torch.arange(len(tokens))[:, None] % 6 + 1
        place = torch.arange(tokens.shape[1])
        return torch.where(place > at, PAD, torch.where(place == at, END, tokens))


@pytest.mark.parametrize("sampling", ["detached", "categorical", "straight_through_gumbel"])
def test_parts_cut_by_words_move_both_players_as_equal_parts_do(
    monkeypatch: pytest.MonkeyPatch, sampling: str
) -> None:
    """As many sentences a part as there is room for, where they may change places."""
    own = {"detached": (), "straight_through_gumbel": ()}
    score = ("estimator.name=leave_one_out", "objective.name=hinge")
    config = tiny(f"sampling.name={sampling}", *own.get(sampling, score), "train.batch_size=8",
                  "model.mask_after_eos=true", "model.length=8", "train.micro_batch=2",
                  "train.generator_lr=1e-9", "train.discriminator_lr=1e-9")  # fmt: skip
    phases = [Phase("discriminator", "adversarial", 2), Phase("generator", "adversarial")]
    monkeypatch.setattr("tests.core.test_steps.Batches", Short)
    select = type(registry().strategy("sampling", sampling)(config.sampling)).select

    def ending(self: object, logits: torch.Tensor, step: int, *rest: object) -> torch.Tensor:
        words = select(self, logits, step, *rest)  # type: ignore[arg-type]
        return torch.where(torch.arange(len(words)) % 5 + 1 <= step, END, words)

    monkeypatch.setattr(registry().strategy("sampling", sampling), "select", ending)
    sizes: list[int] = []
    pieces = MicroBatches.pieces

    def watched(
        self: MicroBatches, length: torch.Tensor | None, *, padded: bool = True
    ) -> list[slice]:
        found = pieces(self, length, padded=padded)
        sizes.extend(piece.stop - piece.start for piece in found)
        return found

    monkeypatch.setattr(MicroBatches, "pieces", watched)
    ours, values = after(config, phases)
    assert (max(sizes) > 2) == (sampling != "straight_through_gumbel")
    monkeypatch.setattr(
        TransformerDiscriminator, "offers", TransformerDiscriminator.offers - {"trimming"}
    )
    plain, same_values = after(config, phases)
    assert ours.keys() == plain.keys()
    for key, value in plain.items():
        assert torch.allclose(ours[key], value, atol=1e-8), key
    assert values == pytest.approx(same_values, rel=1e-5, abs=1e-8)


class Ending:
    """A sampling that ends sentence n after n + 1 words."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def select(self, logits: torch.Tensor, step: int, *rest: object) -> torch.Tensor:
        logits[:, END] = -torch.inf
        words = self.inner.select(logits, step, *rest)  # type: ignore[attr-defined]
        return torch.where(torch.arange(len(words)) < step, END, words)


def test_a_rollout_stops_when_every_sentence_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny("model.length=16", "sampling.name=gumbel_softmax")
    generator = build_generator(config, registry(), V)
    sampling = Ending(registry().strategy("sampling", "gumbel_softmax")(config.sampling))
    steps: list[int] = []
    step = generator.step
    monkeypatch.setattr(generator, "step", lambda *a: (steps.append(1), step(*a))[1])
    drawn = {}
    for hide in (True, False):
        steps.clear()
        spec = SamplingSpec(sampling, 1.0, hide)  # type: ignore[arg-type]
        drawn[hide] = sample(generator, spec, 3, stream(3, "noise"))
        assert len(steps) == (4 if hide else 16)
    ours, plain = drawn[True], drawn[False]
    mask = ours.d_input.mask
    assert mask is not None
    assert torch.equal(ours.tokens[mask], plain.tokens[mask])
    assert (ours.tokens[:, 4:] == PAD).all()
    W = torch.randn(V, 3)
    assert torch.allclose(ours.d_input.embed(W)[mask], plain.d_input.embed(W)[mask], atol=1e-6)
    with_gradient = sample_with_grad(
        generator, SamplingSpec(sampling, 1.0, True), 3, stream(3, "noise")  # type: ignore[arg-type]
    )  # fmt: skip
    assert torch.allclose(with_gradient.hidden[mask], plain.hidden[mask], atol=1e-5)
    assert torch.allclose(ours.d_input.mean(V)[4:], torch.zeros(12, V))
