"""`kill -9` of runs, and of a study's workers."""

from __future__ import annotations

from functools import partial

from tests.chaos import runs, training
from tests.chaos.children import Ended, child
from tests.chaos.tally import Tally
from tests.chaos.world import Say, World, longest, troubles

MOST_KILLS = 6  # of one run
MOST_DEATHS = 3  # of one study's workers: a job is retried so often by heartbeat


def kill_runs(world: World, times: int, say: Say) -> Tally:
    """At random instants and right before random steps in the file system."""
    world.prepare()
    tally = Tally("kill -9 of a run")
    while tally.tried < times:
        world.fresh()
        ended: list[Ended] = []
        most = min(MOST_KILLS, times - tally.tried)
        kills = _killed(world, world.rng.randint(1, most), partial(runs.work, world.uri), ended)
        _note(tally, kills)
        ended.append(child(partial(runs.work, world.uri), world.folder))
        tally.note("runs")
        tally.took(longest(ended))
        tally.count(world.check(ended), len(kills))
        say(tally)
    return tally


def kill_workers(world: World, times: int, say: Say) -> Tally:
    """A study whose workers are killed while they train: every job ends as if nothing had been, its
    trial taken over from its checkpoint by whoever comes next.
    """
    tally = Tally("kill -9 of a study's worker")
    world.prepare()
    url = f"sqlite:///{world.store_dir}/optuna.db"
    expected = child(partial(_undisturbed, world, url), world.folder)
    assert expected.answer, expected
    while tally.tried < times:
        world.fresh()
        by_heartbeat = world.rng.random() < 0.5  # or its death is seen on the same machine
        ended = [child(partial(training.begin_study, world.uri, url), world.folder)]
        work = partial(training.work_on, world.uri, url, by_heartbeat)
        deaths = world.rng.randint(1, min(MOST_DEATHS, times - tally.tried))
        kills = _killed(world, deaths, work, ended)
        _note(tally, kills)
        tally.note("seen by heartbeat" if by_heartbeat else "seen by process", len(kills))
        kept = training.checkpoints(world.store_dir)
        ended.append(child(work, world.folder))
        told = child(partial(training.facts, world.uri, url), world.folder)
        wrong = troubles([*ended, told]) or training.differences(told.answer, expected.answer)
        went_on = ended[-1].answer or []
        wrong += [f"went on from {went_on}, not from {kept}"] if went_on != kept else []
        tally.note("jobs that went on from a checkpoint", len(kept))
        tally.note("studies")
        tally.took(longest(ended))
        tally.count(wrong, len(kills))
        say(tally)
    return tally


def _undisturbed(world: World, url: str) -> object:
    world.fresh()
    training.begin_study(world.uri, url)
    training.work_on(world.uri, url, False)
    return training.facts(world.uri, url)


def _killed(world: World, times: int, work: partial[object], ended: list[Ended]) -> list[str]:
    """Do `work` in children that are killed, up to `times`; what each was at. The last kill falls
    anywhere, those before it in the first half, so that there is something left to kill.
    """
    places = []
    for left in range(times, 0, -1):
        kill = world.kill(1.0 if left == 1 else 0.5)
        ended.append(child(work, world.folder, kill))
        if not ended[-1].killed:
            break
        clock = kill.step is None
        places.append("by the clock" if clock else f"before a file operation on {ended[-1].at}")
    return places


def _note(tally: Tally, places: list[str]) -> None:
    for place in places:
        tally.note(place)
