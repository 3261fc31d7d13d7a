"""Whole systems as runs like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.config import parse, read_toml
from core.errors import InputError
from core.tracking.memory import MemoryTracker
from core.types import Progress
from experiments.generate import load_generator
from experiments.loading import SYSTEMS
from experiments.single_run.run import run
from tests.variants.system.small import SMALL, made, sentences, stage, whole
from variants import registry
from variants.system import catgan


@pytest.mark.parametrize("name", SMALL)
def test_a_whole_system_is_a_run_like_any_other(tmp_path: Path, name: str) -> None:
    """Trained, evaluated, recorded, resumed bit for bit, and loaded again as a model."""
    config = whole(name, updates=7, ema=0.5)
    unbroken, broken = (MemoryTracker(tmp_path / world) for world in ("whole", "broken"))
    expected = run(config, tracker=unbroken)
    assert expected.updates == 7

    class Killed(BaseException):
        pass

    def die(step: int, _: int | None, values: object) -> None:
        if step == 5 and "train/generator_loss" in values:  # type: ignore[operator]
            raise Killed

    ids: list[str] = []
    with pytest.raises(Killed):
        run(config, tracker=broken, report=die, started=ids.append)
    resumed = run(None, tracker=broken, resume=ids[0])
    assert resumed.metrics == expected.metrics
    samplers = [
        load_generator(tracker.model(result.run_id))
        for tracker, result in ((unbroken, expected), (broken, resumed))
    ]
    texts = [sampler.sample(5, seed=1) for sampler in samplers]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", SMALL)
def test_its_file_says_the_same_again(name: str, tmp_path: Path) -> None:
    config = parse(read_toml(SYSTEMS / f"{name}.toml"), registry())
    (tmp_path / "again.toml").write_text(config.toml())
    assert parse(read_toml(tmp_path / "again.toml"), registry()) == config
    assert json.loads(json.dumps(config.flat()))["system.name"] == name


def test_slots_beside_a_whole_system_are_refused() -> None:
    tables = whole("cot").tables()
    with pytest.raises(InputError, match=r"'cot' is a whole system, so \[sampling\] has no"):
        parse({**tables, "sampling": {"name": "categorical"}}, registry())
    tables["train"]["entropy"] = 0.1
    with pytest.raises(InputError, match=r"so train.entropy has no meaning"):
        parse(tables, registry())
    with pytest.raises(InputError, match=r"\[generator\] is missing"):
        parse({}, registry())


@pytest.mark.parametrize("name", ["jsdgan", "leakgan", "sentigan", "textgan_mmd"])
def test_the_game_begins_without_the_moments_of_pretraining_as_in_published_code(name: str) -> None:
    system = made(name)
    phases = [
        phase
        for update in range(12)
        for phase in system.phases(Progress(update, {}))
        if phase.player == "generator"
    ]
    kinds = [phase.loss.__name__ for phase in phases]
    first = next(i for i, kind in enumerate(kinds) if kind != kinds[0])
    assert first > 0
    assert [i for i, phase in enumerate(phases) if phase.reset_optimiser] == [first]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_pretraining_is_known_as_such(name: str) -> None:
    """The updates whose phases say so are the first ones, as many as the settings ask for."""
    system = made(name)
    said = [any(p.pretraining for p in system.phases(Progress(u, {}))) for u in range(8)]
    lengths = system.config.model_dump(
        include={"generator_updates", "discriminator_updates", "autoencoder_updates"}
    )
    assert said == [update < sum(n or 0 for n in lengths.values()) for update in range(8)]


def test_all_ranks_of_catgan_choose_the_child_that_is_fittest_in_the_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each rank has its own fitness; here that of another rank turns the order round."""
    system = made("catgan")
    monkeypatch.setattr(catgan, "mean_over_ranks", lambda fitness: -fitness)
    monkeypatch.setattr(type(system), "fitness", lambda self, number, *_: float(number))
    context = stage(system, sentences())
    system.select(context)
    assert context.metrics["train/chosen"] == 0
