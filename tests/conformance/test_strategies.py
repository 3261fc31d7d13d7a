"""Every strategy that the registry finds passes the rules, and every accepted pair trains."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from core import interfaces
from core.config import parse
from core.config.slots import FOLDERS
from core.errors import InputError
from core.tracking.memory import MemoryTracker
from core.types import Progress, Scores
from experiments.loading import load, systems
from experiments.single_run.run import run
from tests.conftest import ROOT, tiny
from tests.product import trains
from variants import registry
from variants.conformance import check

EVERY = [(slot, name) for slot in FOLDERS for name in registry().names(slot)]


@pytest.mark.parametrize(("slot", "name"), EVERY, ids=[f"{s}.{n}" for s, n in EVERY])
def test_strategy_keeps_the_rules(slot: str, name: str) -> None:
    assert check(registry(), slot, name) is registry().strategy(slot, name)


@pytest.mark.parametrize("name", sorted(systems()))
def test_every_system_is_a_configuration(name: str) -> None:
    assert load(name).name == name


ORIGINAL = {
    "generator": "transformer", "temperature": "constant", "estimator": "pathwise",
    "discriminator": "transformer", "objective": "wasserstein", "penalty": "gradient_penalty",
    "schedule": "adversarial", "next_input": "noise", "noise_mapping": "full",
    "sampling": "detached",
}  # fmt: skip
DESIGN_AXES = list(
    itertools.product(
        ["noise", "last_token", "last_token_noise", "fixed_token"],
        ["detached", "gumbel_softmax"],
        ["full", "broadcast", "none"],
    )
)


@pytest.mark.parametrize(("next_input", "sampling", "mapping"), DESIGN_AXES)
def test_the_original_design_axes_train(next_input: str, sampling: str, mapping: str) -> None:
    axes = {"next_input": next_input, "sampling": sampling, "noise_mapping": mapping}
    trains(ORIGINAL | axes)


@pytest.mark.parametrize(
    "setting",
    ["generator.attention=full", "discriminator.pooling=max", "discriminator.pooling=avg",
     "sampling.feedback=soft", "noise_mapping.activation=leaky_relu", "model.noise=normal",
     "model.noise=truncated", "model.mask_after_eos=false", "train.entropy=0.01", "train.ema=0.9",
     "train.discriminator_weight_decay=1e-5"],
)  # fmt: skip
def test_every_other_setting_trains(setting: str) -> None:
    soft = {"sampling": "gumbel_softmax"} if "feedback" in setting else {}
    trains(ORIGINAL | soft, "noise_mapping.layers=2", setting)


@pytest.mark.parametrize(
    ("generator", "discriminator"),
    [("lstm", "lstm"), ("lstm", "cnn"), ("gru", "multi_cnn"), ("relational_memory", "projection")],
)
def test_dropout_and_spectral_normalisation_train(generator: str, discriminator: str) -> None:
    players = {"generator": generator, "discriminator": discriminator}
    regularised = ("generator.dropout=0.1", "discriminator.spectral_norm=true")
    trains(ORIGINAL | players, *regularised)


@pytest.mark.parametrize(
    "settings",
    [
        ("generator.attention=full", "sampling.name=gumbel_softmax", "sampling.feedback=soft",
         "discriminator.pooling=max", "model.noise=truncated", "model.mask_after_eos=true",
         "train.ema=0.9", "train.entropy=0.01", "train.clip=1.0"),
        ("generator.name=relational_memory", "generator.head_size=8", "generator.dropout=0.1",
         "discriminator.name=multi_cnn", "discriminator.filters=[9,9,9,9]",
         "discriminator.spectral_norm=true", "schedule.name=interleaved", "schedule.every=2",
         "sampling.name=straight_through_gumbel", "temperature.name=exponential"),
        ("model.length=80", "train.minutes=0.0005"),
    ],
)  # fmt: skip
def test_rare_settings_run_with_evaluation(tmp_path: Path, settings: tuple[str, ...]) -> None:
    config = tiny("train.updates=2", "evaluation.gradients=2", *settings)
    assert run(config, tracker=MemoryTracker(tmp_path)).outcome in ("ok", "collapsed")


def test_characters_are_trained_and_put_together_again(tmp_path: Path) -> None:
    words = ("the", "old", "road", "keeps", "a", "quiet", "traveler")
    lines = {" ".join(rest) for rest in itertools.permutations(words, 4)}
    (tmp_path / "text.txt").write_text("\n".join(sorted(lines)), encoding="utf-8")
    source = f"corpus.source={tmp_path / 'text.txt'}"
    config = tiny("train.updates=2", "model.length=40", "corpus.level=character", source)
    assert run(config, tracker=MemoryTracker(tmp_path)).outcome in ("ok", "collapsed")


SCORING = [n for n in registry().names("objective") if n != "rank"]  # which compares features


@pytest.mark.parametrize("objective", SCORING)
def test_objectives_reward_what_they_should(objective: str) -> None:
    strategy = registry().strategy("objective", objective)
    losses = strategy(strategy.Config())
    good, bad = Scores(torch.tensor([0.9, 1.0])), Scores(torch.tensor([-3.0, -2.0]))
    assert losses.discriminator(good, bad) < losses.discriminator(bad, good)
    assert losses.generator(good, bad) < losses.generator(bad, good)
    assert (losses.reward(good, bad) > losses.reward(bad, good)).all()


def test_dynamic_ratio_trains_the_player_that_moves() -> None:
    strategy = registry().strategy("schedule", "dynamic_ratio")
    schedule = strategy(strategy.Config(weight=1.0))
    begin = schedule.phases(Progress(0, {"generator": [], "discriminator": []}))
    assert [phase.player for phase in begin] == ["discriminator", "generator"]
    moved = {"generator": [1.0, 1.1], "discriminator": [1.0, 2.0]}
    assert [p.player for p in schedule.phases(Progress(5, moved))] == ["discriminator"]
    still = {"generator": [1.0, 2.0], "discriminator": [1.0, 1.1]}
    assert [p.player for p in schedule.phases(Progress(5, still))] == ["generator"]


def test_gumbel_softmax_selects_in_proportion() -> None:
    strategy = registry().strategy("sampling", "gumbel_softmax")
    sampling = strategy(strategy.Config())
    logits = torch.tensor([0.0, 1.0, 2.0]).repeat(20_000, 1)
    drawn = torch.bincount(sampling.select(logits.clone(), 0, (7,), 1.0), minlength=3) / 20_000
    assert torch.allclose(drawn, logits[0].softmax(0), atol=0.015)


def test_mle_learns_the_easy_grammar(tmp_path: Path) -> None:
    config = load(
        "mle",
        ["corpus.difficulty=easy", "corpus.sentences=3000", "model.length=12", "train.updates=150",
         "evaluation.every=150", "evaluation.sentences=90", "evaluation.references=90"],
    )  # fmt: skip
    result = run(config, tracker=MemoryTracker(tmp_path))
    valid = result.metrics["eval/valid"]
    assert valid is not None
    assert valid > 0.2


def test_unused_tables_are_refused_in_words() -> None:
    tables = load("gan_textgen").tables()
    tables["schedule"] = {"name": "mle"}
    with pytest.raises(InputError, match=r"trains without a discriminator.*\[estimator\]"):
        parse(tables, registry())


@pytest.mark.parametrize("slot", FOLDERS)
def test_what_a_slot_shares_has_no_strategys_name(slot: str) -> None:
    """Importing a strategy's module would replace it in the package."""
    shared = vars(importlib.import_module(f"variants.{slot}"))
    for name in registry().names(slot):
        assert isinstance(shared.get(name, sys), ModuleType), name


def test_the_documented_capabilities_are_those_that_are_offered() -> None:
    offered = {(s, c) for s, name in EVERY for c in registry().strategy(s, name).offers}
    listing = (interfaces.__doc__ or "").partition("Capabilities")[2].partition("\n\nLetters")[0]
    documented = {
        (slot.replace(" ", "_"), capability)
        for slot, text in re.findall(
            r"^- ([a-z ]+):(.*?)(?=^- |\Z)", listing, re.MULTILINE | re.DOTALL
        )
        for capability in re.findall(r"`(\w+)`", text)
    }
    assert documented == offered


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/howto/strategy.md"])
def test_examples_of_needs_and_offers_can_be_met(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    offered = {c for s, name in EVERY for c in registry().strategy(s, name).offers}
    named = set(re.findall(r'needs = \{"\w+": "(\w+)"', text))
    named |= set(re.findall(r'offers = frozenset\(\{"(\w+)"', text))
    assert named <= offered
    assert named or page != "docs/howto/strategy.md"
