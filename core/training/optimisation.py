"""One optimiser step: backward, mean over ranks, divergence check, clipping, update."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from core.training import data_parallel
from core.training.players import as_module
from core.training.state import TrainingState
from core.types import Phase


class Diverged(Exception):  # noqa: N818 - a result, not an error
    """A loss, a gradient or a weight is no longer a finite number, or a loss is too large.

    `values` are the numbers that led there: the loss, the norm, each weight's gradient norm.
    """

    def __init__(self, reason: str, values: Mapping[str, float]) -> None:
        super().__init__(reason)
        self.values = dict(values)


def prepare_optimiser(state: TrainingState, phase: Phase) -> None:
    """The learning rate and the clip of a phase's steps; its optimiser's moments are forgotten if
    it asks so.
    """
    train, player = state.config.train, state.players.trainable[phase.player]
    factor = train.lr_decay**state.progress * (train.rollback or 1.0) ** state.counters.rollbacks
    for group in player.optimiser.param_groups:
        group["lr"] = (phase.lr or player.lr) * factor
    if phase.reset_optimiser:
        player.optimiser.state.clear()
    state.clip = None if train.clip_generator_only and phase.player != "generator" else train.clip
    if phase.player == "generator" and phase.loss != "likelihood" and not phase.pretraining:
        state.clip = train.adversarial_clip or train.clip


def optimise(state: TrainingState, player: str, losses: Iterable[Tensor]) -> float:
    """Sum the gradients of the parts of a loss and apply them to a player; the loss.

    `losses` is lazy: each part's graph is freed before the next part is computed. Diverged if the
    loss or the gradient norm is not finite, or the loss above `train.max_loss`.
    """
    trainable = state.players.trainable[player]
    trainable.optimiser.zero_grad(set_to_none=True)
    values = []
    for loss in losses:
        torch.autograd.backward(loss)
        values.append(loss.detach())  # read after the last part: a GPU need not wait between parts
    value = data_parallel.mean_over_ranks(sum(map(float, values)))
    data_parallel.average_gradients(trainable.module)
    weights = list(trainable.module.parameters())
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if not math.isfinite(norm) or not abs(value) <= state.config.train.max_loss:  # NaN fails it too
        raise _diverged(state, player, value, float(norm))
    if state.clip is not None:
        nn.utils.clip_grads_with_norm_(weights, state.clip, norm)
    trainable.optimiser.step()
    state.metrics[f"train/{player}_gradient_norm"] = float(norm)
    return value


def check_weights(state: TrainingState) -> None:
    """Diverged if a weight of some rank is not finite: weights that are sampled, scored or saved
    must be.
    """
    wrong = [
        f"weights {name}.{key}"
        for name, module in state.players.modules()
        for key, weight in module.state_dict().items()
        if not bool(torch.isfinite(weight).all())
    ]
    if data_parallel.any_rank(bool(wrong)):
        what = wrong[0] if wrong else "weights of another process"
        raise Diverged(f"{what} not finite after update {state.counters.update}", state.metrics)


def update_average(state: TrainingState) -> None:
    """Move the averaged generator towards the trained one (exponential moving average).

    The decay rises from .1 to `train.ema`, as min(ema, (1 + n) / (10 + n)) after n updates, so that
    the initial weights are soon forgotten.
    """
    players, n = state.players, state.counters.update
    if players.averaged is players.generator:
        return
    decay = min(state.config.train.ema, (1 + n) / (10 + n))
    with torch.no_grad():
        means, weights = (as_module(g).parameters() for g in (players.averaged, players.generator))
        for mean, weight in zip(means, weights, strict=True):
            mean.lerp_(weight, 1 - decay)


def _diverged(state: TrainingState, player: str, value: float, norm: float) -> Diverged:
    module = state.players.trainable[player].module
    norms = {
        f"gradient/{name}": float(weight.grad.norm())
        for name, weight in module.named_parameters()
        if weight.grad is not None
    }
    numbers = {f"{player}_loss": value, f"{player}_gradient_norm": norm, **norms}
    reason = (
        f"{player} loss {value:g}, gradient norm {norm:g} at update {state.counters.update + 1}"
    )
    return Diverged(reason, {**state.metrics, **numbers})
