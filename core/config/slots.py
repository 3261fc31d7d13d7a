"""The slots of a text GAN. A slot's strategies live in `variants/<slot>/`."""

from __future__ import annotations

from collections.abc import Mapping

SLOTS = (
    "generator", "next_input", "noise_mapping", "sampling", "temperature", "estimator",
    "discriminator", "objective", "penalty", "schedule",
)  # fmt: skip
SYSTEM = "system"  # the table of a whole system, which replaces all slots
FOLDERS = (*SLOTS, SYSTEM)  # under variants/, and tables of the configuration
# The folders had plural names once, and people type them.
PLURALS: Mapping[str, str] = {
    "generators": "generator",
    "estimators": "estimator",
    "discriminators": "discriminator",
    "objectives": "objective",
    "penalties": "penalty",
    "schedules": "schedule",
    "systems": "system",
}
NEEDED = ("generator", "next_input", "noise_mapping", "sampling", "temperature", "schedule")
GAME_SETTINGS = (
    "micro_batch",
    "entropy",
    "instance_noise",
    "curriculum_start",
)  # of the slots' game
PLUGINS = "textgan.variants"  # entry-point group of strategies in other packages
