"""A trained generator as a folder, and back: weights, configuration, vocabulary. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from core.config import Config, parse
from core.config.parsing import LONGEST_CONFIG
from core.errors import InputError
from core.files import check_fits_in_memory, read_bounded
from core.interfaces import Generator, SamplingSpec
from core.numbers import MAX_TEMPERATURE, MIN_TEMPERATURE, is_temperature
from core.seeding import generator as random_stream
from core.text.vocabulary import BEGIN, SPECIALS, Vocabulary
from core.training.players import as_module, build_generator, sampling_spec
from core.training.rollout import sample_tokens
from variants import registry

BATCH = 250  # sentences drawn at a time; part of what a seed means


@dataclass(frozen=True)
class SentenceSampler:
    """Draws sentences from a generator."""

    generator: Generator
    spec: SamplingSpec
    vocabulary: Vocabulary
    joiner: str = " "
    update: int | None = None  # of the checkpoint that it was read from

    def tokens(self, n: int, temperature: float, seed: int, stream: str) -> list[list[str]]:
        """`n` sentences as words, the same for the same seed on one device."""
        return self.decode(self.rows(n, temperature, seed, stream))

    def decode(self, rows: np.ndarray) -> list[list[str]]:
        """The words of sentences as ids (n, S)."""
        return [self.vocabulary.decode(row) for row in rows]

    def rows(self, n: int, temperature: float, seed: int, stream: str) -> np.ndarray:
        """The sentences of `tokens` as drawn: ids (n, S), anything after the first end token."""
        if not is_temperature(temperature):
            raise InputError(
                f"temperature = {temperature}: should be {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}"
            )
        module = as_module(self.generator)
        device = next(module.parameters()).device
        rng = random_stream(seed, stream, device)
        training = module.training
        module.eval()
        # Whole batches are drawn, so that the first sentences do not depend on how many.
        drawn = [
            sample_tokens(self.generator, self.spec, BATCH, rng, temperature).cpu().numpy()
            for _ in range(0, n, BATCH)
        ]
        module.train(training)
        return np.concatenate(drawn)[:n]

    def sample(self, n: int, temperature: float = 1.0, seed: int = 0) -> list[str]:
        """`n` sentences as text."""
        return [self.text(words) for words in self.tokens(n, temperature, seed, "sample")]

    def text(self, words: list[str]) -> str:
        """Words as a line of text; characters are put together again."""
        if self.joiner:
            return self.joiner.join(words)
        return "".join(words).replace(BEGIN, " ")


def make_sampler(
    config: Config, generator: Generator, vocabulary: Vocabulary, progress: float = 1.0
) -> SentenceSampler:
    """A sampler with the sampling of a configuration, at the temperature of its end."""
    joiner = "" if vocabulary.level == "character" else " "
    return SentenceSampler(
        generator, sampling_spec(config, registry(), progress), vocabulary, joiner
    )


def save_generator(
    folder: Path, config: Config, generator: Generator, vocabulary: Vocabulary
) -> None:
    """Write what `load_generator` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = as_module(generator).state_dict()
    save_file(
        {k: v.detach().cpu().contiguous() for k, v in weights.items()},
        folder / "generator.safetensors",
    )
    if vocabulary.level != config.corpus.level:  # that of a built folder
        known = {"level": vocabulary.level, "vocabulary_limit": len(vocabulary) - len(SPECIALS)}
        config = config.model_copy(update={"corpus": config.corpus.model_copy(update=known)})
    (folder / "config.json").write_text(json.dumps(config.tables(), indent=2), encoding="utf-8")
    vocabulary.save(folder / "vocabulary.txt")
    entry = {"module": "experiments.generate", "function": "load_generator"}
    (folder / "entry.json").write_text(json.dumps(entry), encoding="utf-8")


def load_generator(folder: Path) -> SentenceSampler:
    """The generator of a folder that `save_generator` wrote, on the CPU; InputError for any other.

    Folders come from anybody: nothing is imported, and no weights are made before the shapes of
    those in the file have been held against the configuration's.
    """
    folder = Path(folder)
    config = parse(_tables(folder / "config.json"), registry(), str(folder / "config.json"))
    vocabulary = Vocabulary.load(folder / "vocabulary.txt", config.corpus.level)
    file = folder / "generator.safetensors"
    with torch.device("meta"):
        blank = as_module(build_generator(config, registry(), len(vocabulary))).state_dict()
    if _shapes(file) != {name: list(weight.shape) for name, weight in blank.items()}:
        raise InputError(f"{file}: not the weights of the generator that config.json describes")
    generator = build_generator(config, registry(), len(vocabulary))
    try:
        as_module(generator).load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{file}: not weights ({str(error).splitlines()[0]})") from None
    with torch.no_grad():
        return make_sampler(config, generator, vocabulary)


def _tables(file: Path) -> Mapping[str, Any]:
    text = read_bounded(file, LONGEST_CONFIG)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not valid JSON ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: not a configuration; it must hold one JSON object")
    return found


def _shapes(file: Path) -> dict[str, list[int]]:
    """Shapes of a safetensors file's weights, read from its header."""
    try:
        check_fits_in_memory(file)
        with safe_open(file, framework="pt") as weights:
            return {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: not weights ({str(error).splitlines()[0]})") from None
