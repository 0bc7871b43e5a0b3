"""Compares two texts of `commands`: words exactly, numbers with a tolerance; digits differ between processors."""

from __future__ import annotations

import difflib
import math
import re

from normal_forms import without_marks

ABSOLUTE, RELATIVE = 2e-3, 2e-2
_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")
# Lines whose numbers hang on the last digits of floats: the peak of a map of the last layer often lies on a plateau at
# the border, and any of its pixels may come out the highest; a training draws its numbers out of all.
_LOOSE = re.compile(
    "|".join(
        (
            r"\"peak(_[xy])?\":",
            r"[|│>] (last|layer4\S*) [|│<]",
            r"^\w+\|(last|layer4[^|]*)\|",
            r"<td> [^<]*, (last|layer4\S*) <td> method <td",
            r"^<tr> <td> dev/affected/\S+ <td class=\"number\"> \d+ <td class=\"number\"> [\d.]+ <td",
            r"^In \d+ maps several places",
            r"\|points:",
            r"Graphic Data",
            r"^epoch \d",
            r"^bytes: ",
            r"^dev AUC \d",
        )
    )
)
# The demo's training follows the processor.
_OF_A_PROCESSOR = re.compile(r"(?:bf16-mixed|32-true)(?= precision)|(?<=-acc)\d\.\d+-auc\d\.\d+(?=\.safetensors)")
# How far an exported graph is from torch is rounding alone: its digits and its powers of ten follow the processor.
_PARITY = re.compile(
    r"(?<=^\"map\": )[^,]*|(?<=^\"map_mean\": )[^,]*|(?<=^\"changed\": )[^,]*|(?<=^\"exact\": )[^,]*"
    r"|(?<=^\"probability\": )[^,]*-\d\d(?=,)|(?<= by )[\d.e-]+(?= (?:at most|on average))"
    r"|(?<=average, )[\d.e-]+(?= at most)"
)
# Said every half a minute: of a slow machine.
_PROGRESS = re.compile(r": (?:.*, )?(?:at work for \d+:\d\d:\d\d|\d+:\d\d:\d\d left|<speed>)$")
_MOST = 12


def differences(frozen: str, found: str) -> list[str]:
    """What differs between two texts, a few lines; none where they agree."""
    before, now = _lines(frozen), _lines(found)
    if len(before) != len(now):
        marked = difflib.unified_diff(
            [_shape(line) for line in before], [_shape(line) for line in now], "frozen", "now"
        )
        return [line.rstrip() for line in marked][:_MOST]
    return [
        text
        for number, (one, other) in enumerate(zip(before, now, strict=True))
        if not _agree(one, other)
        for text in (f"line {number + 1} of {_part(before, number)}", f"- {one}", f"+ {other}")
    ][: 3 * _MOST]


def _lines(text: str) -> list[str]:
    lines = (" ".join(line.split()) for line in without_marks(text).splitlines())
    return [
        _PARITY.sub("<rounding>", _OF_A_PROCESSOR.sub("<of a processor>", line))
        for line in lines
        if not _PROGRESS.search(line)
    ]


def _shape(line: str) -> str:
    """A line with its fractions left out, so that a diff shows what is new or gone."""
    return _NUMBER.sub(lambda found: found[0] if _is_whole(found[0]) else "0.0", line)


def _part(lines: list[str], number: int) -> str:
    return next((line for line in reversed(lines[: number + 1]) if line.startswith("==== ")), "").removeprefix("==== ")


def _agree(one: str, other: str) -> bool:
    if one == other:
        return True
    if _NUMBER.sub("0", one) != _NUMBER.sub("0", other):
        return False
    return bool(_LOOSE.search(one)) or all(map(_close, _NUMBER.findall(one), _NUMBER.findall(other)))


def _close(one: str, other: str) -> bool:
    if one == other:
        return True
    if _is_whole(one) and _is_whole(other):
        return False
    return math.isclose(_value(one), _value(other), rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _is_whole(number: str) -> bool:
    return "." not in number and "e" not in number


def _value(number: str) -> float:
    return float(number.replace("−", "-"))
