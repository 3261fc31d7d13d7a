"""`textgan judge`: a person says which of two sentences is better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from experiments.commands.options import Json, examples

if TYPE_CHECKING:
    from studies.judgement import Comparison

KEYS = {"1": 0, "2": 1, "=": None}


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(
        epilog=examples(
            "textgan judge card_axes --rater ada",
            "textgan judge card_axes --rater ada --kind real -n 50",
            "textgan judge card_axes --results",
        )
    )(judge)


def judge(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Whose sentences.")],
    rater: Annotated[str | None, typer.Option(help="Who answers; raters are compared.")] = None,
    kind: Annotated[
        Literal["better", "real"], typer.Option(help="Two variants, or a variant and real text.")
    ] = "better",
    n: Annotated[int, typer.Option("-n", help="Comparisons.", min=1, max=10_000)] = 20,
    results: Annotated[bool, typer.Option(help="Show what all raters said, ask nothing.")] = False,
    json: Json = False,
) -> None:
    """Compare sentences blind and in random order; answers are kept and correlated."""
    from core.errors import InputError
    from core.tracking.mlflow_store import open_tracker
    from experiments.console import print_json
    from experiments.judging import publish, sources
    from experiments.judging import results as read
    from studies.judgement import Answer, answers, comparisons, keep, session

    tracker = open_tracker()
    text = sources(tracker, study, "better" if results else kind)
    if not results:
        if not rater:
            raise InputError("judge: who answers? give --rater NAME")
        done = {
            a.number for a in answers(tracker.world, study) if (a.rater, a.kind) == (rater, kind)
        }
        asked = [
            (c, swapped)
            for c, swapped in session(comparisons(study, kind, text, n), rater)
            if c.number not in done
        ]
        for number, (comparison, swapped) in enumerate(asked, start=1):
            preferred = _ask(comparison, swapped, f"{number} of {len(asked)}", kind)
            if preferred is None:
                break
            keep(
                tracker.world,
                Answer(study, kind, rater, comparison.number, comparison.first_source,
                       comparison.second_source, preferred),
            )  # fmt: skip
        found = publish(tracker, study)
    else:
        found = read(tracker, study)
    if json:
        print_json(found)
    else:
        _show(found)


def _ask(comparison: Comparison, swapped: bool, place: str, kind: str) -> str | None:
    """The source preferred, or a tie; None to stop."""
    from experiments.console import err
    from studies.judgement import TIE

    sides = [
        (comparison.first, comparison.first_source),
        (comparison.second, comparison.second_source),
    ]
    sides = sides[::-1] if swapped else sides
    question = "Which is better?" if kind == "better" else "Which did a person write?"
    err.print(f"\n{place}")
    for key, (text, _) in zip("12", sides, strict=True):
        err.print(f"  {key}  {text}", markup=False)
    while True:
        said = typer.prompt(f"{question} 1, 2, = for neither, q to stop", err=True).strip()
        if said.lower() == "q":
            return None
        if said in KEYS:
            chosen = KEYS[said]
            return TIE if chosen is None else sides[chosen][1]
        err.print("1, 2, = or q")


def _show(found: dict[str, Any]) -> None:
    from experiments.console import err, out, table

    rows = [
        [name, f"{one['value']:.3f}", f"{one['low']:.3f} to {one['high']:.3f}"]
        for name, one in found["preferred"].items()
    ]
    title = f"{found['study']}: {found['answers']} answers of {len(found['raters'])} raters"
    out.print(table(["variant", "preferred", "95% interval"], rows, title))
    agreed = found["agreement"]
    if agreed is None:
        err.print("agreement: needs two raters of the same comparisons")
    else:
        err.print(
            f"agreement (Krippendorff's alpha): {agreed['value']:.3f}, "
            f"{agreed['low']:.3f} to {agreed['high']:.3f}"
        )
    related = sorted(found["correlations"].items(), key=lambda item: -abs(item[1]["rho"]))
    if related:
        rows = [
            [name, f"{one['rho']:+.2f}", f"{one['p']:.3f}", str(one["variants"])]
            for name, one in related
        ]
        out.print(table(["metric", "Spearman's rho", "p", "variants"], rows))
