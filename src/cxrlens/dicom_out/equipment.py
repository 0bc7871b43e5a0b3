"""The software that made a result, and the time."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset
from pydicom.valuerep import DA, DT, TM

from cxrlens import __version__
from cxrlens.inputs.readers.dicom import OWN_PICTURES
from cxrlens.inspection.model_facts import ModelFacts
from cxrlens.saliency.recorded_resize import RecordedResize

NAME: Final = OWN_PICTURES


@dataclass(frozen=True)
class Equipment:
    """The software with a model, as a device.

    Attributes:
        version: of cxrlens.
        model: name of the model file, in ASCII, so that each character set has its signs.
        sha256: of the model file.
        parameters: thresholds and map, a text each.
        resize: of the map.
        time: when the result was made, without a time zone, as DICOM's dates and times are.
    """

    version: str
    model: str
    sha256: str
    parameters: tuple[str, ...]
    resize: RecordedResize
    time: datetime.datetime

    @classmethod
    def of(cls, facts: ModelFacts, resize: RecordedResize) -> Equipment:
        """The one that has made a result with a map resized so; the time is now where the facts say none."""
        parameters = [f"model: {_ascii(facts.model)}", f"model SHA-256: {facts.model_sha256}"]
        parameters.append(f"retake threshold: {facts.threshold:.6g}")
        if facts.review_threshold is not None:
            parameters.append(f"review threshold: {facts.review_threshold:.6g}")
        if facts.method:
            parameters.append(f"map: {_ascii(facts.method)}, layers: {_ascii(facts.layers) or '-'}")
        if facts.precision != "f32":
            parameters.append(f"precision: {_ascii(facts.precision)}")
        if str(resize):
            parameters.append(f"map resize: {resize}")
        when = datetime.datetime.fromisoformat(facts.created) if facts.created else datetime.datetime.now().astimezone()
        local = when.astimezone().replace(tzinfo=None, microsecond=0)
        version = facts.cxrlens_version or __version__
        return cls(version, _ascii(facts.model), facts.model_sha256, tuple(parameters), resize, local)

    def sign(self, result: Dataset) -> None:
        """Write device and time of making into a result."""
        result.Manufacturer = NAME
        result.ManufacturerModelName = NAME
        result.SoftwareVersions = self.version
        result.DeviceSerialNumber = self.sha256[:64]
        result.InstanceCreationDate, result.InstanceCreationTime = DA(self.time.date()), TM(self.time.time())
        for item in result.get("ContributingEquipmentSequence") or ():
            item.ContributionDateTime = DT(self.time)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
