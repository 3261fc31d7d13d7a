"""`textgan corpus build`, `textgan corpus show`, `textgan corpus fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    from core.text.generated import draw_corpus
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
        corpus = build_corpus(
            settings, output, generate=draw_corpus, progress=lambda n: advance(n, None, "")
        )
    err.print(summary(corpus), markup=False)
    err.print(f"written: {output}; use it with --set corpus.source={output}", markup=False)


@app.command(epilog=examples("textgan corpus show corpora/my"))
def show(
    directory: Annotated[Path, typer.Argument(help="A built corpus.")], json: Json = False
) -> None:
    """Counts, lengths, frequent words, and what was dropped and why."""
    from core.text.corpus import Corpus, describe
    from experiments.console import out, print_json, table

    corpus = Corpus.open(directory)
    document = describe(corpus)
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
    from core.config import nearest
    from core.errors import InputError
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
