"""Tables of a report as LaTeX and CSV."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from studies.sections import Section, frame_of, latex

LATEX = {r"\textbackslash": "\\", r"\textasciitilde": "~", r"\textasciicircum": "^",
         r"\textless": "<", r"\textgreater": ">", r"\textbar": "|"}  # fmt: skip


TOKEN = re.compile(
    r"(\\text[a-z]+)(?:\{\}| )|\\([&%$#_{}])|\$(-)\$|(\{\})|([^\\{}&%$#_~^<>|])|(&)|(\\\\)"
)


def parsed(text: str) -> list[list[str]]:
    """The cells of a table of booktabs, its columns first if they have names; fails where LaTeX
    would, or would show another character.
    """
    package, begin, top, *rows, bottom, end = text.splitlines()
    assert package == r"% \usepackage{booktabs}"
    narrow = re.sub(r"p\{0\.\d\d\\linewidth\}", "p", begin)
    aligned = re.fullmatch(r"\\begin\{tabular\}\{([lrp]+)\}", narrow)
    assert aligned
    assert (top, bottom, end) == (r"\toprule", r"\bottomrule", r"\end{tabular}")
    if r"\midrule" in rows:
        assert rows.pop(1) == r"\midrule"
    found = []
    for row in rows:
        cells, place = [""], 0
        assert not row.startswith(("[", "*")), "an option of the line before"
        while place < len(row):
            token = TOKEN.match(row, place)
            assert token, row[place:]
            name, escaped, minus, _, plain, cell, over = token.groups()
            cells[-1] += LATEX[name] if name else escaped or minus or plain or ""
            if cell:
                cells.append("")
            place = token.end()
            assert bool(over) == (place == len(row))
        assert len(cells) == len(aligned[1])
        found.append([cell.strip() for cell in cells])
    return found


def test_a_table_for_latex_shows_every_character() -> None:
    columns = ["a_b", "", "50% of $x$", ""]
    rows = [
        ["[.1, .2]", "-1.5", "< 0.001", "{a} & b | c"],
        ["* ~user^2", "2", "C:\\new #1", " two\n words \\"],
        ["été · Ω", "", "\\&", "\\alpha_1 > 0"],
    ]
    shown = [[" ".join(cell.split()) for cell in row] for row in (columns, *rows)]
    text = latex(columns, rows)
    assert parsed(text) == shown
    assert r"\begin{tabular}{lrll}" in text, "numbers at the right"
    assert "& $-$1.5 &" in text, "a minus, not a hyphen"


def test_long_texts_are_wrapped_in_latex_and_a_table_without_names_has_no_head() -> None:
    rows = [["#0", "a b " * 20, "-3"], ["#1", "c", "it is -.5 to -2, e-3 and a-1"]]
    text = latex(["", "after 0", "after 9"], rows)
    assert r"{lp{0.43\linewidth}p{0.43\linewidth}}" in text
    both = latex(["contrast", "difference"], [["a - b " * 20, "-0.0123"]])
    assert r"{p{0.82\linewidth}r}" in both, "room for the numbers"
    assert "{ll}" in latex(["", "reason"], [["#0", "a" * 30]])
    assert "it is $-$.5 to $-$2, e-3 and a-1" in text
    assert latex(["", "", ""], rows).count("rule\n") == 2
    assert parsed(latex(["", "", ""], rows)) == [[" ".join(c.split()) for c in row] for row in rows]


def test_pandas_reads_the_numbers_of_a_table(tmp_path: Path) -> None:
    rows = [["a", "-", "-", "-"], ["b", "-0.25", "c", "0.1 (0.0 to 0.2)"]]
    section = Section("x", ["name", "score", "text", "interval"], rows)
    assert "{lrlr}" in latex(section.columns, rows), "the same columns are of numbers in LaTeX"
    frame_of(section).to_csv(tmp_path / "x.csv", index=False)
    found = pd.read_csv(tmp_path / "x.csv")
    assert found["score"].isna().to_list() == [True, False]
    assert found["interval"].isna().to_list() == [True, False]
    assert found["score"][1] == -0.25
    assert found["text"].to_list() == ["-", "c"], "a sentence is not a number"
