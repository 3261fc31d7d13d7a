"""`textgan metrics`: the metrics, and what each of them sees of known faults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from core.errors import InputError, nearest
from core.plural import count
from experiments.commands.options import Json, examples, parts
from experiments.console import Advance, number, print_json, progress, stdout, table

if TYPE_CHECKING:
    from core.metrics.laboratory import TextTable

NEEDS = ("references", "training", "generator", "oracle")  # fields of `GroupInfo`
app = typer.Typer()


@app.callback(
    invoke_without_command=True, epilog=examples("textgan metrics", "textgan metrics --json")
)
def metrics(context: typer.Context, json: Json = False) -> None:
    """List the metrics; `textgan metrics try NAME` shows what one sees of known faults."""
    if context.invoked_subcommand is not None:
        return
    from core.metrics import plugins
    from core.metrics.catalogue import CATALOGUE, GROUPS, METRICS

    plugins.load()
    rows, cells = [], []
    for name, info in CATALOGUE.items():
        group = GROUPS[info.group]
        needs = {what: getattr(group, what) for what in NEEDS}
        rows.append(
            {
                "name": name,
                "group": info.group,
                "direction": info.direction,
                "bounds": info.bounds,
                "worst": info.worst,
                "needs": {"sentences": group.needs} | needs,
                "in_runs": name in METRICS,
                "summary": info.summary,
            }
        )
        low, high = (f"{bound:g}".replace("inf", "") for bound in info.bounds)
        inputs = [count(group.needs, "sentence"), *(what for what in NEEDS if needs[what])]
        inputs += ["not in runs"] if name not in METRICS else []
        cells.append([name, info.better, f"{low}..{high}", ", ".join(inputs), info.summary])
    if json:
        print_json(rows)
        return
    stdout.print(table(["metric", "better", "range", "needs", "what it is"], cells))


@app.command(epilog=examples("textgan metrics check vocabulary"))
def check(
    name: Annotated[str, Argument(help="A metric of a plug-in.")],
) -> None:
    """Check that a metric of another package keeps the rules."""
    from core.metrics import conformance, plugins

    metrics = plugins.load()
    if name not in metrics:
        raise InputError(f"metrics check: no plug-in has a metric {name!r}{nearest(name, metrics)}")
    conformance.check(name, metrics[name])
    stdout.print(f"{name}: passes", markup=False)


@app.command(
    name="try",
    epilog=examples(
        "textgan metrics try ms_jaccard_2 --n 1000",
        "textgan metrics try bleu --n 1000 --text captions.txt --faults shuffled_words,repeats",
    ),
)
def try_(
    name: Annotated[str, Argument(help="A metric, or a group of metrics.")],
    text: Annotated[
        Path | None, Option(help="Real text to plant faults in, besides the grammar.")
    ] = None,
    n: Annotated[
        list[str] | None, Option("--n", help="Sentences of a sample; default: 1000,10000.")
    ] = None,
    faults: Annotated[
        list[str] | None, Option(help="Such as shuffled_words,repeats; default: all.")
    ] = None,
    json: Json = False,
) -> None:
    """Plant known doses of known faults, and show which of them a metric sees."""
    from dataclasses import asdict
    from functools import partial

    from threadpoolctl import threadpool_limits

    from core.metrics import plugins
    from core.metrics.catalogue import CATALOGUE, GROUPS, names_of
    from core.metrics.fault_sources import GrammarText, RealText, Source
    from core.metrics.faults import FAULTS
    from core.metrics.files import read_sentences
    from core.metrics.laboratory import DOSES, TextTable, drift, measure
    from core.text.grammar import grammar

    plugins.load()
    if name not in CATALOGUE and name not in GROUPS:
        raise InputError(f"metrics try: no metric {name!r}{nearest(name, [*CATALOGUE, *GROUPS])}")
    group = CATALOGUE[name].group if name in CATALOGUE else name
    names = [name] if name in CATALOGUE else names_of(name)
    if GROUPS[group].generator:
        raise InputError(f"metrics try: {name} needs the generator itself, not only its sentences")
    chosen = parts(faults) or [*FAULTS]
    for fault in chosen:
        if fault not in FAULTS:
            raise InputError(f"--faults: no fault {fault!r}{nearest(fault, FAULTS)}")
    sizes = _sizes(parts(n) or ["1000", "10000"])
    built_in = GrammarText(grammar())
    sources: list[tuple[str, int, Source]] = [("grammar", size, built_in) for size in sizes]
    if text is not None:
        sentences = read_sentences(text)
        sources += [(text.name, size, RealText(sentences, size, text.name)) for size in sizes]
    tables: dict[str, TextTable] = {}
    with threadpool_limits(1), progress("steps") as advance:
        for label, size, source in sources:
            found = tables.setdefault(label, TextTable(label))
            where = f"{label}, {count(size, 'sentence')}: "
            measure(found, source, size, [group], chosen, partial(_advance, advance, where))
    if json:
        shifts = {
            label: {metric: drift(found, metric) for metric in names}
            for label, found in tables.items()
        }
        texts = {label: asdict(found) for label, found in tables.items()}
        print_json({"metrics": names, "doses": DOSES, "drift": shifts, "texts": texts})
        return
    for label, found in tables.items():
        for metric in names:
            _show(label, found, metric)


def _advance(advance: Advance, where: str, what: str, done: int, total: int) -> None:
    advance(done, total, where + what)


def _sizes(given: Sequence[str]) -> list[int]:
    from core.metrics.laboratory import FEWEST

    if not all(part.isdecimal() and int(part) >= FEWEST for part in given):
        raise InputError(
            f"--n {','.join(given)}: whole numbers from {FEWEST}, with commas, such as 1000,10000"
        )
    return sorted({int(part) for part in given})


def _show(label: str, found: TextTable, metric: str) -> None:
    from core.metrics.laboratory import DOSES, SHOWN, drift

    for n, sheet in found.sheets.items():
        if metric not in sheet.real:
            stdout.print(f"{metric} on {label}: undefined\n", markup=False)
            return
        real = sheet.real[metric]
        effort = real.effort
        rows = []
        for fault, by_metric in sheet.faults.items():
            seen = by_metric[metric]
            planted = found.planted[fault][DOSES.index(seen.smallest)] if seen.smallest else None
            smallest = "not seen" if seen.smallest is None else f"{seen.smallest:.2%}"
            rows.append([fault, smallest, number(planted, ".3g"), f"{seen.power:.0%}", seen.trend])
        title = (
            f"{metric} on {label}, {count(n, 'sentence')}: real text {real.mean:.4f}, "
            f"standard deviation {real.sd:.4f} (n = {effort.null}), "
            f"false alarms {real.false_alarms:.0%} (n = {effort.fresh})"
        )
        power = f"power at dose {SHOWN:.0%}"
        columns = ["fault", "smallest dose seen", "bits", power, "mean value"]
        stdout.print(title, markup=False, soft_wrap=True)
        stdout.print(table(columns, rows))
        stdout.print(
            f"{effort.repeats} repeats a dose: standard error of a power near 80%: "
            f"{(0.16 / effort.repeats) ** 0.5:.0%}\n",
            markup=False,
        )
    shift = drift(found, metric)
    if shift is not None:
        fewest, *_, most = found.sheets
        stdout.print(
            f"{metric} on {label}: drift of real text from {fewest:,} to "
            f"{count(most, 'sentence')}: {shift:+.1f} standard deviations\n",
            markup=False,
        )
