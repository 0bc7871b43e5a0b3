"""Tests keep decoded images in a folder of their own, never in the user's cache."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cxrlens.data.cache.location import FOLDER_VARIABLE, SIZE_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        patch.delenv(SIZE_VARIABLE, raising=False)
        yield
