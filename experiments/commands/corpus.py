"""`textgan corpus build`, `textgan corpus show`, `textgan corpus fetch`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from core.errors import InputError, nearest
from experiments.commands.options import Json, Set, complete_recipe, examples
from experiments.console import progress, stderr, stdout, table

app = typer.Typer(help="Fetch, build and show corpora.", no_args_is_help=True)


@app.command(
    epilog=examples(
        "textgan corpus build my.txt --output corpora/my",
        "textgan corpus build news.csv --output corpora/news --set corpus.column=body",
    )
)
def build(
    source: Annotated[str, Argument(help="A file, a folder of shards, grammar or lstm_oracle.")],
    output: Annotated[Path, Option(help="The folder to create.")],
    set_: Set = None,
) -> None:
    """Read, clean, split and encode a source into a folder."""
    from core.config import blame, override
    from core.config.parsing import checked
    from core.text.build import build_corpus
    from core.text.settings import CorpusSettings
    from experiments.corpora import show_summary

    tables = override({"corpus": {"source": source}}, set_ or [])
    others = [key for key in tables if key != "corpus"]
    if others:
        raise InputError(f"--set {others[0]}: only corpus.KEY=VALUE applies here")
    if not isinstance(tables["corpus"], Mapping) or tables["corpus"].get("source") != source:
        raise InputError(f"--set: the source is the argument {source}; set other keys of corpus")
    with blame("corpus", set_ or []):
        settings = checked(CorpusSettings, tables["corpus"], "corpus", prefix="corpus.")
    with progress("sentences") as advance:
        corpus = build_corpus(settings, output, progress=lambda n: advance(n, None, ""))
    show_summary(corpus)
    stderr.print(f"written: {output}; use it with --set corpus.source={output}", markup=False)


@app.command(
    epilog=examples("textgan corpus show corpora/my", "textgan corpus show train.txt test.txt")
)
def show(
    paths: Annotated[
        list[Path], Argument(help="A corpus folder, or text files that are its splits.")
    ],
    json: Json = False,
) -> None:
    """Show counts, lengths, frequent words, what was dropped, and whether the splits overlap."""
    from core.text.corpus import Corpus
    from experiments import corpora

    if len(paths) > 1 or paths[0].is_file():
        corpora.show_files(paths, as_json=json)
    else:
        corpora.show(Corpus.open(paths[0]), as_json=json)


@app.command(
    epilog=examples(
        "textgan corpus fetch", "textgan corpus fetch captions --output corpora/captions"
    )
)
def fetch(
    name: Annotated[
        str | None,
        Argument(help="Name of the corpus; default: list all.", autocompletion=complete_recipe),
    ] = None,
    output: Annotated[Path | None, Option(help="Folder to write; default: corpora/NAME.")] = None,
) -> None:
    """Download a known corpus; resumes an interrupted download."""
    from core.text.recipes import RECIPES
    from core.text.recipes import fetch as fetch_recipe

    if name is None:
        rows = [[key, r.summary, r.reader, r.licence] for key, r in RECIPES.items()]
        stdout.print(table(["name", "what it is", "reader", "licence"], rows))
        return
    if name not in RECIPES:
        raise InputError(f"no corpus {name!r}{nearest(name, RECIPES)}")
    recipe = RECIPES[name]
    folder = output or Path("corpora") / name
    with progress(f"{name}, bytes") as advance:
        found = fetch_recipe(name, recipe, folder, lambda done, total: advance(done, total, ""))
    if not found.checked:
        stderr.print(
            f"no checksum was known: the one of this download is in {folder / 'origin.json'}, "
            f"and a later fetch must match it"
        )
    stderr.print(f"licence: {recipe.licence}")
    stderr.print(f"{found.source}; use it with --set corpus.source={found.source}")
