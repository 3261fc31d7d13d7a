"""What people do to a store in the MLflow UI and with a file manager while a study runs in it.

Runs and experiments are renamed, deleted and restored, their tags edited; the store is copied and
moved. Afterwards all that was deleted is restored and the study resumed: every run must be there,
and every command must have answered in words.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from core.tracking.mlflow_store import open_tracker
from tests.chaos import children
from tests.chaos.children import Ended, child
from tests.chaos.tally import Tally
from tests.chaos.world import Say, World
from tests.cluster.studies import tiny_study

SEEDS, VARIANTS, UPDATES = 2, 2, 30
MOST_ACTIONS = 6  # in one study
BEGIN_SECONDS = 120.0  # until a study has begun its first run
JUNK = ("", "{", "no number", "[1,", "\u2028")
# Tags of a run that the harness reads; people can edit them all in the UI.
READ_TAGS = ("seed", "variant", "level", "study", "outcome", "settings")
Edit = tuple[str, str, str]  # run, tag, its value before


class Person:
    """Somebody in the MLflow UI of a store, for one action."""

    def __init__(self, uri: str, rng: random.Random) -> None:
        from mlflow import MlflowClient

        self.client, self.rng = MlflowClient(tracking_uri=uri), rng
        self.edited: list[Edit] = []

    def act(self) -> str:
        """One random action; which one."""
        from mlflow.exceptions import MlflowException

        action = self.rng.choice((
            self.rename_run, self.delete_run, self.restore_run, self.write_note, self.edit_tag,
            self.rename_experiment, self.delete_experiment, self.restore_experiment,
        ))  # fmt: skip
        try:
            found = action()
        except MlflowException:  # the UI would show it: the run or experiment has just changed
            return "an action that MLflow refused"
        return action.__name__.replace("_", " ") if found else "nothing there to act on"

    def rename_run(self) -> bool:
        return self._with_run(lambda run: self.client.update_run(run, name="renamed by somebody"))

    def delete_run(self) -> bool:
        return self._with_run(self.client.delete_run)

    def restore_run(self) -> bool:
        return self._with_run(self.client.restore_run, deleted=True)

    def write_note(self) -> bool:
        return self._with_run(lambda run: self.client.set_tag(run, "mlflow.note.content", "mine"))

    def edit_tag(self) -> bool:
        """A tag that the harness reads, to something that it cannot read."""

        def edit(run: str) -> None:
            tags = self.client.get_run(run).data.tags
            if names := [name for name in READ_TAGS if name in tags]:
                name = self.rng.choice(names)
                self.edited.append((run, name, tags[name]))
                self.client.set_tag(run, name, self.rng.choice(JUNK))

        return self._with_run(edit)

    def rename_experiment(self) -> bool:
        new = f"renamed {self.rng.randrange(10**6)}"
        return self._with(
            lambda one: self.client.rename_experiment(one, new), self._experiments(deleted=False)
        )

    def delete_experiment(self) -> bool:
        return self._with(self.client.delete_experiment, self._experiments(deleted=False))

    def restore_experiment(self) -> bool:
        return self._with(self.client.restore_experiment, self._experiments(deleted=True))

    def undo(self, edited: list[Edit]) -> None:
        """Restore what was deleted, and the tags that were edited; new names stay."""
        for experiment in self._experiments(deleted=True):
            self.client.restore_experiment(experiment)
        for run in self._runs(deleted=True):
            self.client.restore_run(run)
        for run, name, value in reversed(edited):
            self.client.set_tag(run, name, value)

    def _with_run(self, do: Callable[[str], Any], *, deleted: bool = False) -> bool:
        return self._with(do, self._runs(deleted=deleted))

    def _with(self, do: Callable[[str], Any], found: list[str]) -> bool:
        if found:
            do(self.rng.choice(found))
        return bool(found)

    def _experiments(self, *, deleted: bool) -> list[str]:
        found = self.client.search_experiments(_view(deleted=deleted))
        return sorted(one.experiment_id for one in found if one.name != "Default")

    def _runs(self, *, deleted: bool) -> list[str]:
        active, trash = self._experiments(deleted=False), self._experiments(deleted=True)
        view = _view(deleted=deleted)
        found = self.client.search_runs(active + trash, run_view_type=view) if active else []
        return sorted(run.info.run_id for run in found)


def _view(*, deleted: bool) -> int:
    from mlflow.entities import ViewType

    view: int = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    return view


def act(uri: str, seed: int) -> tuple[str, list[Edit]]:
    """One random action; which one, and the tags that it edited."""
    person = Person(uri, random.Random(seed))
    return person.act(), person.edited


def undo(uri: str, edited: list[Edit]) -> None:
    """See `Person.undo`."""
    Person(uri, random.Random(0)).undo(edited)


def command(place: Path, arguments: list[str]) -> tuple[int, str]:
    """A command given in a folder: its exit status and what it said."""
    from experiments.cli import status

    os.chdir(place)
    said = place / f"said-{os.getpid()}.txt"
    with said.open("w+") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        result = status(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    return result, said.read_text()


class Disturbed:
    """A folder with a study, the commands that are given there, and what was wrong with them."""

    def __init__(self, world: World) -> None:
        self.world, self.rng = world, world.rng
        self.place = world.folder / f"disturbed-{self.rng.randrange(10**9)}"
        self.edited: list[Edit] = []
        self.done: list[str] = []
        self.wrong: list[str] = []
        self.longest = 0.0
        self.place.mkdir()
        few = (f"train.updates={UPDATES}", f"evaluation.every={UPDATES}", f"study.seeds={SEEDS}",
               'study.axes.noise_mapping=["broadcast"]', 'study.axes.sampling=["detached"]',
               'study.axes.next_input=["noise", "fixed_token"]', "study.name=busy")  # fmt: skip
        tiny_study(self.place / "study.toml", *few)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.place}/mlruns/mlflow.db"

    def begin(self, *arguments: str) -> Callable[[], Ended]:
        """Give a command; what is given back waits for its end."""
        return children.begin(partial(command, self.place, list(arguments)), self.world.folder)

    def ask(self, *arguments: str, succeeds: bool = False) -> None:
        """Give a command and wait for its end."""
        self.check(arguments, self.begin(*arguments)(), succeeds=succeeds)

    def check(self, arguments: tuple[str, ...], ended: Ended, *, succeeds: bool = False) -> None:
        """It must end in words, and with status 0 where it `succeeds`."""
        name = f"textgan {' '.join(arguments)}"
        self.longest = max(self.longest, ended.seconds)
        if ended.answer is None:
            self.wrong.append(f"{name} hung" if ended.hung else f"{name}: {ended.words}")
            return
        status, said = ended.answer
        last = (said.strip().splitlines() or ["nothing"])[-1]
        in_words = status in (0, 1, 2) and "Traceback" not in said and "unexpected" not in said
        if not in_words or (succeeds and status):
            self.wrong.append(f"{name} ended with {status}, saying {last!r}")

    def disturb(self) -> None:
        """Run the study while somebody acts in the UI; then somebody copies and moves the store."""
        study = self.begin("study", "study.toml")
        until = time.monotonic() + BEGIN_SECONDS
        while not self._runs_begun() and time.monotonic() < until:
            time.sleep(0.05)
        for _ in range(self.rng.randint(1, MOST_ACTIONS)):
            time.sleep(self.rng.uniform(0, 1))
            ended = child(partial(act, self.uri, self.rng.randrange(10**9)), self.world.folder)
            what, edited = ended.answer or (ended.words, [])
            self.done.append(what)
            self.edited += edited
        self.check(("study",), study())
        if self.rng.random() < 0.5:
            self._misuse_a_copy()
        if self.rng.random() < 0.5:
            self.place = self.place.rename(self.place.with_name(f"moved {self.place.name}"))
            self.done.append("store moved")
        for arguments in (["runs"], ["report", "busy"], ["doctor"], ["sync"]):
            self.ask(*arguments)

    def put_right(self) -> None:
        """Restore what was deleted, deliver what was refused, train what is missing; check."""
        ended = child(partial(undo, self.uri, self.edited), self.world.folder)
        self.wrong += [f"undo: {ended.words}"] if ended.words else []
        self.ask("sync", succeeds=True)
        self.ask("study", "study.toml", "--resume", succeeds=True)
        self.ask("report", "busy", succeeds=True)
        ended = child(partial(missing, self.uri), self.world.folder)
        self.wrong += [ended.words] if ended.words else ended.answer

    def _runs_begun(self) -> bool:
        """Whether the study has made its store and begun a run in it."""
        address = f"file:{self.place}/mlruns/mlflow.db?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True)) as database:
                return bool(database.execute("SELECT COUNT(*) FROM runs").fetchone()[0])
        except sqlite3.OperationalError:  # no file or no table yet
            return False

    def _misuse_a_copy(self) -> None:
        """Delete everything in a copy of the store, which the original must not notice."""
        original, copy = self.place, self.place.with_name(f"copy of {self.place.name}")
        shutil.copytree(original, copy)
        found = child(partial(all_runs, f"sqlite:///{copy}/mlruns/mlflow.db"), self.world.folder)
        self.place = copy
        self.ask("runs", "delete", *(found.answer or []), "--yes")
        self.ask("runs", "gc", "--yes")
        self.place = original
        shutil.rmtree(copy)
        self.done.append("copy emptied")


def all_runs(uri: str) -> list[str]:
    """The ids of all runs in a store."""
    tracker = open_tracker(uri)
    return [run.run_id for name in tracker.experiments() for run in tracker.runs(name)]


def missing(uri: str) -> list[str]:
    """What of the study is not there, or has not ended."""
    tracker = open_tracker(uri)
    whole, wrong = set(), []
    for name in tracker.experiments():
        for run in tracker.runs(name, tags={"level": "seed"}):
            steps = [step for step, _ in tracker.history(run.run_id, "eval/unique")]
            kept = [tracker.artifact(run.run_id, "samples.json"), tracker.model(run.run_id)]
            if run.status == "RUNNING":
                wrong.append(f"{run.name} is still running")
            elif steps == [0, UPDATES] and all(path.exists() for path in kept):
                whole.add((run.tags["variant"], run.tags["seed"]))
    count = VARIANTS * SEEDS
    return wrong + ([f"{len(whole)} of {count} runs are whole"] if len(whole) != count else [])


def interfere(world: World, times: int, say: Say) -> Tally:
    """Random actions in the UI while a study runs; then restore, deliver, resume."""
    world.prepare()
    tally = Tally("a store changed by people while a study runs in it")
    while tally.tried < times:
        disturbed = Disturbed(world)
        disturbed.disturb()
        disturbed.put_right()
        for what in disturbed.done:
            tally.note(what)
        tally.took(disturbed.longest)
        tally.count(disturbed.wrong)
        shutil.rmtree(disturbed.place)
        say(tally)
    return tally
