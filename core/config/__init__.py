"""The configuration of one run: typed frozen tables, their TOML, and the rules between them."""

from core.config.parsing import blame, merge, override, parse, read_toml
from core.config.schema import (
    Config,
    EvaluationConfig,
    ModelConfig,
    Search,
    StrategyConfig,
    TrainConfig,
)

__all__ = [
    "Config",
    "EvaluationConfig",
    "ModelConfig",
    "Search",
    "StrategyConfig",
    "TrainConfig",
    "blame",
    "merge",
    "override",
    "parse",
    "read_toml",
]
