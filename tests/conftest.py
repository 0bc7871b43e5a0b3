"""Tests keep decoded images in a folder of their own, never in the user's cache, and draw the same examples each time.

A slow machine is no failure: hypothesis has no limit of time.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from cxrlens.data.cache.location import FOLDER_VARIABLE, SIZE_VARIABLE

settings.register_profile("tests", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        patch.delenv(SIZE_VARIABLE, raising=False)
        yield
