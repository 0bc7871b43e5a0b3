"""Tables of results as CSV, Markdown, LaTeX and cells of a page; the same table always gives the same bytes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from cxrlens.errors import ArgumentError
from cxrlens.files import to_csv as csv_text
from cxrlens.files import write_text

MISSING: Final = "n/a"
DAGGER: Final = "†"
MARK_NOTE: Final = f"{DAGGER} does not beat the best baseline."


@dataclass(frozen=True)
class Score:
    """A score with the ends of its 95 % interval.

    Attributes:
        value: NaN where there is none.
        low: NaN where there is no interval; so is `high`.
        high: upper end.
        n: number of images, objects or pairs behind it.
        marked: it does not beat the best baseline, which a dagger and a footnote say.
    """

    value: float
    low: float
    high: float
    n: int
    marked: bool = False

    def text(self, digits: int) -> str:
        """Such as "0.853† (0.82 to 0.88)": the interval has one digit less than the value."""
        if not math.isfinite(self.value):
            return MISSING
        value = f"{self.value:.{digits}f}{DAGGER if self.marked else ''}"
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return value
        shorter = max(digits - 1, 0)
        return f"{value} ({self.low:.{shorter}f} to {self.high:.{shorter}f})"


Cell: TypeAlias = str | int | float | Score | None
Kind: TypeAlias = Literal["text", "number", "score"]


@dataclass(frozen=True)
class Column:
    """A column: its name in the CSV, what people read above it, what its cells are.

    `digits` are those after the point. Any cell may be a text ("passes") or None (nothing to say: "n/a").
    """

    key: str
    heading: str
    kind: Kind = "text"
    digits: int = 3


@dataclass(frozen=True)
class PageCell:
    """A cell of a page, and the number that it is sorted by: "" for none, None where the text itself sorts."""

    text: str
    sort: str | None


@dataclass(frozen=True)
class Table:
    """One table of results; `name` becomes the name of its files and of its LaTeX label.

    Raises:
        ArgumentError: for a name that is none for a file, keys that occur twice (also as ``key_low`` and so on), a row
            of another length than the columns, or a cell that does not belong in its column.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise ArgumentError(f"a table's name holds letters, digits and _ . - only, not {self.name!r}")
        twice = [key for key, count in Counter(_csv_columns(self)).items() if count > 1]
        if twice:
            raise ArgumentError(f"table {self.name}: two columns with the key {twice[0]!r}")
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise ArgumentError(
                    f"table {self.name}: row {number} has {len(row)} cells for {len(self.columns)} columns"
                )
            for column, cell in zip(self.columns, row, strict=True):
                if not (cell is None or isinstance(cell, _CELL_TYPES[column.kind])) or isinstance(cell, bool):
                    raise ArgumentError(
                        f"table {self.name}: {cell!r} in row {number} is no {column.kind} ({column.key})"
                    )

    @property
    def footnotes(self) -> tuple[str, ...]:
        """The note, then what all readers of its scores need to know."""
        scores = [cell for row in self.rows for cell in row if isinstance(cell, Score) and math.isfinite(cell.value)]
        notes = [self.note] if self.note else []
        if scores:
            fewest, most = min(score.n for score in scores), max(score.n for score in scores)
            count = f"n = {fewest}" if fewest == most else f"n = {fewest} to {most}"
            interval = "95 % intervals in brackets; " if any(math.isfinite(score.low) for score in scores) else ""
            notes.append(f"{interval}{count}.")
        if any(score.marked for score in scores):
            notes.append(MARK_NOTE)
        return tuple(notes)

    @property
    def page_rows(self) -> list[list[PageCell]]:
        """The rows as a page shows and sorts them."""
        return [
            [PageCell(_text(cell, column), _sort_value(cell, column)) for cell, column in _pairs(self, row)]
            for row in self.rows
        ]


_CELL_TYPES: Final[dict[Kind, tuple[type, ...]]] = {
    "text": (str, int),
    "number": (str, int, float),
    "score": (str, Score),
}
_SCORE_PARTS: Final = ("low", "high", "n", "marked")


def to_csv(table: Table) -> str:
    """Plain numbers with 6 significant digits, no value = an empty field.

    A score column ``key`` spreads to ``key, key_low, key_high, key_n, key_marked`` (true or false).
    """
    return csv_text(_csv_columns(table), (_csv_row(table, row) for row in table.rows))


def to_markdown(table: Table) -> str:
    """A heading, a table as GitHub reads it, and the footnotes as paragraphs."""
    lines = [
        _markdown_row(column.heading for column in table.columns),
        "|" + "|".join(" --- " if column.kind == "text" else " ---: " for column in table.columns) + "|",
        *(_markdown_row(_text(*pair) for pair in _pairs(table, row)) for row in table.rows),
    ]
    parts = [f"## {markdown(table.title)}", "\n".join(lines), *(markdown(note) for note in table.footnotes)]
    return "\n\n".join(parts) + "\n"


def to_latex(table: Table) -> str:
    r"""A floating ``table`` with caption, ``\label{tab:NAME}`` and footnotes; it needs booktabs and graphicx.

    A table wider than the line is scaled down to it. Names in scripts that pdfLaTeX's fonts lack, such as Chinese,
    need LuaLaTeX or XeLaTeX.
    """
    alignment = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    return "\n".join(
        [
            r"% needs \usepackage{booktabs,graphicx}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(table.title)}}}",
            rf"\label{{tab:{table.name}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            _latex_row(column.heading for column in table.columns),
            r"\midrule",
            *(_latex_row(_text(*pair) for pair in _pairs(table, row)) for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\smallskip{{\footnotesize {_latex(note)}\par}}" for note in table.footnotes),
            r"\end{table}",
            "",
        ]
    )


def save_table(table: Table, folder: Path) -> tuple[Path, ...]:
    """Write ``NAME.csv``, ``NAME.md`` and ``NAME.tex``, each whole or not at all; returns their paths."""
    writers: dict[str, Callable[[Table], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
    paths = tuple(folder / f"{table.name}.{suffix}" for suffix in writers)
    for path, rendered in zip(paths, writers.values(), strict=True):
        write_text(path, rendered(table))
    return paths


def _pairs(table: Table, row: Sequence[Cell]) -> Iterator[tuple[Cell, Column]]:
    return zip(row, table.columns, strict=True)


def _text(cell: Cell, column: Column) -> str:
    """The cell as people read it."""
    if isinstance(cell, Score):
        return cell.text(column.digits)
    if cell is None:
        return MISSING
    if isinstance(cell, float):
        return f"{cell:.{column.digits}f}" if math.isfinite(cell) else MISSING
    return str(cell)


def _sort_value(cell: Cell, column: Column) -> str | None:
    if column.kind == "text":
        return None if cell is not None else ""
    number = cell.value if isinstance(cell, Score) else cell
    return repr(float(number)) if isinstance(number, int | float) and math.isfinite(number) else ""


def _csv_columns(table: Table) -> list[str]:
    names = []
    for column in table.columns:
        names.append(column.key)
        if column.kind == "score":
            names += [f"{column.key}_{part}" for part in _SCORE_PARTS]
    return names


def _csv_row(table: Table, row: Sequence[Cell]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for cell, column in _pairs(table, row):
        if isinstance(cell, Score):
            values = (cell.low, cell.high, cell.n, str(cell.marked).lower())
            fields |= {f"{column.key}_{part}": value for part, value in zip(_SCORE_PARTS, values, strict=True)}
            fields[column.key] = cell.value
        else:
            fields[column.key] = cell
    return fields


def _markdown_row(texts: Iterator[str]) -> str:
    return "| " + " | ".join(markdown(text) for text in texts) + " |"


def markdown(text: str) -> str:
    """The text shown letter by letter; an underscore inside a word means nothing in Markdown and stays bare."""
    one_line = " ".join(text.split()).replace("&", "&amp;")
    return re.sub(r"([\\`*\[\]<>|~$#]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", one_line)


def _latex_row(texts: Iterator[str]) -> str:
    return " & ".join(_latex(text) for text in texts) + r" \\"


def _latex(text: str) -> str:
    """The text shown letter by letter; a mark between two hyphens keeps them from becoming a dash."""
    escaped = "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
    return re.sub(r"-(?=-)", "-{}", escaped).translate(_LATEX_DASHES)


_LATEX: Final = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{character: f"{{{character}}}" for character in "[]*"},  # behind \\ they would be its arguments
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    DAGGER: r"\textsuperscript{\textdagger}",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "°": r"\textdegree{}",
    "µ": r"$\mu$",
    "σ": r"$\sigma$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
}
_LATEX_DASHES: Final = str.maketrans({"–": "--", "—": "---"})
