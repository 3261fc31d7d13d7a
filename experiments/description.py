"""The description of a run, as the UI shows it: what it is, how to do it again, ten sentences."""

from __future__ import annotations

from collections.abc import Sequence

from core.config import Config
from core.tracking.rendering import code, plain

SHOWN = 10
EMPTY = "(no words)"


def description(
    config: Config, run_id: str, ending: str, samples: Sequence[tuple[int, int, str]]
) -> str:
    """Markdown; `samples` are (updates, latent, sentence), of which the newest are shown.

    A sentence stands in a code span, so nothing in it is taken for markup.
    """
    newest = max((step for step, _, _ in samples), default=0)
    lines = [f"1. {_span(text)}" for step, _, text in samples if step == newest][:SHOWN]
    source = _span(config.corpus.source)
    return (
        f"**{plain(config.name)}**, seed {config.seed}, on {source}: {ending}.\n\n"
        f"Again: `textgan reproduce {run_id[:8]}`; with other settings: save artifact "
        f"`config.toml`, then `textgan run config.toml --set ...`. More sentences: "
        f"`textgan sample {run_id[:8]}`; through training: artifact `samples.html`.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _span(text: str) -> str:
    return code(text.strip() or EMPTY)
