"""The Presentation State (GSPS) of one image: its regions as graphics over the radiograph itself, for viewers that draw
no regions of a report.
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom import PresentationLUTShapeValues, PresentationLUTTransformation
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    TextJustificationValues,
    TextObject,
)
from pydicom import Dataset
from pydicom.valuerep import DA, TM

from cxrlens.dicom_out.equipment import NAME, Equipment
from cxrlens.dicom_out.regions import Vertices
from cxrlens.dicom_out.source import Source, carry_identity
from cxrlens.dicom_out.statement import NOTICE, Statement
from cxrlens.dicom_out.uids import derived_uid
from cxrlens.inputs.readers import elements

_DISPLAY_BITS = 8
_GREY = (
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "VOILUTFunction",
    "VOILUTSequence",
)
"""What makes stored values grey: a presentation state takes the place of the image's own."""

_LABEL = (0.02, 0.02, 0.6, 0.1)  # left, top, right, bottom of the words, as shares of the display


def can_present(source: Source) -> bool:
    """True where a presentation state shows the image as it is shown without: grey, its window being in the header.

    One without a window, or with a table of modality values, would turn dark.
    """
    header = source.header
    if int(header.get("SamplesPerPixel") or 1) != 1 or int(header.get("NumberOfFrames") or 1) != 1:
        return False
    if header.get("ModalityLUTSequence") or "PALETTE" in elements.text(header, "PhotometricInterpretation"):
        return False
    centres, widths = elements.numbers(header, "WindowCenter"), elements.numbers(header, "WindowWidth")
    has_window = bool(centres) and len(centres) == len(widths) and None not in (*centres, *widths)
    bits = elements.numbers(header, "BitsStored")
    return has_window or bool(header.get("VOILUTSequence")) or (bool(bits) and (bits[0] or 99) <= _DISPLAY_BITS)


def presentation(
    source: Source, statement: Statement, regions: Sequence[Vertices], equipment: Equipment, key: str
) -> GrayscaleSoftcopyPresentationState:
    """The regions and the statement drawn over the source, whose grey stays as it is.

    Args:
        regions: closed polylines [n, 2] of (column, row), see `closed_regions`.
        key: text that stands for image and result; the same key gives the same UIDs.
    """
    image = _referred(source)
    outlines = [
        GraphicObject(
            GraphicTypeValues.POLYLINE,
            region,
            AnnotationUnitsValues.PIXEL,
            tracking_id=f"Region {number}",
            tracking_uid=derived_uid(key, "region", str(number)),
        )
        for number, region in enumerate(regions, start=1)
    ]
    words = TextObject(
        f"{NAME}: {statement.words}. {NOTICE}",
        AnnotationUnitsValues.DISPLAY,
        bounding_box=_LABEL,
        text_justification=TextJustificationValues.LEFT,
    )
    layer = GraphicLayer("CXRLENS", 1, description="Where the network looked; no outlines of objects")
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=[image],
        series_instance_uid=derived_uid(key, "PR series"),
        series_number=9903,
        sop_instance_uid=derived_uid(key, "PR"),
        instance_number=1,
        manufacturer=NAME,
        manufacturer_model_name=NAME,
        software_versions=equipment.version,
        device_serial_number=equipment.sha256[:64],
        content_label="CXRLENS",
        content_description=f"{NAME}: {statement.words}; not a medical device",
        graphic_annotations=[GraphicAnnotation([image], layer, graphic_objects=outlines, text_objects=[words])],
        graphic_layers=[layer],
        presentation_lut_transformation=PresentationLUTTransformation(presentation_lut_shape=_polarity(source)),
        series_description=f"{NAME}: {statement.words}, outlines; not a medical device",
    )
    state.PresentationCreationDate, state.PresentationCreationTime = (
        DA(equipment.time.date()),
        TM(equipment.time.time()),
    )
    state.BodyPartExamined = source.header.get("BodyPartExamined") or "CHEST"
    _keep_aspect(state, source)
    carry_identity(state, source)
    equipment.sign(state)
    return state


def _referred(source: Source) -> Dataset:
    image = source.reference
    image.SamplesPerPixel = 1
    for keyword in _GREY:
        if source.header.get(keyword) not in (None, ""):
            image[keyword] = source.header[keyword]
    return image


def _polarity(source: Source) -> PresentationLUTShapeValues:
    """A presentation state says by its own polarity what the image says by its photometric interpretation."""
    is_inverse = (
        elements.text(source.header, "PhotometricInterpretation") == "MONOCHROME1"
        or elements.text(source.header, "PresentationLUTShape") == "INVERSE"
    )
    return PresentationLUTShapeValues.INVERSE if is_inverse else PresentationLUTShapeValues.IDENTITY


def _keep_aspect(state: Dataset, source: Source) -> None:
    """Pixels that are not square are shown as such."""
    spacing = source.pair("PixelSpacing") or source.pair("ImagerPixelSpacing") or source.pair("PixelAspectRatio")
    if spacing is not None and spacing[0] != spacing[1]:
        (area,) = state.DisplayedAreaSelectionSequence
        del area.PresentationPixelAspectRatio
        area.PresentationPixelSpacing = list(spacing)
