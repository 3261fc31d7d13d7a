"""One run in several processes: each does an equal share of every batch.

All processes draw the same chance for the whole batch, so its sentences are those of one process.
Each rolls out, scores and differentiates its own rows; what is decided over the whole batch
(baselines, moving averages) is computed by all alike from rows that are gathered. Gradients are
sums of shares, so N processes come to what one comes to, up to rounding.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from core.nn.noise import rows_of
from core.protocols import Seeds
from core.sentences import Noise

LONGEST_TEXT = 8192  # bytes
# The others wait while the leader builds a corpus or evaluates; `torchrun` ends them if it dies.
LONGEST_WAIT = timedelta(hours=6)


@dataclass(frozen=True)
class Share:
    """The `index`-th of `count` equal shares; alone it is everything, and nothing is sent."""

    index: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process evaluates and writes: the record, checkpoints, what people see."""
        return self.index == 0

    @property
    def device(self) -> str:
        """Where what is sent must lie."""
        return "cuda" if self.count > 1 and dist.get_backend() == "nccl" else "cpu"

    def parts(self, total: int) -> range:
        """Which of `total` equal parts of a batch are ours; `total` is a multiple of `count`."""
        each = total // self.count
        return range(self.index * each, (self.index + 1) * each)

    def rows(self, tensor: Tensor, batches: int = 1) -> Tensor:
        """Our rows (of each of so many batches, one behind the other)."""
        if self.count == 1:
            return tensor
        whole = tensor.reshape(batches, self.count, -1, *tensor.shape[1:])
        return whole[:, self.index].flatten(0, 1)

    def seeds(self, seeds: Seeds, batches: int = 1) -> Seeds:
        """Those of our parts, of each of so many batches."""
        each = len(seeds) // batches
        ours = [batch * each + part for batch in range(batches) for part in self.parts(each)]
        return tuple(seeds[place] for place in ours) if seeds else seeds

    def of_noise(self, noise: Noise, batches: int = 1) -> Noise:
        """The noise of our rows."""
        if self.count == 1:
            return noise
        return rows_of(noise, self.rows(torch.arange(noise.count), batches))

    def gather(self, own: Tensor, batches: int = 1) -> Tensor:
        """Everybody's rows in their order; ours keep their gradient, the others' have none."""
        if self.count == 1:
            return own
        sent = own.detach().contiguous()
        everybody = [torch.empty_like(sent) for _ in range(self.count)]
        dist.all_gather(everybody, sent)
        everybody[self.index] = own
        pieces = [rows.reshape(batches, -1, *own.shape[1:]) for rows in everybody]
        return torch.cat(pieces, dim=1).flatten(0, 1)

    def total(self, *values: float) -> list[float]:
        """Sums over all processes."""
        if self.count == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        return [float(value) for value in summed]

    def of_leader(self, value: float) -> float:
        """The leader's value, such as its clock."""
        return self.total(value if self.leads else 0.0)[0]

    def text_of_leader(self, text: str) -> str:
        """The leader's text, such as a path."""
        if self.count == 1:
            return text
        sent = torch.zeros(LONGEST_TEXT, dtype=torch.uint8, device=self.device)
        data = text.encode()
        sent[: len(data)] = torch.tensor(list(data), dtype=torch.uint8)
        dist.broadcast(sent, 0)
        return bytes(sent.tolist()).rstrip(b"\0").decode()

    def values_of_leader(self, values: Mapping[str, float | None]) -> dict[str, float | None]:
        """The leader's numbers by name, such as those of an evaluation, which it alone has made."""
        found: dict[str, float | None] = json.loads(self.text_of_leader(json.dumps(dict(values))))
        return found

    def meet(self) -> None:
        """Return when all processes are here."""
        self.total(0.0)

    def any(self, asked: bool) -> bool:
        """Whether one of the processes is asked to."""
        return self.total(float(asked))[0] > 0

    def add_gradients(self, module: nn.Module) -> None:
        """Each weight's gradient becomes the sum of all processes'."""
        if self.count == 1:
            return
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        # One that has no gradient here may have one elsewhere; nobody has one where all have none.
        has = torch.tensor(
            [weight.grad is not None for weight in weights], device=weights[0].device
        )
        counts = has.float()
        dist.all_reduce(counts)
        wanted = [weight for weight, times in zip(weights, counts.tolist(), strict=True) if times]
        flat = torch.cat([
            (torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in wanted
        ])  # fmt: skip
        dist.all_reduce(flat)
        sizes = [weight.numel() for weight in wanted]
        for weight, summed in zip(wanted, torch.split(flat, sizes), strict=True):
            weight.grad = summed.view_as(weight).clone()


ALONE = Share()


def leads() -> bool:
    """Whether this process is alone or the first of those that `torchrun` has started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(*, cuda: bool) -> Iterator[Share]:
    """The share of this process, as `torchrun` has started it; `ALONE` where it was not."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=LONGEST_WAIT)
    try:
        yield Share(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()
