"""What `textgan study` and `textgan report` print: progress, rankings, comparisons, links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import listed
from core.plural import count
from core.tracking.protocol import Tracker
from experiments.console import interval, number, stderr, stdout, table
from studies.analysis.corpora import joint
from studies.analysis.ranking import baseline_cells, board_cells, board_columns
from studies.analysis.runs import duration
from studies.compared import shown
from studies.leaderboard import Leaderboard
from studies.report import on_corpora, read
from studies.running.queue import Progress
from studies.sections import p_value


def status(state: Progress, workers: int) -> str:
    """The text next to the progress bar."""
    parts = []
    if state.best is not None:
        parts.append(f"best {state.best:.4f} ({state.best_variant})")
    if state.failed:
        parts.append(f"{state.failed} ended with an error")
    if state.open:
        parts.append(f"open: {listed(state.open)}")
    if left := state.seconds_left(workers):
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def show_ranking(tracker: Tracker, board: Leaderboard) -> None:
    """Print the ranking of a study's variants, or their mean ranks over its corpora and the ranking
    on each.
    """
    corpora = {} if board.rows else on_corpora(read(tracker, board.study))
    for section in joint(corpora):
        stdout.print(table(section.columns, section.rows, section.title))
        for sentence in section.findings:
            stderr.print(sentence, markup=False)
    for each in [reading.board for reading in corpora.values()] or [board]:
        show_leaderboard(each)


def show_leaderboard(board: Leaderboard) -> None:
    """Print the ranking of a study's variants."""
    rows = [*board_cells(board), *baseline_cells(board).values()]
    better = "higher" if board.higher_is_better else "lower"
    title = f"{board.study}: {board.metric}, {better} is better"
    stdout.print(table(board_columns(board), rows, title))
    if board.signature:
        stderr.print(f"signature: {board.signature}", markup=False)
    if board.failed:
        stderr.print(f"{count(board.failed, 'run')} ended with an error; --resume tries again")


def show_compared(document: Mapping[str, Any]) -> None:
    """Print rows of two studies side by side, and the rows that are not compared."""
    title = f"{document['metric']}: {' minus '.join(document['studies'])}"
    columns = ["row", *document["studies"], "difference", "95% interval", "p adjusted", "verdict",
               "what differs"]  # fmt: skip
    rows = [
        [each["a"] if each["a"] == each["b"] else f"{each['a']} / {each['b']}",
         *map(number, each["scores"]), number(each["difference"], "+.4f"),
         interval(each["low"], each["high"], "+.4f"), p_value(each["p_adjusted"]), each["verdict"],
         shown(each["differs"]) or "nothing"]
        for each in document["compared"]
    ]  # fmt: skip
    stdout.print(table(columns, rows, title) if rows else f"{title}: no two rows can be compared")
    others = [[*each.values()] for each in document["not_compared"]]
    if others:
        stdout.print(table(["study", "row", "reason"], others, "not compared"))


def show_links(tracker: Tracker, board: Leaderboard, leaderboard: str) -> None:
    """Print where the UI shows a study: a tracking server, or `textgan ui` on its default port."""
    links = {
        "leaderboard": leaderboard,
        "report": tracker.link(board.study, board.parent_run_id, "report.html"),
        "sentences": tracker.sentences_link(board.study, board.metric, not board.higher_is_better),
    }
    if not board.rows:  # a study on several corpora
        links = {"report": links["report"]}
    is_server = tracker.uri.startswith("http")
    ours = "start [bold]textgan ui[/], then open (on another port, it prints its own links):"
    stderr.print("on the tracking server:" if is_server else ours)
    address = tracker.uri if is_server else "http://127.0.0.1:5000"
    for title, link in links.items():
        stderr.print(f"  {title}: {address}/{link}", soft_wrap=True)
