"""Configuration keys and study names that had another name once.

Files that people write may use an old key for one release; a warning names the new one. What a
store or a summary holds is never rewritten: it is read through these tables for good. Runs, rows
and studies in a store keep the names that they were given; keys and values are read as today's.
`tests/store` reads a store that version 0.1 wrote.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

log = logging.getLogger(__name__)

# Old dotted key -> new one, since 0.2 (configuration files, parameters, settings of trials).
KEYS: Mapping[str, str] = {
    "model.hide_after_end": "model.mask_after_eos",
    "train.generator_rate": "train.generator_lr",
    "train.discriminator_rate": "train.discriminator_lr",
    "train.rate_decay": "train.lr_decay",
    "train.discriminator_decay": "train.discriminator_weight_decay",
    "train.largest_loss": "train.max_loss",
    "train.start_length": "train.curriculum_start",
    "train.grow_until": "train.curriculum_end",
    "train.fakes": "train.reuse_fakes",
    "schedule.generator_rate": "schedule.generator_lr",
    "schedule.likelihood_rate": "schedule.likelihood_lr",
    "system.rate": "system.child_lr",
    "evaluation.patience": "evaluation.collapse_patience",
}
# Values of a key that changed its type with its name.
VALUES: Mapping[str, Mapping[Any, Any]] = {"train.fakes": {"fresh": False, "shared": True}}
# Keys that 0.1 did not have, with the value that means what 0.1 did. Hashes leave them out there,
# so that a new key does not change the hash of every configuration.
ADDED: Mapping[str, Any] = {
    "generator.norm": "row",
    "generator.scale": "head",
    "kernels": "auto",
    "corpus.subwords": "bpe",
    "objective.reward": "relative",
    "train.progress": "run",
    "train.replay": 0,
    "system.beta_max": 100.0,
    "system.norm": "row",
    "system.output_decay": 0.0,
    "system.real_weight": 1.0,
    "system.likelihood_steps": 1,
    "system.g_steps": 1,
    "discriminator.position_signal": "sinusoidal",
    "penalty.at": "embeddings",
    "discriminator.tied": True,
    "system.reward": "sentence",
    **dict.fromkeys((
        "generator.tied", "system.published", "system.extra_likelihood", "estimator.shared",
        "estimator.expected",
        "estimator.log_ratio",
        "estimator.includes_batch", "objective.positive_reward", "train.clip_generator_only",
        "train.discriminator_from_generator"), False),
}  # fmt: skip
# Keys that are gone, with the value that a run has without them. Hashes still hold that value.
REMOVED: Mapping[str, Any] = {"train.rollout": "steps"}
# Old keys under which hashes still hold a value, because they were renamed within a version.
HASHED = ("evaluation.patience",)
# The tag of a run that holds the hash of its configuration, and the tag that 0.1 gave it.
HASH_TAG, OLD_HASH_TAG = "config_hash", "likeness"
# Names of the studies that came with the harness; stored ones begin with them too.
STUDIES: Mapping[str, str] = {"card_axes": "design_axes", "card_attention": "design_attention"}
# Phrases of stored questions.
PHRASES: Mapping[str, str] = {
    "the card's choices": "the original design axes",
    "the best GAN from scratch": "modern, a GAN from scratch,",
}


def current_key(key: str) -> str:
    """Today's name of a dotted configuration key."""
    return KEYS.get(key, key)


def current_study(name: str) -> str:
    """Today's name of a study, to show: `card_axes_captions` is `design_axes_captions`."""
    for old, new in STUDIES.items():
        if name == old or name.startswith((f"{old}_", f"{old}-")):
            return new + name.removeprefix(old)
    return name


def current_text(text: str) -> str:
    """A stored question or command with today's names, to show: keys, studies and their files."""
    for key, values in VALUES.items():
        for old, new in values.items():
            text = text.replace(f"{key}={old}", f"{KEYS[key]}={json.dumps(new)}")
    for old, new in PHRASES.items():
        text = text.replace(old, new)
    for old, new in KEYS.items():
        text = re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w.])", new, text)
    for old, new in STUDIES.items():
        text = re.sub(rf"(?<!\w){old}(?![A-Za-z0-9])", new, text)
    return text


def current_value(key: str, value: Any) -> Any:
    """The value, or list of values, that the old key's value means under the new key."""
    if isinstance(value, list):
        return [current_value(key, part) for part in value]
    known = VALUES.get(key, {})
    return known.get(value, value) if isinstance(value, str) else value


def current_params(params: Mapping[str, str]) -> Mapping[str, str]:
    """A stored run's parameters, dotted keys to text, under today's keys."""
    if KEYS.keys().isdisjoint(params):
        return params
    return {current_key(key): str(current_value(key, value)) for key, value in params.items()}


def current_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings, dotted keys to values, under today's keys."""
    return {current_key(key): current_value(key, value) for key, value in settings.items()}


def stored_keys(key: str) -> tuple[str, ...]:
    """All names under which a store may hold a parameter, today's first."""
    return (key, *(old for old, new in KEYS.items() if new == key))


def current_tables(tables: Mapping[str, Any], where: str | None = None) -> dict[str, Any]:
    """Nested tables, a study's included, with today's keys. `where` is what a person wrote: each
    old key in it is warned of.
    """
    found: dict[str, Any] = {}
    for key, value in tables.items():
        if not isinstance(value, Mapping):
            found[key] = value
        elif key == "systems":  # the files of whole systems, which a stored study carries
            found[key] = {name: current_tables(each, where) for name, each in value.items()}
        else:
            found[key] = _current_table(value, f"{key}.", where)
    return found


def comparable(tables: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's tables as hashes take them: without the keys of `ADDED` that have the value
    given there, with those of `REMOVED`, and with the old names of `HASHED`.
    """
    found = deepcopy(dict(tables))
    for old in HASHED:
        table, _, name = KEYS[old].partition(".")
        if name in found.get(table, {}):
            found[table][old.partition(".")[2]] = found[table].pop(name)
    for key, value in REMOVED.items():
        table, _, name = key.partition(".")
        found[table][name] = value
    for key, value in ADDED.items():
        table, _, name = key.rpartition(".")
        place = found.get(table, {}) if table else found
        if place.get(name) == value:
            del place[name]
    return found


def previous_tables(tables: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's tables as version 0.1 had them, of which stored runs keep the hash."""
    found = deepcopy(dict(tables))
    for old, new in KEYS.items():
        table, _, name = new.partition(".")
        if isinstance(found.get(table), dict) and name in found[table]:
            value = found[table].pop(name)
            found[table][old.partition(".")[2]] = previous_value(new, value)
    return found


def previous_key(key: str) -> str:
    """The name that version 0.1 had for a key."""
    return stored_keys(key)[-1]


def previous_value(key: str, value: Any) -> Any:
    """The value that version 0.1 had for what a key's value means."""
    known = VALUES.get(previous_key(key), {})
    return next((old for old, new in known.items() if new is value), value)


def hash_of(tags: Mapping[str, str]) -> str | None:
    """The hash of a stored run's configuration, see `Config.stored_hashes`."""
    return tags.get(HASH_TAG, tags.get(OLD_HASH_TAG))


def warn_renamed(key: str, where: str | None) -> None:
    """Say that a key has a new name, if a person wrote it (`where`)."""
    if where is not None:
        log.warning("%s: %s is now called %s; the old name goes with the next release",
                    where, key, KEYS[key])  # fmt: skip


def _current_table(table: Mapping[str, Any], prefix: str, where: str | None) -> dict[str, Any]:
    """A table whose keys are settings of `prefix`; in a study's tables they are dotted settings."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        dotted = key if key in KEYS else prefix + key
        if dotted in REMOVED:
            if value != REMOVED[dotted]:
                log.warning("%s = %r is ignored: the key was removed", dotted, value)
        elif dotted in KEYS:
            warn_renamed(dotted, where)
            new = KEYS[dotted]
            name = new if key in KEYS else new.partition(".")[2]
            found[name] = current_value(dotted, value)
        elif prefix == "study.":
            found[key] = _current_study_part(value, where)
        else:
            found[key] = value
    return found


def _current_study_part(value: Any, where: str | None) -> Any:
    """A value inside `[study]`: an axis, a space, a row's settings."""
    if isinstance(value, Mapping):
        return _current_table(value, "study.", where)
    if isinstance(value, list):
        return [_current_study_part(part, where) for part in value]
    if isinstance(value, str) and value in KEYS:
        warn_renamed(value, where)
        return KEYS[value]
    return value
