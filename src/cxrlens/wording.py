"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, one: str, several: str = "") -> str:
    """How many of something: ``1 image``, ``1,200 images``; ``several`` where that is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def are(number: int) -> str:
    """``is`` of one, ``are`` of several."""
    return "is" if number == 1 else "are"
