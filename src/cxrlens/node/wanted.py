"""Which of the images that are sent to a node it takes."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset

from cxrlens.dicom_out.equipment import NAME
from cxrlens.errors import UsageError
from cxrlens.inputs.readers import elements
from cxrlens.inputs.readers.reasons import one_line

DEFAULT_MODALITIES = ("CR", "DX")


@dataclass(frozen=True)
class Wanted:
    """The images that are asked for.

    Attributes:
        modalities: values of Modality; none for any.
        views: values of View Position; none for any. An image that does not tell its view is taken: many do not.
    """

    modalities: frozenset[str] = frozenset(DEFAULT_MODALITIES)
    views: frozenset[str] = frozenset()

    def refusal(self, header: Dataset) -> str:
        """Why an image is not taken, in the 64 signs of a DICOM status; "" of one that is."""
        modality = elements.text(header, "Modality").upper()
        view = elements.text(header, "ViewPosition").upper()
        if elements.text(header, "Manufacturer") == NAME:
            return "a result of this software, not a radiograph"
        if self.modalities and modality not in self.modalities:
            return f"modality {one_line(modality)[:16] or 'unknown'} is not asked for"
        if self.views and view and view not in self.views:
            return f"view {one_line(view)[:16]} is not asked for"
        return ""


def wanted_of(modalities: list[str] | None, views: list[str] | None) -> Wanted:
    """What is asked for, as a command line names it: values joined with commas, ``any`` for all.

    Raises:
        UsageError: when a name is none.
    """
    return Wanted(_named(modalities, "--modality", DEFAULT_MODALITIES), _named(views, "--view", ()))


def _named(texts: list[str] | None, option: str, otherwise: tuple[str, ...]) -> frozenset[str]:
    names = [
        name.strip().upper() for text in texts or [",".join(otherwise)] for name in text.split(",") if name.strip()
    ]
    if wrong := next((name for name in names if len(name) > 16 or not name.replace("_", "").isalnum()), None):
        raise UsageError(
            f"{option} takes names such as {', '.join(otherwise) or 'PA, AP'} joined with commas, not '{wrong}'"
        )
    return frozenset() if "ANY" in names else frozenset(names)
