"""The checkpoints of a run, in its folder: the last two, the best, and every so many updates.

    checkpoint.safetensors, .previous    what a run that died goes on from
    kept/best.safetensors                `evaluation.keep_best`
    kept/early_stop.safetensors          `train.stop`, if `evaluation.selection` names it
    kept/200.safetensors                 `train.keep_every`, `train.keep_at`
    diverged.safetensors                 the state that led there

Those that are kept stay for good; the last two are spare once the run has ended (`textgan runs
gc`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.config import Config, parse, read_toml
from core.errors import InputError, listed
from core.plural import count
from core.tracking.protocol import Tracker
from core.training import checkpoint
from core.training.checkpoint import Checkpoint
from core.training.players import as_module, build_generator
from core.training.state import TrainingState
from experiments.generate import SentenceSampler, load_generator, make_sampler
from experiments.loading import open_corpus
from variants import registry

LAST = "checkpoint.safetensors"
KEPT = "kept"
BEST, EARLY_STOP = "best", "early_stop"
DIVERGED = "diverged.safetensors"


class Checkpoints:
    """Those of one run that trains."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.path = folder / LAST
        self._folder, self._config = folder, config

    def last(self) -> Checkpoint | None:
        """The newest whole one."""
        return checkpoint.read(self.path)

    def any(self) -> bool:
        """Whether there is one to go on from, whole or not."""
        return self.path.exists() or self.path.with_suffix(".previous").exists()

    def save(self, state: TrainingState) -> None:
        """The state as it is, to go on from."""
        checkpoint.write(self.path, state.tensors(), state.counters)
        train, update = self._config.train, state.counters.update
        regular = train.keep_every is not None and update and update % train.keep_every == 0
        if regular or update in (train.keep_at or ()):
            checkpoint.keep(self.path, self._kept(str(update)))

    def offer(self, state: TrainingState) -> None:
        """Keep the state if a rule picks its evaluation."""
        counters = state.counters
        picks = {BEST: counters.best}
        if EARLY_STOP in self._config.rules:
            picks[EARLY_STOP] = counters.stop
        for rule, pick in picks.items():
            if pick is not None and pick[0] == counters.update:
                checkpoint.write(self._kept(rule), state.tensors(), counters, keep_previous=False)

    def picked(self, rule: str) -> Checkpoint | None:
        """The one that a rule keeps; None for the last, and if the rule's metric had no value."""
        return checkpoint.read(self._kept(rule))

    def keep_diverged(self, state: TrainingState) -> None:
        """The state that a divergence left."""
        checkpoint.write(self._folder / DIVERGED, state.tensors(), state.counters)

    def picks(self, state: TrainingState) -> dict[str, str]:
        """Tags that say which update is the best, and which one `train.stop` keeps."""
        counters, stop = state.counters, self._config.train.stop
        best = self._config.evaluation.keep_best
        found = {BEST: (best, counters.best), EARLY_STOP: (stop and stop.metric, counters.stop)}
        return {
            rule: f"{metric} {pick[1]:.6g} at update {pick[0]}"
            for rule, (metric, pick) in found.items() if pick is not None
        }  # fmt: skip

    def _kept(self, name: str) -> Path:
        return self._folder / KEPT / f"{name}.safetensors"


def kept(folder: Path) -> dict[str, Path]:
    """The checkpoints of a run's folder that stay, by name: updates in order, then rules."""
    found = {file.stem: file for file in (folder / KEPT).glob("*.safetensors")}
    order = sorted(found, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0))
    return {name: found[name] for name in order}


def by_update(folder: Path) -> dict[int, Path]:
    """The checkpoints of a run's folder by their update: those that are kept, and the last two."""
    files = kept(folder)
    found = {int(name): file for name, file in files.items() if name.isdigit()}
    last = folder / LAST
    for file in (files.get(BEST), files.get(EARLY_STOP), last, last.with_suffix(".previous")):
        if file is not None and (saved := checkpoint.read(file)) is not None:
            found.setdefault(saved.counters.update, file)
    return dict(sorted(found.items()))


def sampler_of(tracker: Tracker, run_id: str, name: str | None) -> SentenceSampler:
    """The generator that a run recorded at its end; before that, as it was at the last checkpoint.
    With a name as it was at a checkpoint that was kept; InputError for another.
    """
    folder = tracker.store_dir / "runs" / run_id
    found = kept(folder)
    if name is None:
        try:
            return load_generator(tracker.model(run_id))
        except InputError:
            if (folder / "result.json").exists() or not (folder / "config.toml").exists():
                raise
            if not (folder / LAST).exists():
                every = count(stored_config(folder).train.checkpoint_every, "update")
                raise InputError(
                    f"run {run_id[:8]} has not written its first checkpoint yet; it writes one "
                    f"every {every} (train.checkpoint_every)"
                ) from None
        name, found = "last", {"last": folder / LAST}
    if name not in found:
        known = listed(list(found), "none (see train.keep_every and evaluation.keep_best)")
        raise InputError(f"run {run_id[:8]}: no checkpoint {name!r}; kept are: {known}")
    config = stored_config(folder)
    saved = checkpoint.read(found[name])
    if saved is None:
        raise InputError(f"{found[name]}: the checkpoint is gone; leave out --at for the model")
    vocabulary = open_corpus(config.corpus, tracker.store_dir, config.model.length).vocabulary
    generator = build_generator(config, registry(), len(vocabulary))
    weights = saved.group("weights.averaged") or saved.group("weights.generator")
    try:
        as_module(generator).load_state_dict(weights)
    except RuntimeError as error:
        words = str(error).splitlines()[0]
        raise InputError(f"{found[name]}: does not fit the run's configuration ({words})") from None
    sampler = make_sampler(config, generator, vocabulary)
    return replace(sampler, update=saved.counters.update)


def stored_config(folder: Path) -> Config:
    """The configuration of the run that has this folder."""
    file = folder / "config.toml"
    return parse(read_toml(file), registry(), str(file))
