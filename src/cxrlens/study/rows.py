"""Rows, layers and stages of an architecture, found without weights or images."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cxrlens.evaluation.randomisation import stages
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.registry import find_architecture
from cxrlens.saliency.explain import Row, make_row, resolve_layers
from cxrlens.saliency.hooks import forward_hooks
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
    return _spelled_out(plan.rows, architecture)


@functools.cache
def _spelled_out(rows: tuple[str, ...], architecture: str) -> list[PlannedRow]:
    network = outline(architecture)
    found: dict[Row, PlannedRow] = {}
    for text in rows:
        method, layers = text.split()
        for name in resolve_layers(network, "combined") if layers == EACH else [layers]:
            row = make_row(method, name)
            found.setdefault(row, PlannedRow(row, layers == EACH))
    return list(found.values())


def compared_rows(plan: StudyPlan, architecture: str) -> list[Row]:
    """The rows that samples and pairs of networks are scored for: all but the curves."""
    return [planned.row for planned in planned_rows(plan, architecture) if not planned.each]


@functools.cache
def outline(architecture: str) -> nn.Module:
    """The network on torch's meta device: modules and shapes, no numbers.

    Raises:
        UsageError: when the architecture is unknown.
    """
    with torch.device("meta"):
        return find_architecture(architecture).build(2).eval()


def cascade_stages(architecture: str) -> list[str]:
    """The stages that cascading randomisation draws anew, in its order."""
    return stages(outline(architecture))


@functools.cache
def layer_grids(architecture: str, preprocessing: Preprocessing) -> dict[str, tuple[int, int]]:
    """Rows and columns of each combined layer's output, from the input to the head."""
    found: dict[str, tuple[int, int]] = {}

    def see(name: str, _inputs: object, output: Tensor) -> None:
        found[name] = (output.shape[2], output.shape[3])

    network = outline(architecture)
    modules = {name: network.get_submodule(name) for name in resolve_layers(network, "combined")}
    with torch.no_grad(), forward_hooks(modules, see):
        network(torch.empty(1, 3, preprocessing.height, preprocessing.width, device="meta"))
    return found
