"""The configuration of one run: typed frozen tables, their TOML, and the rules between them."""

from core.config.compatibility import GAME, Resolver, conflict
from core.config.parsing import (
    LONGEST_CONFIG,
    Tables,
    assign,
    explain,
    override,
    parse,
    parse_override,
    read_toml,
    slot_name,
)
from core.config.renamed import KEYS, current_study, current_tables, current_text
from core.config.schema import (
    Config,
    EvaluationConfig,
    Frozen,
    ModelConfig,
    Search,
    StrategyConfig,
    TrainConfig,
    flatten,
)
from core.config.slots import FOLDERS, PLUGINS, SLOTS, SYSTEM

__all__ = [
    "FOLDERS",
    "GAME",
    "KEYS",
    "LONGEST_CONFIG",
    "PLUGINS",
    "SLOTS",
    "SYSTEM",
    "Config",
    "EvaluationConfig",
    "Frozen",
    "ModelConfig",
    "Resolver",
    "Search",
    "StrategyConfig",
    "Tables",
    "TrainConfig",
    "assign",
    "conflict",
    "current_study",
    "current_tables",
    "current_text",
    "explain",
    "flatten",
    "override",
    "parse",
    "parse_override",
    "read_toml",
    "slot_name",
]
