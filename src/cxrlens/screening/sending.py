"""DICOM results of a screening on their way to destinations: none is sent twice, none is forgotten."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydicom import dcmread

from cxrlens.delivery.credentials import read_credentials
from cxrlens.delivery.destinations import DeliveryFailed, DeliverySettings, Destination, open_destination
from cxrlens.delivery.outbox import Delivery, Outbox
from cxrlens.dicom_out import files_of, paths_of
from cxrlens.dicom_out.results import FOLDER
from cxrlens.errors import ServerLostError
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.wording import counted

log = logging.getLogger(__name__)

OUTBOX: Final = "outbox.sqlite"
_REPORT = ".sr.dcm"


def open_sending(addresses: Sequence[str], credentials: Path | None, ca_file: Path | None) -> Sending:
    """Sends to these addresses, see `open_destination`.

    Args:
        credentials: file of them, see `read_credentials`.
        ca_file: certificates that are trusted.

    Raises:
        UsageError: when an address or the credentials cannot be used.
    """
    settings = DeliverySettings(credentials=read_credentials(credentials), ca_file=ca_file)
    return Sending([open_destination(address, settings) for address in dict.fromkeys(addresses)])


class Sending:
    """Sends the DICOM results of a screened folder; what does not arrive is kept, and sent by the next run."""

    def __init__(self, destinations: Sequence[Destination]) -> None:
        self._destinations = destinations
        self._outbox: Outbox | None = None
        self._put: dict[str, int] = {}  # times of change of reports, by name
        self._failures: dict[str, str] = {}
        self._refused = 0

    def send(self, folder: ScreenedFolder) -> None:
        """Send what was not sent yet; a destination that fails is tried again the next time."""
        if self._outbox is None:
            self._outbox = Outbox(folder.path / OUTBOX)
            self._outbox.try_refused()
        self._collect(folder.path / FOLDER, self._outbox)
        for destination in self._destinations:
            self._deliver(destination, self._outbox)

    def finish(self) -> None:
        """Say what was sent, and close the outbox.

        Raises:
            ServerLostError: when not everything has arrived.
        """
        if self._outbox is None:
            return
        tallies = self._outbox.tallies()
        self._outbox.close()
        for destination in self._destinations:
            tally = tallies.get(destination.name)
            if tally is None:
                continue
            log.info("%s: has taken the DICOM results of %d images", destination.name, tally.delivered)
            if left := tally.waiting + tally.refused:
                raise ServerLostError(
                    f"the DICOM results of {counted(left, 'image')} have not arrived: "
                    f"{self._failures.get(destination.name, '')}; they are kept, and the same command sends them"
                )

    def _collect(self, folder: Path, outbox: Outbox) -> None:
        """Put results into the outbox, by the UID of their report: another result of an image is another one."""
        if not folder.is_dir():
            return
        names = [destination.name for destination in self._destinations]
        for report in folder.glob(f"*{_REPORT}"):
            changed = report.stat().st_mtime_ns
            if self._put.get(report.name) == changed:
                continue
            stem = report.with_name(report.name.removesuffix(_REPORT))
            if not all(file.exists() for file in paths_of(stem)):
                continue
            uid = dcmread(report, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID
            outbox.put(str(uid), files_of(stem), names)
            self._put[report.name] = changed

    def _deliver(self, destination: Destination, outbox: Outbox) -> None:
        while delivery := outbox.due(destination.name, early=True):
            try:
                destination.deliver(outbox.paths(delivery))
            except DeliveryFailed as error:
                self._failures[destination.name] = error.sentence
                log.warning("%s; the results are kept", error.sentence)
                if error.again:
                    outbox.failed(delivery, error.sentence)
                    return
                outbox.refused(delivery, error.sentence)
            except FileNotFoundError as error:
                self._gone(delivery, outbox, f"{error.filename}: is gone, and was never sent")
            else:
                outbox.delivered(delivery)

    def _gone(self, delivery: Delivery, outbox: Outbox, sentence: str) -> None:
        self._failures[delivery.destination] = sentence
        outbox.refused(delivery, sentence)
        log.warning("%s", sentence)
