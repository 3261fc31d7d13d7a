"""Seeds out of a generator, on a GPU without waiting for it."""

from __future__ import annotations

import pytest
import torch

from core.seeding import draw_seeds, generator


class Counting:
    """What a GPU's generator knows of itself on the processor: its seed, and how far it is."""

    device = torch.device("cuda")

    def __init__(self, seed: int) -> None:
        self.seed, self.offset = seed, 0

    def initial_seed(self) -> int:
        return self.seed

    def get_offset(self) -> int:
        return self.offset

    def set_offset(self, offset: int) -> None:
        assert offset % 4 == 0  # what CUDA asks for
        self.offset = offset


def test_seeds_of_a_gpus_generator_are_a_function_of_its_seed_and_place() -> None:
    one, same, other = Counting(1), Counting(1), Counting(2)
    found = draw_seeds(5, one)  # type: ignore[arg-type]
    assert len(set(found)) == 5
    assert all(0 <= seed < 2**63 for seed in found)
    first, place = draw_seeds(2, same), same.get_offset()  # type: ignore[arg-type]
    resumed = Counting(1)
    resumed.set_offset(place)
    assert (*first, *draw_seeds(3, resumed)) == found  # type: ignore[arg-type]
    assert not set(found) & set(draw_seeds(5, other))  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to have its generator")
def test_a_gpus_generator_goes_on_where_its_state_was_taken() -> None:
    rng = generator(0, "noise", torch.device("cuda"))
    state, before = rng.get_state(), draw_seeds(3, rng)
    rng.set_state(state)
    assert draw_seeds(3, rng) == before
    assert len(set(before)) == 3


def test_seeds_of_a_processors_generator_are_drawn() -> None:
    assert draw_seeds(3, generator(0, "a")) == draw_seeds(3, generator(0, "a"))
    assert draw_seeds(3, generator(0, "a")) != draw_seeds(3, generator(0, "b"))
