"""What is said of images that were read and look wrong, or were not taken as their files say."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cxrlens.inputs.unreadable import log_first

log = logging.getLogger(__name__)


def remarked(name: object, remarks: Sequence[str]) -> str:
    """An image's remarks as one line that names it."""
    return f"{name}: {' '.join(remarks)}"


def report_remarked(lines: Sequence[str]) -> None:
    """Log how many images have remarks, and the first of their lines, see `remarked`; nothing where there are none."""
    if not lines:
        return
    log.warning("images with remarks, which look wrong or were not taken as their files say: %d", len(lines))
    log_first(lines)
