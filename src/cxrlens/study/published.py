"""Published values, to stand beside ours. Where a source gives one value for several rows, it is not repeated here."""

from __future__ import annotations

from typing import Any

PUBLISHED: dict[Any, Any] = {"dom": 0.001}
