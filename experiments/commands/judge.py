"""`textgan judge`: a person says which of two sentences is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from experiments.commands.options import Json, examples

if TYPE_CHECKING:
    from studies.judgement import Comparison

    Asked = Sequence[tuple[Comparison, bool]]
    Said = Callable[[Comparison, int | None], None]

NEITHER, STOP = "neither", "stop"
KEYS = {"1": "0", "2": "1", "=": NEITHER, "q": STOP}


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        epilog=examples(
            "textgan judge design_axes --rater ada",
            "textgan judge design_axes --rater ada --kind real -n 50 --page",
            "textgan judge design_axes --results",
        )
    )(judge)


def judge(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Whose sentences.")],
    rater: Annotated[str | None, typer.Option(help="Who answers; raters are compared.")] = None,
    kind: Annotated[
        Literal["better", "real"], typer.Option(help="Two variants, or a variant and real text.")
    ] = "better",
    n: Annotated[int, typer.Option("-n", help="Comparisons.", min=1, max=10_000)] = 20,
    page: Annotated[bool, typer.Option("--page", help="Ask on a page of this machine.")] = False,
    port: Annotated[int, typer.Option(help="Of the page; 0: a free one.", min=0, max=65535)] = 0,
    results: Annotated[bool, typer.Option(help="Show what all raters said, ask nothing.")] = False,
    json: Json = False,
) -> None:
    """Compare sentences blind and in random order; answers are kept and correlated."""
    from core.errors import InputError
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import print_json
    from experiments.judging import publish, sources
    from studies.analysis.people import results as read
    from studies.judgement import TIE, Answer, answers, comparisons, keep, session

    tracker = open_tracker()
    text = sources(tracker, study, "better" if results else kind)
    if not results:
        if not rater:
            raise InputError("judge: who answers? give --rater NAME")
        done = {
            a.number
            for a in answers(tracker.store_dir, study)
            if (a.rater, a.kind) == (rater, kind)
        }
        asked = [
            (c, swapped)
            for c, swapped in session(comparisons(study, kind, text, n), rater)
            if c.number not in done
        ]

        def said(comparison: Comparison, side: int | None) -> None:
            first, second = comparison.first_source, comparison.second_source
            preferred = TIE if side is None else (first, second)[side]
            keep(
                tracker.store_dir,
                Answer(study, kind, rater, comparison.number, first, second, preferred),
            )

        if page:
            _on_a_page(asked, kind, port, said)
        else:
            _in_the_terminal(asked, kind, said)
        found = publish(tracker, study)
    else:
        found = read(tracker, study)
    if json:
        print_json(found)
    else:
        _show(found)


def _on_a_page(asked: Asked, kind: str, port: int, said: Said) -> None:
    from experiments.console import err
    from experiments.judging_page import JudgingPage

    if not asked:
        err.print("every comparison is answered")
        return
    served = JudgingPage(asked, kind, port, said)
    err.print(f"{served.address} asks {len(asked)}; Ctrl-C ends it, what was answered stays")
    with suppress(KeyboardInterrupt):
        served.serve()


def _in_the_terminal(asked: Asked, kind: str, said: Said) -> None:
    for number, (comparison, swapped) in enumerate(asked, start=1):
        side = _ask(comparison, swapped, f"{number} of {len(asked)}", kind)
        if side == STOP:
            return
        said(comparison, None if side == NEITHER else int(side) ^ int(swapped))


def _ask(comparison: Comparison, swapped: bool, place: str, kind: str) -> str:
    """The side shown that is preferred ("0", "1"), NEITHER or STOP."""
    from experiments.console import err

    texts = [comparison.first, comparison.second]
    question = "Which is better?" if kind == "better" else "Which did a person write?"
    err.print(f"\n{place}")
    for key, text in zip("12", texts[::-1] if swapped else texts, strict=True):
        err.print(f"  {key}  {text}", markup=False)
    while True:
        said = typer.prompt(f"{question} 1, 2, = for neither, q to stop", err=True).strip()
        if said.lower() in KEYS:
            return KEYS[said.lower()]
        err.print("1, 2, = or q")


def _show(found: dict[str, Any]) -> None:
    from experiments.console import err, out, table

    rows = [
        [name, f"{one['value']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}"]
        for name, one in found["preferred"].items()
    ]
    title = f"{found['study']}: {found['answers']} answers of {len(found['raters'])} raters"
    out.print(table(["variant", "preferred", "95% interval"], rows, title))
    if found["agreement"] is None:
        err.print("agreement: needs two raters of the same comparisons, and answers that differ")
    for name, words in (("agreement", "Krippendorff's alpha"), ("kappa", "Cohen's kappa")):
        if found[name] is not None:
            one = found[name]
            err.print(
                f"agreement ({words}): {one['value']:.3f}, {one['low']:.3f} to {one['high']:.3f}"
            )
    related = sorted(found["correlations"].items(), key=lambda item: -abs(item[1]["rho"]))
    if related:
        rows = [
            [
                name,
                f"{one['rho']:+.2f}",
                f"{one['p']:.3f}",
                f"{one['p_adjusted']:.3f}",
                str(one["variants"]),
            ]
            for name, one in related
        ]
        out.print(table(["metric", "Spearman's rho", "p", "p adjusted", "variants"], rows))
