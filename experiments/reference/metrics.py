"""Every metric: what is logged under which name, and the definition that its function states."""

from __future__ import annotations

import importlib
import json
import pkgutil

import core.metrics
from core.metrics import published
from core.metrics.catalogue import CATALOGUE, DEFINED, LEAST, METRICS, OF_GENERATORS
from core.metrics.document import Document
from experiments.reference.code import definitions, prose

INTRODUCTION = """# Metrics

In a store each stands as `eval/NAME` (of the generated sentences) and `real/NAME` (of real
held-out text scored as if it had been generated). *Better* says which way; *near* means near to
what real text has. `textgan evaluate` computes all of them, and `--metrics` takes groups; a
training run computes those that are marked. *Least* is the number of sentences on each side from
which the values of a group are worth comparing. Each group has a page with its definition; how far
the intervals can be trusted stands in [Metrics](../howto/metrics.md).
"""
TRANSCRIPT = """# JSON of an evaluation

`textgan evaluate --json` prints one document on standard output and nothing else there.

```json
{example}
```

{fields}

## JSON Schema

```json
{schema}
```
"""
EXAMPLE = {
    "metrics": {
        "bleu_4": {"value": 0.21, "low": 0.2, "high": 0.22, "samples": 10000, "references": 10000,
                   "direction": "higher"}
    },
    "baselines": {"real": {"bleu_4": 0.34}, "mle": {"bleu_4": 0.28}, "ngram": {"bleu_4": 0.3}},
    "baseline_intervals": {"real": {"bleu_4": [0.33, 0.35]}, "mle": {"bleu_4": [0.27, 0.29]},
                           "ngram": {"bleu_4": [0.29, 0.31]}},
    "about": {"real": "10,000 sentences of --held-out, scored as if generated",
              "mle": "10,000 sentences of the system mle after 400 updates ...",
              "ngram": "10,000 sentences of a Kneser-Ney model of order 4 of --train"},
    "warnings": [],
}  # fmt: skip


def page() -> str:
    """The page."""
    parts = [INTRODUCTION, _table(tuple(LEAST), links=True), "## Functions"]
    for found in pkgutil.iter_modules(core.metrics.__path__):
        module = importlib.import_module(f"core.metrics.{found.name}")
        parts += [f"### {found.name}", definitions(module, level=4)]
    return "\n\n".join(parts) + "\n"


def of_group(group: str) -> str:
    """The page of one group: names, direction, size that would do, definition, protocols."""
    module = importlib.import_module(f"core.metrics.{DEFINED[group]}")
    asked = (
        "Only a training run has it: it needs the generator itself."
        if group in OF_GENERATORS
        else f"`textgan evaluate ... --metrics {group}` measures these alone."
    )
    parts = [
        f"# {group}",
        _table((group,), links=False),
        f"{asked} {LEAST[group]:,} sentences on each side would do; with fewer there is a warning. "
        "How the interval is found and how often it covers: [Metrics](../../howto/metrics.md).",
        "## Definition",
        prose(module),
    ]
    if group in published.GROUPS:
        parts += ["## As published code has it", prose(published), "Defects:", *_defects()]
    return "\n\n".join(parts) + "\n"


def document() -> str:
    """The page of `textgan evaluate --json`."""
    schema = Document.model_json_schema()
    parts = []
    for name, found in {"Document": schema, **schema["$defs"]}.items():
        rows = [
            f"| `{key}` | {field.get('description', '')} |"
            for key, field in found["properties"].items()
        ]
        parts += [f"## {name}", found["description"], "| key | what it is |\n|---|---|"]
        parts[-1] += "\n" + "\n".join(rows)
    return TRANSCRIPT.format(
        example=json.dumps(EXAMPLE, indent=2),
        fields="\n\n".join(parts),
        schema=json.dumps(schema, indent=2),
    )


def _defects() -> list[str]:
    return ["\n".join(f"- `{name}`: {words}." for name, words in published.DEFECTS.items())]


def _table(groups: tuple[str, ...], links: bool) -> str:
    head = "| name | better | what it is | group | least | in a run |\n|---|---|---|---|---|---|"
    rows = [
        f"| `{name}` | {info.direction} | {info.summary} "
        f"| {f'[{info.group}](metrics/{info.group}.md)' if links else f'`{info.group}`'} "
        f"| {LEAST[info.group]} | {'yes' if name in METRICS else ''} |"
        for name, info in CATALOGUE.items()
        if info.group in groups
    ]
    return "\n".join([head, *rows])
