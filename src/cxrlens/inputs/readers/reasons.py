"""The reason why a file cannot be read: one printable line, whatever stands in the file."""

from __future__ import annotations


def one_line(text: str, longest: int = 200) -> str:
    """The text with every run of blanks and unprintable signs as one blank, cut where it gets long."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= longest else f"{line[:longest]} ..."


def reason_of(error: BaseException) -> str:
    """A library's message about damage, else the name of its error."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for them"
    return one_line(str(error)).rstrip(".:") or type(error).__name__
