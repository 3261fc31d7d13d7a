"""Cleaning many sentences: on all cores where there are enough of them to be worth the start.

Tokenising is five sixths of building a corpus. Blocks are handed out and taken back in order, with
a bounded number under way, so memory stays constant and the result does not depend on the cores.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context

from core.text.cleaning import Cleaned, clean
from core.text.settings import Level, Rules

BLOCK = 2000  # sentences handed to a process at a time
ALONE = 10  # blocks; so many are cleaned sooner here than processes start
MOST = 8  # processes
AHEAD = 3  # blocks a process under way


def clean_all(texts: Iterable[str], rules: Rules, level: Level) -> Iterator[Cleaned]:
    """The texts cleaned, in order."""
    blocks = _blocks(texts)
    first = list(islice(blocks, ALONE))
    cores = min(os.cpu_count() or 1, MOST)
    if len(first) < ALONE or cores == 1:
        for block in chain(first, blocks):
            yield from _clean_block(block, rules, level)
        return
    # A fork of a process with threads may hang; this one forks from a clean server.
    context = get_context("forkserver")
    context.set_forkserver_preload(["core.text.cleaning_server"])
    pool = ProcessPoolExecutor(cores, mp_context=context)
    waiting: deque[Future[list[Cleaned]]] = deque()
    try:
        for block in chain(first, blocks):
            waiting.append(pool.submit(_clean_block, block, rules, level))
            if len(waiting) > AHEAD * cores:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    texts = iter(texts)
    while block := list(islice(texts, BLOCK)):
        yield block


def _clean_block(texts: list[str], rules: Rules, level: Level) -> list[Cleaned]:
    return [clean(text, rules.cleaning, level) for text in texts]
