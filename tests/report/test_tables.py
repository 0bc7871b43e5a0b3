"""Result tables: each format written out by hand, awkward texts, and what may not be a table."""

from __future__ import annotations

import csv
import io
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cxrlens.report.tables import Cell, Column, PageCell, Score, Table, save_table, to_csv, to_latex, to_markdown
from waiting import PATIENCE

COLUMNS = (
    Column("method", "Method"),
    Column("pg", "Pointing Game", "score"),
    Column("published", "Published", "number"),
    Column("tied", "Tied peaks", "number"),
)
TABLE = Table(
    "pointing_game",
    "Pointing Game, tolerance 15 px",
    COLUMNS,
    [
        ["normgrad_conv3x3", Score(0.8534, 0.8161, 0.8799, 500), 0.853, 3],
        ["grad_cam", Score(0.25, math.nan, math.nan, 480, marked=True), "not published", None],
        ["flat", Score(math.nan, math.nan, math.nan, 0), math.nan, 500],
    ],
    note="Affected images.",
)
AWKWARD = "a_b % & $x$ #1 {c} \\d ~e ^f \"g\" <h> |i| [j] *k* --l `m` 'n' ×≤±°µσ−–…†"


def one_cell(text: Cell, **values: Any) -> Table:
    return Table("t", "t", [Column("a", "A", **values)], [[text]])


def test_csv_spreads_scores_and_keeps_plain_numbers() -> None:
    assert to_csv(TABLE) == (
        "method,pg,pg_low,pg_high,pg_n,pg_marked,published,tied\n"
        "normgrad_conv3x3,0.8534,0.8161,0.8799,500,false,0.853,3\n"
        "grad_cam,0.25,,,480,true,not published,\n"
        "flat,,,,0,false,,500\n"
    )


def test_csv_brings_awkward_texts_back() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(one_cell('a,"b"\nc')))))
    assert rows == [["a"], ['a,"b"\nc']]


def test_markdown() -> None:
    assert to_markdown(TABLE) == (
        "## Pointing Game, tolerance 15 px\n\n"
        "| Method | Pointing Game | Published | Tied peaks |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| normgrad_conv3x3 | 0.853 (0.82 to 0.88) | 0.853 | 3 |\n"
        "| grad_cam | 0.250† | not published | n/a |\n"
        "| flat | n/a | n/a | 500 |\n\n"
        "Affected images.\n\n"
        "95 % intervals in brackets; n = 480 to 500.\n\n"
        "† does not beat the best baseline.\n"
    )


def test_latex() -> None:
    assert (
        to_latex(TABLE)
        == r"""% needs \usepackage{booktabs,graphicx}
\begin{table}
\centering
\caption{Pointing Game, tolerance 15 px}
\label{tab:pointing_game}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
\begin{tabular}{lrrr}
\toprule
Method & Pointing Game & Published & Tied peaks \\
\midrule
normgrad\_conv3x3 & 0.853 (0.82 to 0.88) & 0.853 & 3 \\
grad\_cam & 0.250\textsuperscript{\textdagger} & not published & n/a \\
flat & n/a & n/a & 500 \\
\bottomrule
\end{tabular}}
\par\smallskip{\footnotesize Affected images.\par}
\par\smallskip{\footnotesize 95 \% intervals in brackets; n = 480 to 500.\par}
\par\smallskip{\footnotesize \textsuperscript{\textdagger} does not beat the best baseline.\par}
\end{table}
"""
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("a_b _c_", r"a_b \_c\_"),
        ("*a* `b` [c](d) <e> $f$ ~g~", r"\*a\* \`b\` \[c\](d) \<e\> \$f\$ \~g\~"),
        ("a\\b &lt; c\nd", r"a\\b &amp;lt; c d"),
    ],
)
def test_markdown_escapes(text: str, expected: str) -> None:
    assert f"\n| {expected} |\n" in to_markdown(one_cell(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % of a_b & c", r"50 \% of a\_b \& c"),
        ("$x$ #1 {c}", r"\$x\$ \#1 \{c\}"),
        ("\\d ~e ^f", r"\textbackslash{}d \textasciitilde{}e \textasciicircum{}f"),
        ("[j] *k* <h> |", r"{[}j{]} {*}k{*} \textless{}h\textgreater{} \textbar{}"),
        ("study --seed 0 – end", "study -{}-seed 0 -- end"),
        ("---", "-{}-{}-"),
        ("3×3, ≤ 15 px, −1", r"3$\times$3, $\leq$ 15 px, $-$1"),
    ],
)
def test_latex_escapes(text: str, expected: str) -> None:
    assert f"\n{expected} \\\\\n" in to_latex(one_cell(text))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_compiles(tmp_path: Path) -> None:
    columns = [Column("a", AWKWARD), Column("b", "[B]" * 40, "score")]  # wider than the line
    rows: list[list[Cell]] = [[AWKWARD, Score(0.5, 0.4, 0.6, 9, marked=True)], ["[x]", None], ["* y", "*"]]
    table = Table("a_b", AWKWARD, columns, rows, note=AWKWARD)
    lines = [r"\documentclass{article}", r"\usepackage{booktabs,graphicx}", r"\begin{document}", to_latex(table)]
    (tmp_path / "t.tex").write_text("\n".join([*lines, r"Table~\ref{tab:a_b}", r"\end{document}"]), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    assert done.returncode == 0, done.stdout[-2000:]
    assert r"Overfull \hbox" not in done.stdout


def test_page_cells_sort_by_number_and_put_nothing_last() -> None:
    assert TABLE.page_rows == [
        [
            PageCell("normgrad_conv3x3", None),
            PageCell("0.853 (0.82 to 0.88)", "0.8534"),
            PageCell("0.853", "0.853"),
            PageCell("3", "3.0"),
        ],
        [PageCell("grad_cam", None), PageCell("0.250†", "0.25"), PageCell("not published", ""), PageCell("n/a", "")],
        [PageCell("flat", None), PageCell("n/a", ""), PageCell("n/a", ""), PageCell("500", "500.0")],
    ]


@pytest.mark.parametrize(
    ("score", "digits", "text"),
    [
        (Score(0.8534, 0.8161, 0.8799, 5), 3, "0.853 (0.82 to 0.88)"),
        (Score(90.25, 80.0, 95.04, 5, marked=True), 1, "90.2† (80 to 95)"),
        (Score(math.inf, 0, 1, 5), 3, "n/a"),
        (Score(0.0, 0.0, 0.0, 5), 3, "0.000 (0.00 to 0.00)"),
    ],
)
def test_score_texts(score: Score, digits: int, text: str) -> None:
    assert score.text(digits) == text


def test_footnotes_say_only_what_the_table_needs() -> None:
    assert one_cell("x").footnotes == ()
    assert one_cell(Score(0.5, 0.4, 0.6, 30), kind="score").footnotes == ("95 % intervals in brackets; n = 30.",)
    assert one_cell(Score(0.5, math.nan, math.nan, 30), kind="score").footnotes == ("n = 30.",)
    assert one_cell(Score(math.nan, math.nan, math.nan, 0, marked=True), kind="score").footnotes == ()


@pytest.mark.parametrize("name", ["", "../a", "a b", ".hidden", "a/b", "ä"])
def test_a_name_that_is_none_for_a_file_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        Table(name, "t", [Column("a", "A")], [])


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        ([Column("a", "A"), Column("a", "B")], ["x", "y"], "two columns with the key 'a'"),
        ([Column("a", "A", "score"), Column("a_n", "B")], [None, "y"], "two columns with the key 'a_n'"),
        ([Column("a", "A")], ["x", "y"], "row 1 has 2 cells for 1 columns"),
        ([Column("a", "A", "score")], [0.5], "0.5 in row 1 is no score"),
        ([Column("a", "A", "number")], [True], "True in row 1 is no number"),
        ([Column("a", "A")], [0.5], "0.5 in row 1 is no text"),
    ],
)
def test_what_is_no_table_is_refused(columns: list[Column], row: list[Cell], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Table("t", "t", columns, [row])


def test_saving_writes_three_files_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    paths = save_table(TABLE, tmp_path / "tables")
    assert [path.name for path in paths] == ["pointing_game.csv", "pointing_game.md", "pointing_game.tex"]
    assert sorted((tmp_path / "tables").iterdir()) == sorted(paths)
    first = [path.read_bytes() for path in paths]
    assert [data.decode() for data in first] == [to_csv(TABLE), to_markdown(TABLE), to_latex(TABLE)]
    save_table(TABLE, tmp_path / "tables")
    assert [path.read_bytes() for path in paths] == first
