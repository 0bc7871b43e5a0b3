"""The table of methods in the documentation is that of the registry."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_networks import Tiny
from torch import Tensor

import cxrlens
from cxrlens.errors import UsageError
from cxrlens.saliency.catalogue import COLUMNS, END, markdown, rewrite, rows
from cxrlens.saliency.methods import METHODS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def test_the_page_is_as_the_registry_would_write_it(tmp_path: Path) -> None:
    copy = tmp_path / "methods.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    rewrite(copy)
    assert copy.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8"), "run: make docs"


def test_the_table_has_a_row_per_method_and_escapes_bars() -> None:
    assert [row[0] for row in rows()] == list(METHODS)
    assert all(all(row) and len(row) == len(COLUMNS) for row in rows())
    lines = markdown().splitlines()
    assert len(lines) == 2 + len(METHODS)
    bars = {line.replace("\\|", "").count("|") for line in lines}
    assert bars == {len(COLUMNS) + 1}


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(END)
    with pytest.raises(UsageError, match="page"):
        rewrite(page)


class Counting(Tiny):
    """Counts the images that it is given, and by a hook those whose gradients run back behind the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.images = self.backward = 0

    def tail(self, features: Tensor) -> Tensor:
        self.images += len(features)
        if features.requires_grad:
            features.register_hook(self.count)
        return super().tail(features)

    def count(self, gradient: Tensor) -> None:
        self.backward += len(gradient)


@pytest.mark.parametrize("id_", list(METHODS))
def test_stated_costs_are_the_passes_that_are_made(id_: str) -> None:
    network, images = Counting(), torch.rand(2, 3, 16, 20)
    cxrlens.explain(network, images, methods=id_, layers="features.3")  # the trial of the closed form
    network.images = network.backward = 0
    cxrlens.explain(network, images, methods=id_, layers="features.3")
    cost = METHODS[id_].cost
    if "none at the last" in cost:
        cost = cost.partition(";")[0]
    stated = [int(part.split()[0]) for part in cost.split(", ")]
    made = [network.images / 2, network.backward / 2]
    assert made == [*stated, 0][:2]
    network.images = network.backward = 0
    cxrlens.explain(network, images, methods=id_, layers="features.1")
    assert (network.backward > made[1] * 2) == ("none at the last" in METHODS[id_].cost)
