"""Why a radiograph is to be retaken: the list that readers choose from, and which of it means *affected*."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cxrlens.errors import UsageError
from cxrlens.files import write_json
from cxrlens.validation import first_fault

MOST_REASONS: Final = 35
"""As many as there are digits and letters to choose them by, without the one that asks for a retake."""


class Reason(BaseModel):
    """A reason for a retake.

    Attributes:
        id: that verdicts keep.
        title: that readers see.
        affected: whether an image that is retaken for it shows a foreign object, and is labelled so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern="^[a-z0-9_-]{1,40}$")]
    title: Annotated[str, Field(min_length=1, max_length=60)]
    affected: bool = False


Reasons: TypeAlias = tuple[Reason, ...]

DEFAULT_REASONS: Final[Reasons] = (
    Reason(id="foreign_object", title="Foreign object", affected=True),
    Reason(id="positioning", title="Positioning"),
    Reason(id="cut_off", title="Anatomy cut off"),
    Reason(id="underexposed", title="Underexposed"),
    Reason(id="overexposed", title="Overexposed"),
    Reason(id="motion", title="Motion"),
    Reason(id="inspiration", title="Too little inspiration"),
    Reason(id="equipment", title="Artefact of the equipment"),
    Reason(id="identification", title="Wrong patient, side or marker"),
    Reason(id="other", title="Other"),
)
"""After the kinds of reject reasons that reject analysis tells apart: AAPM Task Group Report 305 (Little et al.,
Journal of Applied Clinical Medical Physics 24, e13938, 2023)."""

_LIST = TypeAdapter(Annotated[Reasons, Field(max_length=MOST_REASONS)])


def read_reasons(path: Path) -> Reasons:
    """The list of a YAML or JSON file: entries with ``id``, ``title`` and ``affected``, false where left out.

    Raises:
        UsageError: when the file cannot be read, or holds no such list.
    """
    try:
        reasons = _LIST.validate_python(yaml.safe_load(path.read_text("utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: the reasons cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"{path}: is neither YAML nor JSON; write a list of reasons with id, title and affected"
        ) from error
    except ValidationError as error:
        raise UsageError(
            f"{path}: holds no reasons ({first_fault(error)}); write a list of at most {MOST_REASONS} entries such as "
            "{id: foreign_object, title: Foreign object, affected: true}"
        ) from error
    ids = [reason.id for reason in reasons]
    if len(set(ids)) < len(ids):
        twice = next(id_ for id_ in ids if ids.count(id_) > 1)
        raise UsageError(f"{path}: two reasons have the id {twice}; give each an id of its own")
    if not ids:
        raise UsageError(
            f"{path}: holds no reason; write one or more, or leave the file out for the list of docs/screening.md"
        )
    return reasons


def write_reasons(path: Path, reasons: Reasons) -> None:
    """Write the list as a whole."""
    write_json(path, _LIST.dump_python(reasons, mode="json"), private=True)
