"""Training and sampling against the yardstick, one JSON document a measure.

    python -m benchmarks.speed            the full sizes
    python -m benchmarks.speed --quick    batch 16, one repeat of the yardstick
    python -m benchmarks.speed --device cuda    sampling and an iteration on a GPU

One thread. What is measured how stands in `benchmarks.measure`, what came out in README.md.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from benchmarks import memory
from benchmarks.cuda import cuda
from benchmarks.likelihood import likelihood
from benchmarks.masked import masked
from benchmarks.measure import Times, show, times
from benchmarks.peak import counted, shares
from benchmarks.sizes import N_D, Setting, discriminator_phase, generator_phase
from benchmarks.texts import texts
from benchmarks.tracking import tracking
from benchmarks.yardstick import Yardstick
from core.interfaces import SamplingSpec
from core.training.loop import train_phase
from core.training.rollout import sample_tokens
from core.training.state import TrainingState
from core.types import Phase

MEASURES = (
    "training", "light", "masked", "memory", "length", "vocabulary", "likelihood", "bleu",
    "tracking",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=MEASURES, action="append", help="not all measures")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    setting = Setting(batch=16 if asked.quick else 64)
    repeats = asked.repeats or (3 if asked.quick else 5)
    plain_repeats = 1 if asked.quick else 2
    if asked.device == "cuda":
        if not torch.cuda.is_available():
            parser.error("--device cuda: this machine has no usable GPU")
        cuda(setting, repeats, plain_repeats)
        return
    wanted = asked.only or MEASURES
    if "training" in wanted:
        training(setting, repeats, plain_repeats)
    if "light" in wanted:
        light(setting, repeats, plain_repeats)
    if "masked" in wanted:
        masked(setting, repeats, plain_repeats)
    if "memory" in wanted:
        memory.iteration(asked.quick)
        memory.vocabularies()
    if "length" in wanted:
        lengths(setting, 1 if asked.quick else repeats)
    if "vocabulary" in wanted:
        vocabularies(setting, 1 if asked.quick else repeats)
    if "likelihood" in wanted:
        likelihood(10 * repeats)
    if "bleu" in wanted:
        texts(1 if asked.quick else repeats)
    if "tracking" in wanted:
        tracking()


def training(setting: Setting, repeats: int, plain_repeats: int) -> None:
    """Sampling, a step of each player, and an iteration of five and one."""
    fast, plain = setting.state(), Yardstick(setting)
    tokens = setting.batch * setting.length
    ours, theirs = times(lambda: sample(fast), repeats), times(plain.sample, plain_repeats)
    show("sampling", ours, theirs, "seconds", tokens_a_second=tokens / ours.cpu)
    for name in ("last_token", "last_token_noise", "fixed_token"):
        other = replace(setting, next_input=name).state()
        show(f"sampling_{name}", times(lambda s=other: sample(s), repeats), theirs, "seconds")
    g, d = players(fast, plain, repeats, plain_repeats)
    show("generator_update", *g, "seconds, the rollout included")
    show("discriminator_update", *d, "seconds, the fake batch included")
    iteration = [one.plus(each, N_D) for one, each in zip(g, d, strict=True)]
    work = N_D * counted(lambda: play(fast, discriminator_phase(1)))
    work += counted(lambda: play(fast, generator_phase()))
    show("iteration", *iteration, f"seconds, {N_D} D + 1 G, from its parts",
         **shares(work, iteration[0].cpu))  # fmt: skip


def light(setting: Setting, repeats: int, plain_repeats: int) -> None:
    """An iteration with the small discriminator."""
    small = replace(setting, light=True)
    g, d = players(small.state(), Yardstick(small), repeats, plain_repeats)
    iteration = [one.plus(each, N_D) for one, each in zip(g, d, strict=True)]
    show("iteration_light", *iteration, f"seconds, {N_D} D + 1 G, D: T 1, B 1, O 1, from its parts")


def players(
    fast: TrainingState, plain: Yardstick, repeats: int, plain_repeats: int
) -> tuple[tuple[Times, Times], tuple[Times, Times]]:
    """A step of G and a step of D: ours and the yardstick's."""
    g = times(lambda: play(fast, generator_phase()), repeats)
    d = times(lambda: play(fast, discriminator_phase(N_D)), repeats).over(N_D)
    plain_g, plain_d = (
        times(step, plain_repeats) for step in (plain.generator_step, plain.discriminator_step)
    )
    return (g, plain_g), (d, plain_d)


def lengths(setting: Setting, repeats: int) -> None:
    """An iteration's cost from 32 to 128 words; the ratio is the growth."""
    short, long = (iteration_time(replace(setting, length=S), repeats) for S in (32, 128))
    show("length_32_to_128", short, long, "seconds of an iteration; the ratio is the growth")


def vocabularies(setting: Setting, repeats: int) -> None:
    """An iteration's cost from 5,000 to 70,000 words; the ratio is the growth."""
    few, many = (
        iteration_time(replace(setting, vocabulary=V, length=32, light=True), repeats)
        for V in (5_000, 70_000)
    )
    unit = "seconds of an iteration; the ratio is the growth, 14 would be linear"
    show("vocabulary_5k_to_70k", few, many, unit)


def iteration_time(setting: Setting, repeats: int) -> Times:
    """Five D steps and one G step."""
    steps = setting.state()

    def iteration() -> None:
        play(steps, discriminator_phase(N_D))
        play(steps, generator_phase())

    return times(iteration, repeats)


def play(steps: TrainingState, phase: Phase) -> None:
    """All steps of a phase."""
    train_phase(steps, phase)


def sample(steps: TrainingState) -> None:
    """Draw one batch."""
    spec = SamplingSpec(steps.players.sampling)
    size = steps.config.train.batch_size
    sample_tokens(steps.players.generator, spec, size, steps.streams["noise"])


if __name__ == "__main__":
    main()
