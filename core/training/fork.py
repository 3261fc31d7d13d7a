"""A run that starts from the state of another: what both have is taken over, the rest is new.

With the same configuration the two states are equal, so that the new run is the other's
continuation, bit for bit.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from core.config.schema import ForkConfig
from core.errors import InputError
from core.training.checkpoint import Counters
from core.training.players import Players
from core.training.state import TrainingState

COPIES = ("averaged", "reference")  # of G; they begin as G where the other run has none
OF_SEED = "_extra_state"  # in a state_dict: the random numbers of dropout


def check_fits(players: Players, parent: Players, name: str) -> None:
    """InputError if a player that both have differs in shape; messages call the parent `name`."""
    for player in sorted(players.trainable.keys() & parent.trainable.keys()):
        here, there = (_shapes(each.trainable[player].module) for each in (players, parent))
        for key in {**there, **here}:
            if there.get(key) != here.get(key):
                shapes = f"{there.get(key, 'absent')} there, {here.get(key, 'absent')} here"
                raise InputError(
                    f"fork: the {player} has another shape than in {name} ({key}: {shapes}); "
                    f"a fork keeps the shape of the model"
                )


def take_over(state: TrainingState, parent: TrainingState, fork: ForkConfig) -> None:
    """Give a new state what the parent's has: weights, moments, random streams, counters, buffer.

    Parts that the parent lacks stay as the new seed has made them. With another seed than the
    parent's, random streams and the order of the data are those of the new seed too.
    """
    same_seed = state.config.seed == parent.config.seed
    theirs = dict(parent.players.modules())
    for name, module in state.players.modules():
        source = theirs.get(name, theirs["generator"] if name in COPIES else None)
        if source is None or _shapes(source) != _shapes(module):  # such as another estimator's
            continue
        own = module.state_dict()
        taken = {
            key: value for key, value in source.state_dict().items()
            if key in own and (same_seed or not key.endswith(OF_SEED))
        }  # fmt: skip
        module.load_state_dict({**own, **taken})
    for name in sorted(state.players.trainable.keys() & parent.players.trainable.keys()):
        if name == "generator" and not fork.generator_moments:
            continue
        here, there = (players.trainable[name] for players in (state.players, parent.players))
        weights = dict(there.module.named_parameters())
        for key, weight in here.module.named_parameters():
            if weights[key] in there.optimiser.state:
                here.optimiser.state[weight] = there.optimiser.state[weights[key]]
    if same_seed:
        state.streams.restore(parent.streams.state())
    if state.replay is not None and parent.replay is not None:
        state.replay.tokens = parent.replay.tokens[: state.replay.size]
    state.counters = _counters(state, parent, fork)


def _counters(state: TrainingState, parent: TrainingState, fork: ForkConfig) -> Counters:
    """Where the new run stands; it has no evaluation of its own yet."""
    counters = parent.counters
    if fork.count_from == "fork":
        return Counters(batches=counters.batches)
    pretraining = counters.pretraining
    if parent.players.adversary is None and state.players.adversary is not None:
        pretraining = counters.update, counters.seconds
    return replace(counters, pretraining=pretraining, evaluation={}, best=None, stop=None, waited=0)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of weights and buffers; tied weights count once."""
    named = (*module.named_parameters(), *module.named_buffers())
    return {key: tuple(value.shape) for key, value in named}
