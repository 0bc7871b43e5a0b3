"""The registry of saliency methods: what each is, and what it reads.

A method is one decorated pure function. What it reads decides its arguments:

- ``layer``: (pair of a layer) -> map [N, h, w], for each layer; upsampling and combining are done elsewhere;
- ``input``: (pair at the network's input) -> map [N, H, W];
- ``guided``: the same, the gradient taken under the guided rule (see `cxrlens.saliency.guided`);
- ``network``: (a `NetworkProbe`, which asks the network again) -> map [N, H, W];
- ``maps``: (the full-size maps [N, H, W] of the methods named in ``of``) -> map [N, H, W].
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cxrlens import plugins
from cxrlens.errors import UsageError
from cxrlens.saliency.methods.checked import MapFunction, checked

Reads: TypeAlias = Literal["layer", "input", "guided", "network", "maps"]

PARTIAL_PASS = "1 forward; 1 backward to the earliest layer, none at the last"
FULL_PASS = "1 forward, 1 backward"
GUIDED_PASS = "2 forwards, 1 backward"


@dataclass(frozen=True)
class SaliencyMethod:
    """A registered method.

    Attributes:
        id: its name on the command line and in results.
        title: its name in figures.
        formula: the map at location u.
        source: where it is defined.
        cost: passes through the network, which the methods of one call share where they are the same. The first
            forward pass, of the images as they are, gives the logits and is always shared.
        reads: what its function is given.
        function: gives the map.
        has_layers: whether the map depends on the choice of layers.
        combines: whether the paper also combines it over layers.
        of: ids of the methods whose maps it joins.
    """

    id: str
    title: str
    formula: str
    source: str
    cost: str
    reads: Reads
    function: MapFunction
    has_layers: bool
    combines: bool = False
    of: tuple[str, ...] = ()

    @property
    def is_own(self) -> bool:
        """True of a method of cxrlens itself, False of one that another package or script has registered."""
        return _is_own(self.function)


METHODS: dict[str, SaliencyMethod] = {}

# What the command line shows when no method is named: the methods that the paper compares over layers.
DEFAULT_METHODS = ("grad_cam", "normgrad_scaling", "normgrad_conv1x1", "normgrad_conv3x3")


def method(
    id_: str,
    *,
    title: str,
    formula: str,
    source: str,
    reads: Reads = "layer",
    cost: str = "",
    combines: bool = False,
    of: tuple[str, ...] = (),
) -> Callable[[MapFunction], MapFunction]:
    """Register a map function under an id; what its arguments are, see `SaliencyMethod`.

    What a function of another package raises or gives wrongly becomes a sentence, see `checked`.

    Raises:
        UsageError: when another module has registered a method under this id.
    """

    def register(function: MapFunction) -> MapFunction:
        if id_ in METHODS and METHODS[id_].function.__module__ != function.__module__:
            raise UsageError(f"there is a method '{id_}' already; register this one under another id")
        passes = cost or {"layer": PARTIAL_PASS, "guided": GUIDED_PASS}.get(reads, FULL_PASS)
        has_layers = reads == "layer" or any(METHODS[part].has_layers for part in of)
        called = function if _is_own(function) else checked(id_, function)
        METHODS[id_] = SaliencyMethod(id_, title, formula, source, passes, reads, called, has_layers, combines, of)
        return function

    return register


def _is_own(function: MapFunction) -> bool:
    return function.__module__.partition(".")[0] == __name__.partition(".")[0]


def unknown_method(id_: str) -> UsageError:
    """The error that lists the near matches."""
    known = list(dict.fromkeys((*METHODS, *plugins.plugin_names(plugins.METHODS))))
    near = difflib.get_close_matches(id_.lower().replace("-", "_"), known, n=3, cutoff=0.4)
    meant = f"near matches: {', '.join(near)}" if near else "no near match"
    return UsageError(f"unknown method '{id_}'; {meant} (known: {', '.join(known)}, captum:NAME)")
