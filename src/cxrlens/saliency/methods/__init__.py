"""The saliency methods: one decorated pure function each, in one registry that everything else reads."""

from __future__ import annotations

from cxrlens import plugins
from cxrlens.saliency.methods import layer, pixel, sampling  # noqa: F401  (they fill the registry, in this order)
from cxrlens.saliency.methods.from_captum import PREFIX, captum_method
from cxrlens.saliency.methods.registry import DEFAULT_METHODS, METHODS, SaliencyMethod, unknown_method

__all__ = ["DEFAULT_METHODS", "METHODS", "SaliencyMethod", "find_method"]


def find_method(id_: str) -> SaliencyMethod:
    """Look a method up by its id; ``captum:NAME`` is any attribution class of captum, and packages may bring others.

    Raises:
        UsageError: when it is unknown, the near matches being listed, or captum is not installed, or the package that
            gives it cannot be loaded.
    """
    if id_ in METHODS:
        return METHODS[id_]
    if id_.startswith(PREFIX):
        return captum_method(id_)
    if plugins.find_plugin(plugins.METHODS, id_) is not None:
        if id_ in METHODS:  # its module has registered it
            return METHODS[id_]
        raise plugins.unfit(plugins.METHODS, id_, "registers none of this id, see docs/extending.md")
    raise unknown_method(id_)
