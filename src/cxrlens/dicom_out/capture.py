"""The Secondary Capture of one image: a picture in colour that any viewer shows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
from highdicom import CoordinateSystemNames
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless
from pydicom.valuerep import DA, TM, format_number_as_ds

from cxrlens.dicom_out.codes import SOURCE_IMAGE
from cxrlens.dicom_out.equipment import NAME, Equipment
from cxrlens.dicom_out.source import Source, carry_identity
from cxrlens.dicom_out.statement import NOTICE, Statement
from cxrlens.dicom_out.uids import derived_uid

_LOSSY = {JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless}


def capture(
    source: Source,
    statement: Statement,
    picture: npt.NDArray[np.uint8],
    size: tuple[int, int],
    equipment: Equipment,
    key: str,
) -> SCImage:
    """A picture uint8 [rows, columns, 3] as an image in the source's study.

    Args:
        size: (height, width) that the source has in the picture, whose top-left corner it fills.
        key: text that stands for image and result; the same key gives the same UIDs.
    """
    image = SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system=CoordinateSystemNames.PATIENT,
        study_instance_uid=source.header.StudyInstanceUID,
        series_instance_uid=derived_uid(key, "SC series"),
        series_number=9902,
        sop_instance_uid=derived_uid(key, "SC"),
        instance_number=1,
        manufacturer=NAME,
        patient_orientation=("L", "F"),  # a stand-in: the source's own follows, which may be empty
        series_description=f"{NAME}: {statement.words}, overlay; not a medical device",
    )
    image.PatientOrientation = source.header.get("PatientOrientation")
    image.BodyPartExamined = source.header.get("BodyPartExamined") or "CHEST"
    image.ConversionType = "WSD"
    image.DateOfSecondaryCapture, image.TimeOfSecondaryCapture = DA(equipment.time.date()), TM(equipment.time.time())
    image.ContentDate, image.ContentTime = image.DateOfSecondaryCapture, image.TimeOfSecondaryCapture
    resize = f" (resize: {equipment.resize})" if str(equipment.resize) else ""
    image.DerivationDescription = (
        f"{NAME} {equipment.version}: window applied, saliency map{resize}, contours and caption drawn. {NOTICE}"
    )
    _refer(image, source, whole=size == (source.header.Rows, source.header.Columns))
    _carry_spacing(image, source, size)
    _carry_compression(image, source)
    if source.header.get("BurnedInAnnotation"):  # the caption names no patient, but the picture shows the source
        image.BurnedInAnnotation = source.header.BurnedInAnnotation
    carry_identity(image, source)
    equipment.sign(image)
    return image


def _refer(image: Dataset, source: Source, *, whole: bool) -> None:
    """From which image it was derived; ``whole``: pixel for pixel at the same place."""
    item = Dataset()
    item.ReferencedSOPClassUID = source.header.SOPClassUID
    item.ReferencedSOPInstanceUID = source.header.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID = source.header.SeriesInstanceUID
    series.ReferencedInstanceSequence = Sequence([item])
    image.ReferencedSeriesSequence = Sequence([series])
    origin = Dataset()
    origin.update(item)
    origin.PurposeOfReferenceCodeSequence = Sequence([CodedConcept.from_code(SOURCE_IMAGE)])
    origin.SpatialLocationsPreserved = "YES" if whole else "NO"
    image.SourceImageSequence = Sequence([origin])


def _carry_spacing(image: Dataset, source: Source, size: tuple[int, int]) -> None:
    """Distances of pixels in the patient, where the source has them; of those at the detector only the aspect."""
    header = source.header
    sides = [stored / shown for stored, shown in zip((header.Rows, header.Columns), size, strict=True)]
    spacing = source.pair("PixelSpacing")
    if spacing is not None:
        scaled = [value * side for value, side in zip(spacing, sides, strict=True)]
        image.PixelSpacing = [format_number_as_ds(value) for value in scaled]
        for keyword in ("PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription"):
            if header.get(keyword):
                setattr(image, keyword, header[keyword].value)
        return
    aspect = source.pair("ImagerPixelSpacing") or source.pair("PixelAspectRatio")
    if aspect is not None and aspect[0] != aspect[1]:
        ratio = Fraction(aspect[0] / aspect[1]).limit_denominator(1000)
        image.PixelAspectRatio = [ratio.numerator, ratio.denominator]


def _carry_compression(image: Dataset, source: Source) -> None:
    """Once lossy, always lossy."""
    lossy = source.header.get("LossyImageCompression") or ("01" if source.syntax in _LOSSY else "00")
    image.LossyImageCompression = lossy
    if lossy == "01":
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if source.header.get(keyword):
                setattr(image, keyword, source.header[keyword].value)
