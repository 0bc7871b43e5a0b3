"""The Comprehensive SR of one image: TID 1500, with the image's result and a TID 1410 region for each finding."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.valuerep import DA, TM

from cxrlens.dicom_out import codes as concepts
from cxrlens.dicom_out.equipment import NAME, Equipment
from cxrlens.dicom_out.regions import Vertices
from cxrlens.dicom_out.source import Source, carry_identity
from cxrlens.dicom_out.statement import NOTICE, Statement
from cxrlens.dicom_out.uids import derived_uid

_PROJECTION = {"CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA"}  # of which the image library wants more than size
_CROSS_SECTIONS = {"CT", "MR", "PT"}


def report(
    source: Source, statement: Statement, regions: Sequence[Vertices], equipment: Equipment, key: str
) -> ComprehensiveSR:
    """The statement on an image as a document in its study.

    Args:
        regions: closed polylines [n, 2] of (column, row), see `closed_regions`; one finding each.
        key: text that stands for image and result; the same key gives the same UIDs.
    """
    evidence = source.reference
    groups: list[MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations]
    groups = [_whole_image(source, statement, len(regions), equipment, key)]
    groups += [
        _finding(source, statement, number, region, equipment, key) for number, region in enumerate(regions, start=1)
    ]
    content = MeasurementReport(
        observation_context=_observer(equipment),
        procedure_reported=concepts.PLAIN_RADIOGRAPHY,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
        referenced_images=[_library_entry(source)],
    )
    document = ComprehensiveSR(
        evidence=[evidence],
        content=content[0],
        series_instance_uid=derived_uid(key, "SR series"),
        series_number=9901,
        sop_instance_uid=derived_uid(key, "SR"),
        instance_number=1,
        manufacturer=NAME,
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=f"{NAME}: {statement.words}, report; not a medical device",
        coding_schemes=[CodingSchemeIdentificationItem(concepts.SCHEME, name=concepts.SCHEME_NAME)],
        content_date=DA(equipment.time.date()),
        content_time=TM(equipment.time.time()),
    )
    carry_identity(document, source)
    equipment.sign(document)
    return document


def _observer(equipment: Equipment) -> ObservationContext:
    attributes = DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", equipment.version, equipment.sha256),
        name=f"{NAME} {equipment.version}",
        manufacturer_name=NAME,
        model_name=f"{NAME} {equipment.version} with {equipment.model}",
        serial_number=equipment.sha256,
    )
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=attributes)
    return ObservationContext(observer_device_context=observer)


def _library_entry(source: Source) -> Dataset:
    """The image as the image library describes it: of a projection with orientation and spacing, else size alone."""
    entry = source.reference
    spacing, orientation = source.pair("ImagerPixelSpacing"), source.header.get("PatientOrientation")
    described = spacing is not None and isinstance(orientation, MultiValue) and len(orientation) == 2
    if entry.Modality in _PROJECTION and described:
        entry.ImagerPixelSpacing, entry.PatientOrientation = list(spacing or ()), list(orientation)
    elif entry.Modality in _PROJECTION | _CROSS_SECTIONS:
        entry.Modality = "OT"
    return entry


def _whole_image(
    source: Source, statement: Statement, regions: int, equipment: Equipment, key: str
) -> MeasurementsAndQualitativeEvaluations:
    """TID 1501: probability and suggestion belong to the image, also where there is no place to point at."""
    reference = SourceImageForMeasurementGroup(source.header.SOPClassUID, source.header.SOPInstanceUID)
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(derived_uid(key, "image"), "Whole image"),
        algorithm_id=_algorithm(equipment),
        measurements=[_probability(statement)],
        qualitative_evaluations=[_suggestion(statement)],
        source_images=[reference],
    )
    if regions:
        places = "The regions show where the network looked for its decision; they are no outlines of objects."
    elif statement.has_findings:
        places = "No region is given: the map of the image is flat, or there is none."
    else:
        places = "No finding, hence no region."
    remarks = f" Remarks on the picture: {statement.remarks}" if statement.remarks else ""
    text = f"{statement.suggestion.meaning}: {statement.reason}.{remarks} {places} {NOTICE}"
    comment = TextContentItem(
        name=CodedConcept.from_code(concepts.COMMENT),
        value=text,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    group[0].ContentSequence.append(comment)
    return group


def _finding(
    source: Source, statement: Statement, number: int, region: Vertices, equipment: Equipment, key: str
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """TID 1410: a place that the suggestion rests on."""
    place = ImageRegion(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=region,
        source_image=SourceImageForRegion(source.header.SOPClassUID, source.header.SOPInstanceUID),
    )
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(derived_uid(key, "region", str(number)), f"Region {number}"),
        referenced_region=place,
        finding_type=concepts.FOREIGN_BODY,
        algorithm_id=_algorithm(equipment),
        measurements=[_probability(statement)],
        qualitative_evaluations=[_suggestion(statement)],
    )


def _algorithm(equipment: Equipment) -> AlgorithmIdentification:
    return AlgorithmIdentification(NAME, equipment.version, parameters=equipment.parameters, manufacturer=NAME)


def _probability(statement: Statement) -> Measurement:
    return Measurement(name=concepts.PROBABILITY, value=statement.probability, unit=concepts.NO_UNITS)


def _suggestion(statement: Statement) -> QualitativeEvaluation:
    return QualitativeEvaluation(name=concepts.QUALITY_ASSESSMENT, value=statement.suggestion)
