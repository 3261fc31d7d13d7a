"""A trained generator as a folder, and back: weights, configuration, vocabulary. No pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from core.config import Config, parse
from core.players import as_module, build_generator, drawing_of
from core.protocols import Generator
from core.rollout import Drawing, sample_tokens
from core.seeding import generator as random_stream
from core.text.vocabulary import Vocabulary
from variants import registry

BATCH = 250  # sentences drawn at a time; part of what a seed means


@dataclass(frozen=True)
class Writer:
    """Draws sentences from a generator."""

    generator: Generator
    drawing: Drawing
    vocabulary: Vocabulary
    joiner: str = " "

    def tokens(self, n: int, temperature: float, seed: int, stream: str) -> list[list[str]]:
        """`n` sentences as words, the same for the same seed on one device."""
        module = as_module(self.generator)
        device = next(module.parameters()).device
        rng = random_stream(seed, stream, device)
        sentences: list[list[str]] = []
        training = module.training
        module.eval()
        while len(sentences) < n:
            # Whole batches are drawn, so that the first sentences do not depend on how many.
            drawn = sample_tokens(self.generator, self.drawing, BATCH, rng, temperature)
            sentences += [self.vocabulary.decode(row) for row in drawn.cpu().numpy()]
        module.train(training)
        return sentences[:n]

    def sample(self, n: int, temperature: float = 1.0, seed: int = 0) -> list[str]:
        """`n` sentences as text."""
        return [self.text(words) for words in self.tokens(n, temperature, seed, "sample")]

    def text(self, words: list[str]) -> str:
        """Words as a line of text; characters are put together again."""
        if self.joiner:
            return self.joiner.join(words)
        return "".join(words).replace("\u2581", " ")


def make_writer(
    config: Config, generator: Generator, vocabulary: Vocabulary, progress: float = 1.0
) -> Writer:
    """A writer with the sampling of a configuration, at the temperature of its end."""
    joiner = "" if config.corpus.level == "character" else " "
    return Writer(generator, drawing_of(config, registry(), progress), vocabulary, joiner)


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
    (folder / "config.json").write_text(json.dumps(config.tables(), indent=2), encoding="utf-8")
    vocabulary.save(folder / "vocabulary.txt")
    entry = {"module": "experiments.generate", "function": "load_generator"}
    (folder / "entry.json").write_text(json.dumps(entry), encoding="utf-8")


def load_generator(folder: Path) -> Writer:
    """The generator of a folder that `save_generator` wrote, on the CPU."""
    folder = Path(folder)
    tables = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = parse(tables, registry(), str(folder / "config.json"))
    vocabulary = Vocabulary.load(folder / "vocabulary.txt")
    generator = build_generator(config, registry(), len(vocabulary))
    as_module(generator).load_state_dict(load_file(folder / "generator.safetensors"))
    with torch.no_grad():
        return make_writer(config, generator, vocabulary)
