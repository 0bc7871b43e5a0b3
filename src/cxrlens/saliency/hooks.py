"""Forward hooks that belong to one thread and are gone at the end, whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def forward_hooks(
    modules: Mapping[str, nn.Module], see: Callable[[str, tuple[Any, ...], Any], Any | None]
) -> Iterator[None]:
    """Call ``see(name, inputs, output)`` after each module that this thread runs; what it returns is handed on.

    None hands the output on as it is.
    """
    owner = threading.get_ident()

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], Any | None]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any | None:
            return see(name, inputs, output) if threading.get_ident() == owner else None

        return hook

    handles = []
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(hook_for(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()
