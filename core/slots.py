"""The slots of a text GAN, and where their strategies live."""

from __future__ import annotations

from collections.abc import Mapping

# Slot (a table of the configuration) -> folder under variants/.
SLOTS: Mapping[str, str] = {
    "generator": "generators",
    "next_input": "next_input",
    "noise_mapping": "noise_mapping",
    "sampling": "sampling",
    "temperature": "temperature",
    "estimator": "estimators",
    "discriminator": "discriminators",
    "objective": "objectives",
    "penalty": "penalties",
    "schedule": "schedules",
}
SYSTEM = "system"  # the table of a whole system, which stands instead of all slots
FOLDERS: Mapping[str, str] = {**SLOTS, SYSTEM: "systems"}
NEEDED = ("generator", "next_input", "noise_mapping", "sampling", "temperature", "schedule")
GAME_SETTINGS = ("micro_batch", "entropy", "instance_noise", "start_length")  # of the slots' game
PLUGINS = "textgan.variants"  # entry-point group of strategies in other packages
