"""`textgan corpus build`, `textgan corpus show`, `textgan corpus fetch`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.commands.options import Json, Set, complete_recipe, examples

app = typer.Typer(help="Fetch, build and look at corpora.", no_args_is_help=True)


@app.command(
    epilog=examples(
        "textgan corpus build my.txt --output corpora/my",
        "textgan corpus build news.csv --output corpora/news --set corpus.column=body",
    )
)
def build(
    source: Annotated[
        str, typer.Argument(help="A file, a folder of shards, grammar or lstm_oracle.")
    ],
    output: Annotated[Path, typer.Option(help="The folder to make.")],
    set_: Set = None,
) -> None:
    """Read, clean, split and encode a source into a folder."""
    from pydantic import ValidationError

    from core.config import explain, override
    from core.errors import InputError
    from core.text.build import build_corpus
    from core.text.settings import CorpusSettings
    from experiments.commands.corpora import summary
    from experiments.console import err, progress

    tables = override({"corpus": {"source": source}}, set_ or [])
    try:
        settings = CorpusSettings(**tables["corpus"])
    except ValidationError as error:
        raise InputError(explain(error, CorpusSettings, "corpus", prefix="corpus.")) from None
    others = [key for key in tables if key != "corpus"]
    if others:
        raise InputError(f"--set {others[0]}: only corpus.KEY=VALUE has a meaning here")
    with progress("sentences") as advance:
        corpus = build_corpus(settings, output, progress=lambda n: advance(n, None, ""))
    err.print(summary(corpus), markup=False)
    err.print(f"written: {output}; use it with --set corpus.source={output}", markup=False)


@app.command(
    epilog=examples("textgan corpus show corpora/my", "textgan corpus show train.txt test.txt")
)
def show(
    paths: Annotated[
        list[Path], typer.Argument(help="A built corpus, or text files that are its splits.")
    ],
    json: Json = False,
) -> None:
    """Counts, lengths, frequent words, what was dropped, and whether the splits are one text."""
    from core.text.corpus import Corpus, describe
    from experiments.console import out, print_json, table

    if len(paths) > 1 or paths[0].is_file():
        _show_files(paths, json)
        return
    corpus = Corpus.open(paths[0])
    audited, warnings = _audit(corpus.splits())
    document = {**describe(corpus), "audit": audited, "warnings": warnings}
    if json:
        print_json(document)
        return
    plain = {k: v for k, v in document.items() if not isinstance(v, dict | list)}
    out.print(table(["", ""], [[key, str(value)] for key, value in plain.items()]))
    for key in ("splits", "dropped", "in_train_too", "frequent_words"):
        out.print(f"\n[bold]{key.replace('_', ' ')}[/]")
        out.print("  ".join(f"{name} {count:,}" for name, count in document[key].items()) or "none")
    for words in corpus.train.sentences(5):
        out.print("  " + " ".join(words), markup=False)
    _show_audit(audited, warnings)


def _show_files(paths: list[Path], json: bool) -> None:
    """Text files as splits: sentences of each, and the audit."""
    from core.metrics.files import read_sentences
    from experiments.console import out, print_json

    texts = {path.name: read_sentences(path) for path in paths}
    audited, warnings = _audit(texts)
    counts = {name: len(text) for name, text in texts.items()}
    if json:
        print_json({"splits": counts, "audit": audited, "warnings": warnings})
        return
    out.print("  ".join(f"{name} {count:,} sentences" for name, count in counts.items()))
    _show_audit(audited, warnings)


def _audit(splits: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    from core.metrics.audit import audit

    pairs = audit(splits)
    return [p.document() for p in pairs], [w for p in pairs for w in p.warnings()]


def _show_audit(audited: list[dict[str, Any]], warnings: list[str]) -> None:
    from experiments.console import err, out, table

    def cell(distance: dict[str, float] | None) -> str:
        if distance is None:
            return "too few"
        return f"{distance['value']:.3f} (random split {distance['resplit_mean']:.3f})"

    rows = [
        [f"{pair['first']}, {pair['second']}", f"{pair['shared']:.2%}",
         cell(pair["words"]), cell(pair["lengths"])]
        for pair in audited
    ]  # fmt: skip
    out.print("\n[bold]split audit[/]")
    out.print(table(["splits", "shared sentences", "word distance", "length distance"], rows))
    for warning in warnings:
        err.print(f"warning: {warning}", markup=False)


@app.command(
    epilog=examples(
        "textgan corpus fetch", "textgan corpus fetch captions --output corpora/captions"
    )
)
def fetch(
    name: Annotated[
        str | None,
        typer.Argument(help="Which; none: list them.", autocompletion=complete_recipe),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where to; default: corpora/NAME here.")
    ] = None,
) -> None:
    """Download a known corpus; go on where an earlier attempt was interrupted."""
    from core.errors import InputError, nearest
    from core.text.recipes import RECIPES
    from core.text.recipes import fetch as fetch_recipe
    from experiments.console import err, out, progress, table

    if name is None:
        rows = [[key, r.summary, r.reader, r.licence] for key, r in RECIPES.items()]
        out.print(table(["name", "what it is", "reader", "licence"], rows))
        return
    if name not in RECIPES:
        raise InputError(f"no corpus {name!r}{nearest(name, RECIPES)}")
    recipe = RECIPES[name]
    folder = output or Path("corpora") / name
    with progress(f"{name}, bytes") as advance:
        found = fetch_recipe(name, recipe, folder, lambda done, total: advance(done, total, ""))
    if not found.checked:
        err.print(
            "no checksum was known for it: the one of these bytes is recorded in "
            f"{folder / 'origin.json'}, and a later fetch must match it"
        )
    err.print(f"licence: {recipe.licence}")
    err.print(f"{found.source}; use it with --set corpus.source={found.source}")
