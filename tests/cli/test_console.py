"""Sentences of the library as the command line says them."""

from __future__ import annotations

import pytest

from cxrlens.cli.console import as_options


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("give another name or `force`", "give another name or --force"),
        ("try `device=auto` or `device=cpu`", "try --device auto or --device cpu"),
        ("give a larger `cache_size` or CXRLENS_CACHE_SIZE", "give a larger --cache-size or CXRLENS_CACHE_SIZE"),
        ("resume it with them and `labels=/a b/c.csv`", "resume it with them and --labels /a b/c.csv"),
        ("or give a new `run_dir`", "or give a new --name"),
        ("no layer 'a`b': `/data/x`, `Upper`, `` and `1`", "no layer 'a`b': `/data/x`, `Upper`, `` and `1`"),
    ],
)
def test_arguments_become_options(said: str, shown: str) -> None:
    assert as_options(said) == shown
