"""The places of a layer's cells in the network's input, see docs/methods.md, "Where a cell lies"."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class CellAxis:
    """The places of the rows, or of the columns, of a layer's cells.

    Cell i is centred on input pixel ``offset + stride * i``, pixel 0 being the centre of the first one.

    Attributes:
        stride: input pixels from one cell to the next, above 0.
        offset: the place of cell 0, in input pixels.
    """

    stride: Fraction
    offset: Fraction

    def moved(self, cells: Fraction | int) -> CellAxis:
        """As if counted from a place that many cells further on."""
        return CellAxis(self.stride, self.offset + self.stride * cells)

    def strided(self, step: Fraction | int) -> CellAxis:
        """Every step-th cell, from cell 0 on; a step below 1 puts cells between."""
        return CellAxis(self.stride * step, self.offset)


@dataclass(frozen=True)
class CellGrid:
    """The places of a layer's cells: of its rows and of its columns."""

    rows: CellAxis
    columns: CellAxis
