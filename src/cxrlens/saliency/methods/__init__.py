"""The saliency methods: one decorated pure function each, in one registry that everything else reads."""

from __future__ import annotations

import logging

from cxrlens import plugins
from cxrlens.errors import UsageError
from cxrlens.saliency.methods import layer, pixel, sampling  # noqa: F401  (they fill the registry, in this order)
from cxrlens.saliency.methods.from_captum import PREFIX, captum_method
from cxrlens.saliency.methods.registry import DEFAULT_METHODS, METHODS, SaliencyMethod, unknown_method

__all__ = ["DEFAULT_METHODS", "METHODS", "SaliencyMethod", "find_method", "usable_methods"]

log = logging.getLogger(__name__)


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


def usable_methods() -> list[SaliencyMethod]:
    """All methods of this program and of installed packages; one that cannot be loaded is left out with a warning."""
    for plugin in plugins.plugin_names(plugins.METHODS):
        try:
            find_method(plugin)
        except UsageError as error:
            log.warning("%s", error)
    return list(METHODS.values())
