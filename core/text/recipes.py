"""Where known corpora come from: the original's four sources, captions and news.

A recipe says what to fetch and how to make one source of it (a text file, a CSV or a folder of
shards). What was fetched, when, and its checksums are kept in `origin.json` beside it: where no
checksum was known, the one of the first fetch is the one that a later fetch must match.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.errors import InputError, MachineError
from core.text.download import Progress, download, file_sha256
from core.text.unpack import DAMAGED, Make, joined, linked_texts, tar_members, zip_member

GITHUB = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class Recipe:
    """One corpus."""

    summary: str
    licence: str
    addresses: tuple[str, ...]
    result: str  # name of the source made: NAME.txt, NAME.csv or a folder
    make: Make
    limit: int  # bytes of one download
    reader: str  # how `corpus build` reads the result
    sha256: tuple[str | None, ...] = ()  # of each address, where known

    def expected(self, index: int) -> str | None:
        """The checksum known for an address."""
        return self.sha256[index] if index < len(self.sha256) else None


@dataclass(frozen=True)
class Fetched:
    """What a fetch came to."""

    source: Path
    checked: bool  # every file against a checksum known before


def fetch(name: str, recipe: Recipe, folder: Path, progress: Progress) -> Fetched:
    """Make `folder/recipe.result` and `folder/origin.json`; at once when they are there."""
    source, record = folder / recipe.result, folder / "origin.json"
    known = _recorded(record)
    if source.exists() and known:
        return Fetched(source, checked=True)
    files, sums, checked = [], {}, True
    for index, address in enumerate(recipe.addresses):
        file = folder / "downloads" / f"{index:03d}"
        expected = recipe.expected(index) or known.get(address)
        checked &= expected is not None
        if not (file.exists() and expected in (None, file_sha256(file))):
            download(address, file, limit=recipe.limit, sha256=expected, progress=progress)
        files.append(file)
        sums[address] = file_sha256(file)
    unfinished = folder / f".{recipe.result}"
    unpack(name, recipe.make, files, unfinished)
    origin = {
        "name": name,
        "licence": recipe.licence,
        "reader": recipe.reader,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": sums,
    }
    record.write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(source)
    shutil.rmtree(folder / "downloads")
    return Fetched(source, checked)


def unpack(name: str, make: Make, files: Sequence[Path], result: Path) -> None:
    """Make the source from what was fetched, whole or not at all; MachineError where it is
    damaged.
    """
    _remove(result)
    try:
        make(files, result)
    except DAMAGED as error:
        _remove(result)
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise MachineError(f"{name}: what was fetched cannot be unpacked ({why})") from None


def _recorded(record: Path) -> Mapping[str, str]:
    try:
        found: Mapping[str, str] = json.loads(record.read_text(encoding="utf-8"))["sha256"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record}: not readable ({error}); remove its folder") from None
    return found


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


RECIPES: Mapping[str, Recipe] = {
    "one_billion_words": Recipe(
        "1-billion-word benchmark (Chelba et al. 2013), the training shards; the original's first",
        "for research on language modelling; the text is the news publishers'",
        (
            "https://www.statmt.org/lm-benchmark/"
            "1-billion-word-language-modeling-benchmark-r13output.tar.gz",
        ),
        "shards",
        tar_members("training-monolingual.tokenized.shuffled"),
        2_000_000_000,
        "shards",
        ("01ba60381110baf7f189dfd2b8374de371e8c9a340835793f190bdae9e90a34e",),
    ),
    "product_reviews": Recipe(
        "Kaggle's hierarchical text classification set, column Text; the original's second",
        "CC0",
        (
            "https://www.kaggle.com/api/v1/datasets/download/"
            "kashnitsky/hierarchical-text-classification",
        ),
        "product_reviews.csv",
        zip_member("train_40k.csv"),
        500_000_000,
        "csv",
    ),
    "fortunes": Recipe(
        "quotations of ruanyf/fortunes; the original's third",
        "none stated",
        (f"{GITHUB}/ruanyf/fortunes/68aa2e6518dda76261fd1ab17ffb8b64945eca62/data/fortunes",),
        "fortunes.txt",
        joined,
        50_000_000,
        "fortune",
    ),
    "fortune_cookies": Recipe(
        "messages of fortunecookiemessage.com, from its archive; the original's fourth",
        "none stated",
        tuple(
            f"https://www.fortunecookiemessage.com/archive.php?start={start}"
            for start in range(0, 850, 50)
        ),
        "fortune_cookies.txt",
        linked_texts("/cookie/"),
        5_000_000,
        "lines",
    ),
    "captions": Recipe(
        "COCO image captions as text GANs use them; both published halves, to be split by a hash",
        "CC BY 4.0 (COCO)",
        tuple(
            f"{GITHUB}/williamSYSU/TextGAN-PyTorch/25c870a219660b04bd7f2625b3b4060c186759a0/{path}"
            for path in ("dataset/image_coco.txt", "dataset/testdata/image_coco_test.txt")
        ),
        "captions.txt",
        joined,
        50_000_000,
        "lines",
    ),
    "news": Recipe(
        "EMNLP 2017 WMT news sentences as text GANs use them, all three published parts",
        "for research; the text is the news publishers'",
        tuple(
            f"{GITHUB}/pclucas14/GansFallingShort/master/data/news/{part}.txt"
            for part in ("train", "valid", "test")
        ),
        "news.txt",
        joined,
        200_000_000,
        "lines",
    ),
}
