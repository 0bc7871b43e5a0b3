"""The ways to make maps full-size that a study compares, as a plan writes them."""

from __future__ import annotations

from dataclasses import replace

from cxrlens.errors import UsageError
from cxrlens.saliency.fusion import COMBINATIONS, Fusion
from cxrlens.saliency.resizing import GRIDS, INTERPOLATIONS, MapResize

FLIP = "flip"
_SMOOTH = "smooth="
_RESIZES = [str(MapResize(grid, between)) for grid in GRIDS for between in INTERPOLATIONS]


def parse_fusion(text: str, combination: str) -> tuple[str, Fusion]:
    """A fusion as a plan writes it, and its one name in tables and records.

    Args:
        text: "GRID INTERPOLATION", then in any order a combination, "smooth=SIGMA" (pixels of the input) and "flip".
        combination: of several layers where the text names none.

    Raises:
        ValueError: in one sentence that names the known words.
    """
    words = text.split()
    resize, rest = " ".join(words[:2]), words[2:]
    if resize not in _RESIZES:
        raise ValueError(f"a resize is one of {', '.join(_RESIZES)}; not '{resize}'")
    fusion = Fusion(combination, resize=MapResize(*words[:2]))
    for word in rest:
        if word in COMBINATIONS:
            fusion = replace(fusion, combination=word)
        elif word == FLIP:
            fusion = replace(fusion, flip=True)
        elif word.startswith(_SMOOTH):
            fusion = replace(fusion, smooth=_sigma(word))
        else:
            raise ValueError(
                f"behind '{resize}' may stand {', '.join(COMBINATIONS)}, smooth=SIGMA or flip; not '{word}'"
            )
    return _name(fusion, combination), fusion


def _sigma(word: str) -> float:
    try:
        sigma = float(word.removeprefix(_SMOOTH))
        Fusion(smooth=sigma).check(())
    except (ValueError, UsageError) as error:
        raise ValueError(f"smooth takes a number of pixels above 0, such as smooth=2; not '{word}'") from error
    return sigma


def _name(fusion: Fusion, combination: str) -> str:
    """Such as "centres bicubic geometric smooth=2 flip"; without the combination that needs no word."""
    words = [str(fusion.resize)]
    if fusion.combination != combination:
        words.append(fusion.combination)
    if fusion.smooth is not None:
        words.append(f"{_SMOOTH}{fusion.smooth:g}")
    if fusion.flip:
        words.append(FLIP)
    return " ".join(words)
