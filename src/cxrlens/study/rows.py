"""Rows, layers and stages of an architecture, found without weights or images."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from torch import nn

from cxrlens.evaluation.randomisation import stages
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.architecture import Architecture
from cxrlens.models.registry import blank_network, find_architecture
from cxrlens.saliency.explain import Row, make_row, resolve_layers
from cxrlens.saliency.stages import map_sizes
from cxrlens.study.plan import EACH, StudyPlan
from cxrlens.study.records import key


@dataclass(frozen=True)
class PlannedRow:
    """A row at the layers of one network; ``each``: one layer of many, for curves, of which only the peak is scored."""

    row: Row
    each: bool

    @property
    def key(self) -> str:
        return key(self.row.method, self.row.layers)


def planned_rows(plan: StudyPlan, architecture: str) -> list[PlannedRow]:
    """The rows of the plan for an architecture, "each" spelled out.

    Raises:
        UsageError: on an unknown method.
    """
    return _spelled_out(plan.rows, find_architecture(architecture))


@functools.cache
def _spelled_out(rows: tuple[str, ...], architecture: Architecture) -> list[PlannedRow]:
    found: dict[Row, PlannedRow] = {}
    for text in rows:
        method, layers = text.split()
        for name in _combined(architecture) if layers == EACH else [layers]:
            row = make_row(method, name)
            found.setdefault(row, PlannedRow(row, layers == EACH))
    return list(found.values())


def compared_rows(plan: StudyPlan, architecture: str) -> list[Row]:
    """The rows that samples and pairs of networks are scored for: all but the curves."""
    return [planned.row for planned in planned_rows(plan, architecture) if not planned.each]


def outline(architecture: str, size: tuple[int, int] | None = None) -> nn.Module:
    """The network for images of a (height, width): its modules and shapes, whose numbers do not count.

    Raises:
        UsageError: when the architecture is unknown.
    """
    found = find_architecture(architecture)
    return _outline(found, size or found.image_size)


@functools.cache
def _outline(architecture: Architecture, size: tuple[int, int]) -> nn.Module:
    return blank_network(architecture, 2, size).eval()


@functools.cache
def _combined(architecture: Architecture) -> list[str]:
    size = architecture.image_size
    return resolve_layers(_outline(architecture, size), "combined", (3, *size))


def cascade_stages(architecture: str) -> list[str]:
    """The stages that cascading randomisation draws anew, in its order."""
    return stages(outline(architecture))


@functools.cache
def layer_grids(architecture: str, preprocessing: Preprocessing) -> dict[str, tuple[int, int]]:
    """Rows and columns of each combined layer's output, from the input to the head."""
    size = (preprocessing.height, preprocessing.width)
    return map_sizes(outline(architecture, size), (3, *size), _combined(find_architecture(architecture)))
