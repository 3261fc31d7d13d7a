"""The same measures on a GPU, by the clock, and what the GPU does meanwhile.

    python -m benchmarks.speed --device cuda          the full sizes
    python -m benchmarks.speed --device cuda --quick  batch 16

`sampling` and `iteration` against the yardstick on the same GPU, for each precision; beside an
iteration the share of the matrix peak that its products reach, and for how much of the time the GPU
had nothing to do, by torch's profiler.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.measure import Times, show
from benchmarks.peak import counted
from benchmarks.sizes import N_D, Setting, discriminator_phase, generator_phase
from benchmarks.yardstick import Yardstick
from core.nn.precision import Precision, set_matmul_precision
from core.training.loop import train_phase
from core.training.rollout import sample
from core.training.state import TrainingState

SIZE = 8192  # of the products that measure the peak
TRIES = 10
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bf16")
Span = tuple[float, float]


def cuda(setting: Setting, repeats: int, plain_repeats: int) -> None:
    """All measures; the yardstick computes in float32, the original's way."""
    setting = replace(setting, device="cuda", micro_batch=None)
    gpu = torch.device("cuda")
    set_matmul_precision("float32", gpu)
    yardstick = Yardstick(setting)
    plain_sample = timed(yardstick.sample, plain_repeats)
    plain_g = timed(yardstick.generator_step, plain_repeats)
    plain = plain_g.plus(timed(yardstick.discriminator_step, plain_repeats), N_D)
    del yardstick
    torch.cuda.empty_cache()
    name = torch.cuda.get_device_name()
    for precision in PRECISIONS:
        set_matmul_precision(precision, gpu)
        limit = peak(precision)
        steps = replace(setting, precision=precision).state()
        more = {"device": name, "precision": precision}

        def draw_batch(steps: TrainingState = steps) -> None:
            draw(steps)

        def iteration(steps: TrainingState = steps) -> None:
            for phase in (discriminator_phase(N_D), generator_phase()):
                train_phase(steps, phase)

        tokens = setting.batch * setting.length
        ours = timed(draw_batch, repeats)
        show("sampling", ours, plain_sample, "seconds by the clock",
             tokens_a_second=tokens / ours.wall, gpu_idle=idle(draw_batch), **more)  # fmt: skip
        ours = timed(iteration, repeats)
        rate = counted(iteration) / ours.wall
        show("iteration", ours, plain, f"seconds by the clock, {N_D} D + 1 G",
             tflops=rate / 1e12, peak_tflops=limit / 1e12, share_of_peak=rate / limit,
             gpu_idle=idle(iteration), **more)  # fmt: skip


def draw(steps: TrainingState) -> None:
    """One batch of words, without gradient."""
    spec = steps.sampling_spec()
    size = steps.config.train.batch_size
    sample(steps.players.generator, spec, size, steps.streams["noise"])


def timed(work: Callable[[], object], repeats: int) -> Times:
    """Seconds by the clock until the GPU is done; twice before to warm up."""
    found = []
    for turn in range(repeats + 2):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if turn > 1:
            found.append(time.perf_counter() - began)
    middle = sorted(found)[len(found) // 2]
    return Times(middle, middle, repeats)


def peak(precision: Precision) -> float:
    """Operations a second of a large product in these numbers, the best of a few."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(SIZE, SIZE, device="cuda", dtype=kind) for _ in range(2))
    seconds = [timed(lambda: a @ b, 1).wall for _ in range(TRIES)]
    return 2 * SIZE**3 / min(seconds)


def idle(work: Callable[[], object]) -> float:
    """Share of the time, from the first kernel of `work` to the last, in which none ran."""
    work()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    spans = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events() or ()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]
    return idle_share(spans)


def idle_share(spans: Iterable[Span]) -> float:
    """Share of the time from the first start to the last end that no span covers."""
    ordered = sorted(spans)
    if not ordered:
        return 1.0
    busy, (start, end) = 0.0, ordered[0]
    first = start
    for begins, ends in ordered[1:]:
        if begins > end:
            busy, start, end = busy + end - start, begins, ends
        end = max(end, ends)
    whole = end - first
    return 1 - (busy + end - start) / whole if whole else 0.0
