"""Tables in narrow terminals: names, ids and numbers stay readable."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from experiments.console import progress, stderr, table
from experiments.listing import SHOWN
from experiments.study_output import LEADERBOARD
from studies.analysis.ranking import BOARD_COLUMNS

COLUMNS = [*SHOWN, "eval/jsd_bound"]
NAMES = ["gumbel_softmax · full", "straight_through_gumbel", "[red]detached", "中文 (imported)"]
RUNS = [["50025eb1", "tiny", name, "10", "collapsed", "0.0425"] for name in NAMES]
BOARD = [
    ["1", name, "0.0491", "1 of 2 runs failed", "1 of 2 (6% to 94%)",
     "0.0631 (0.0412 to 0.0850)", "2", "1 collapsed, 1 ok", "equivalent (worse)"]
    for name in NAMES
]  # fmt: skip
STRATEGIES = [[f"sampling.{name}", "A draw from softmax(l); D sees ids.", "Jang 2017"]
              for name in NAMES]  # fmt: skip
LADDER = [["1", "mle, longer", "0.3267", "one run", "0.000", "1 ok", "", "unigram to bigram"],
          ["2", "mle", "0.2442", "one run", "0.000", "1 ok", "undecided", "unigram to bigram"],
          ["", "real held-out text", "0.5159", "", "1.000", "", "", ""],
          ["", "unigram model", "0.1675", "", "0.000", "", "", ""]]  # fmt: skip
FACTS = [["versions", "torch=2.13.0+cpu"], ["store", "sqlite:///" + "a/" * 30], ["runs", "7"]]


def printed(width: int, columns: list[str], rows: list[list[str]], optional: str = "") -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(table(columns, rows, "a title", console, optional))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 50, 77, 80, 81, 160])
@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        (COLUMNS, RUNS),
        ([*BOARD_COLUMNS], BOARD),
        (["slot.strategy", "what it does", "source"], STRATEGIES),
        (["metric", "50025eb1 a", "c7c8a0a1 b"], [["eval/ms_jaccard_2", "0.1", "0.2"]]),
        ([*LEADERBOARD], LADDER),
        (["", ""], FACTS),
    ],
    ids=["runs", "leaderboard", "strategies", "comparison", "short leaderboard", "facts"],
)
def test_nothing_is_cut_in_a_narrow_terminal(
    width: int, columns: list[str], rows: list[list[str]]
) -> None:
    lines = printed(width, columns, rows)
    text = "\n".join(lines)
    assert "…" not in text
    assert all(len(line) <= width for line in lines)
    whole = "".join(text.split())
    for row in rows:
        for cell in row:
            for word in cell.split():
                shown = word in text if len(word) <= 20 else word in whole or len(columns) == 2
                assert shown, (word, text)


def test_without_a_terminal_progress_is_one_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("experiments.console.time.monotonic", lambda: now[0])
    with progress("training") as advance:
        for second in range(0, 200, 5):
            now[0] = second
            advance(second, 200, "D loss 1")
        now[0] = 300
        advance(7, None)
    assert capsys.readouterr().err.splitlines() == [
        "training: 60/200  D loss 1", "training: 120/200  D loss 1",
        "training: 180/200  D loss 1", "training: 7",
    ]  # fmt: skip


def test_a_signature_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    stderr.print("refs:100:b4bf0116", markup=False)
    assert capsys.readouterr().err == "refs:100:b4bf0116\n"


def test_an_optional_column_is_left_out_before_rows_become_blocks() -> None:
    others = [column for column in COLUMNS if column != "study"]
    shown = printed(70, COLUMNS, RUNS, "study")
    assert shown[1].split() == others
    assert len(shown) == 2 + len(RUNS)
    assert printed(80, COLUMNS, RUNS, "study")[1].split() == COLUMNS
    assert printed(40, COLUMNS, RUNS, "study")[1].split() == ["run_id", "50025eb1"]


def test_rows_become_blocks_where_columns_do_not_fit() -> None:
    assert printed(80, COLUMNS, RUNS)[1].split() == COLUMNS
    blocks = printed(40, COLUMNS, RUNS)
    assert blocks[1].split() == ["run_id", "50025eb1"]
    assert blocks[3].split() == ["variant", "gumbel_softmax", "·", "full"]
