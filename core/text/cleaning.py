"""Text to words, as the original cleans it, or split on white space only.

`original`: NLTK's word tokeniser (the one that needs no downloaded data) on lower-case text; then
only tokens made of letters and their marks are kept. The share of tokens that is kept tells whether
a line was a sentence at all; punctuation does not count against it. The tokeniser knows English
only, so the text is prepared for it: invisible characters are removed, the punctuation of other
scripts is split off, and typographic apostrophes are the typewriter's. In sentences without a word
of ENGLISH, elisions (l'ami) are words and hyphens separate words (est-il).

Tokenising is five sixths of building a corpus, so large sources are cleaned on all cores. Blocks
are handed out and collected in order, with a bounded number in progress: memory stays constant and
the result does not depend on the number of cores.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from multiprocessing import get_context
from typing import Literal, cast

from core.errors import MachineError
from core.process import usable_cores
from core.text.settings import Level, Rules
from core.text.vocabulary import BEGIN

LETTERS = re.compile(r"[^\W\d_]+")
JOINERS = "\u200c\u200d"  # invisible, within a word: Persian, Hindi, ...
APOSTROPHES = "\u00b4\u2019\u201b\u2032\uff07"
# Between letters, and no English clitic (it's, don't, we'll).
INNER = r"'(?!(?:[smdt]|re|ve|ll)\b)(?=[^\W\d_])"
ELISION = re.compile(rf"(?<=[^\W\d_]){INNER}")
HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
# What an elision begins with in French, Italian and Catalan.
ELIDED = re.compile(
    r"(?<![\w'])(?:[cdjlmnst]|\w*qu|\w*[ae]ll|sull|coll|un|nessun|quest|tutt|dov|anch|sant|buon|gl|v)"
    + INNER
)
ENGLISH = re.compile(
    r"\b(?:the|of|and|to|that|this|with|for|from|is|are|was|were|have|has|had|not|you|he|she|it|we|"
    r"they|my|your|his|its|our|their|been|will|would|could|does|did|by|what|who|there)\b"
)
LETTER_LIKE = "\u02bc"  # an apostrophe that is a letter
WORD = re.compile(r"\w")
# What the tokeniser splits off a word ('s, 'll, n't): part of a word, not one that can be lost.
CLITIC = re.compile(r"['\u2019]\w+|n['\u2019]t")
BLOCK = 2000  # sentences that a process cleans at a time
FEW_BLOCKS = 10  # below this many, one process is faster than starting several
MAX_PROCESSES = 8
AHEAD = 3  # blocks in progress per process


@dataclass(frozen=True)
class Cleaned:
    """The words of one sentence and the share of its tokens that was kept."""

    words: list[str]
    kept: float


@cache
def tokenizer() -> Callable[[str], list[str]]:
    """NLTK's destructive word tokeniser (Penn Treebank conventions); imported at first use."""
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return cast("Callable[[str], list[str]]", NLTKWordTokenizer().tokenize)


def clean(text: str, rule: Literal["original", "none"], level: Level) -> Cleaned:
    """One line of text to its words, or to its characters (a space is the character BEGIN)."""
    if rule == "none":
        words, kept = text.split(), 1.0
    else:
        tokens = tokenizer()(_prepared(text))
        words = [word for token in tokens if (word := _word(token))]
        counted = sum(1 for token in tokens if WORD.search(token) and not CLITIC.fullmatch(token))
        kept = len(words) / counted if counted else 0.0
    if level == "character":
        return Cleaned(list(BEGIN.join(words)), kept)
    return Cleaned(words, kept)


class _Characters(dict[int, int | str | None]):
    """What each character becomes before the tokeniser, found when it is first seen."""

    def __missing__(self, code: int) -> int | str | None:
        letter = chr(code)
        category = "" if letter.isascii() else unicodedata.category(letter)
        found: int | str | None = code
        if letter in APOSTROPHES:
            found = "'"
        elif category == "Cf" and letter not in JOINERS:
            found = None  # soft hyphens, zero-width spaces, marks of the direction
        elif category.startswith(("P", "S")):
            found = f" {letter} "
        self[code] = found
        return found


CHARACTERS = _Characters()


def _prepared(text: str) -> str:
    """Lower-case text, in which the tokeniser finds the words of any script."""
    if not text.isascii():
        # The dotted capital I would become an i and a mark.
        text = unicodedata.normalize("NFC", text).replace("\u0130", "i").translate(CHARACTERS)
    text = text.lower()
    other = not text.isascii() or ("'" in text and ELIDED.search(text))
    if other and not ENGLISH.search(text):
        return HYPHEN.sub(" ", ELISION.sub(LETTER_LIKE, text))
    return text


def _word(token: str) -> str:
    """The word of a token; empty if it is none."""
    if LETTERS.fullmatch(token):
        return token.replace(LETTER_LIKE, "'")
    word = "" if token.isascii() else token.strip(JOINERS)
    kinds = [unicodedata.category(letter)[0] for letter in word if letter not in JOINERS]
    return word.replace(LETTER_LIKE, "'") if "L" in kinds and set(kinds) <= {"L", "M"} else ""


def clean_all(texts: Iterable[str], rules: Rules, level: Level) -> Iterator[Cleaned]:
    """The texts cleaned, in order; on all cores if there are enough of them."""
    blocks = _blocks(texts)
    first = list(islice(blocks, FEW_BLOCKS))
    processes = min(usable_cores(), MAX_PROCESSES)
    if len(first) < FEW_BLOCKS or processes == 1:
        for block in chain(first, blocks):
            yield from _clean_block(block, rules, level)
        return
    # Forked from a clean server: a fork of a process with threads may hang.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker)
    pending: deque[Future[list[Cleaned]]] = deque()
    try:
        for block in chain(first, blocks):
            pending.append(pool.submit(_clean_block, block, rules, level))
            if len(pending) > AHEAD * processes:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool:
        raise MachineError(
            "a process that cleaned sentences was killed, perhaps for lack of memory; allow fewer "
            "cores, such as taskset --cpu-list 0 textgan ..."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Load NLTK without libraries that only other parts of it use: 0.4 s instead of 2.2 s, and
    160 MB less. NLTK works without the ones that cannot be imported.
    """
    for name in ("sklearn", "scipy", "pandas", "matplotlib"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    tokenizer()


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    texts = iter(texts)
    while block := list(islice(texts, BLOCK)):
        yield block


def _clean_block(texts: list[str], rules: Rules, level: Level) -> list[Cleaned]:
    return [clean(text, rules.cleaning, level) for text in texts]
