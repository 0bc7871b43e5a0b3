"""Which images of an archive are wanted: by the study's date, the modality, the station."""

from __future__ import annotations

import datetime
import fnmatch
import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from cxrlens.dicom_out.equipment import NAME
from cxrlens.errors import UsageError

log = logging.getLogger(__name__)

_DATES = re.compile(r"(\d{8})?(-)?(\d{8})?")
_MODALITY = re.compile(r"[A-Z0-9_ ]{1,16}")
_NAMES = ("date", "modality", "station")


@dataclass(frozen=True)
class Selection:
    """What is asked for.

    Attributes:
        date: of the study, as DICOM has ranges: ``YYYYMMDD``, ``YYYYMMDD-YYYYMMDD``, ``YYYYMMDD-``, ``-YYYYMMDD``; ""
            for any.
        modalities: of the series; none for any.
        station: the Station Name of the series, in which ``*`` and ``?`` stand for any signs; "" for any.
    """

    date: str = ""
    modalities: tuple[str, ...] = ("CR", "DX")
    station: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str], where: str) -> Selection:
        """Of the query of an address.

        Raises:
            UsageError: when it cannot be understood.
        """
        if unknown := sorted(set(query) - set(_NAMES)):
            raise UsageError(f"{where}: there is no '{unknown[0]}' to select by; there are {', '.join(_NAMES)}")
        date, station = query.get("date", "").strip(), query.get("station", "").strip()
        _check_date(date, where)
        text = query.get("modality", ",".join(cls.modalities))
        modalities = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))
        if modalities == ("*",):
            modalities = ()
        elif not modalities or not all(map(_MODALITY.fullmatch, modalities)):
            raise UsageError(f"{where}: 'modality' takes such as CR,DX, or * for any; not '{text}'")
        if "\\" in station:
            raise UsageError(f"{where}: a station's name has no backslash")
        return cls(date, modalities, station)

    def __str__(self) -> str:
        parts = [
            " and ".join(self.modalities) or "any modality",
            f"of {self.date}" if self.date else "",
            f"of the station {self.station}" if self.station else "",
        ]
        return " ".join(filter(None, parts))

    def takes_date(self, date: str) -> bool:
        """Whether a study of this date is wanted."""
        if not self.date:
            return True
        first, dash, last = self.date.partition("-")
        if not dash:
            return date == first
        return bool(date) and (first or "0") <= date <= (last or "9")

    def takes_modality(self, modality: str) -> bool:
        """Whether a series of this modality is wanted."""
        return not self.modalities or modality.strip().upper() in self.modalities

    def takes_station(self, station: str) -> bool:
        """Whether a series of this station is wanted."""
        return not self.station or fnmatch.fnmatchcase(station.strip(), self.station)


@dataclass
class Sieve:
    """Holds what an archive gives against what was asked for: some give more, and say nothing of it.

    Attributes:
        given: series that were looked at.
    """

    selection: Selection
    given: int = 0
    _left_out: Counter[str] = field(default_factory=Counter)

    def takes_study(self, date: str) -> bool:
        """Whether a study is wanted."""
        return self._noted(self.selection.takes_date(date), "studies of another date")

    def takes_series(self, modality: str, station: str | None, manufacturer: str) -> bool:
        """Whether a series is wanted.

        Args:
            station: None where the archive does not tell.
            manufacturer: results of this program are not screened.
        """
        self.given += 1
        selection = self.selection
        if manufacturer == NAME:
            return self._noted(False, f"series of results that {NAME} made")
        if not selection.takes_modality(modality):
            return False  # studies hold many kinds
        if selection.station and station is None:
            return self._noted(False, "series whose station the archive does not tell")
        return selection.takes_station(station or "")

    def report(self, where: str) -> None:
        """Say what was left out that should not have come, or could not be told."""
        for words, count in self._left_out.items():
            log.warning("%s: left out %d %s", where, count, words)

    def _noted(self, is_taken: bool, words: str) -> bool:
        if not is_taken:
            self._left_out[words] += 1
        return is_taken


def _check_date(date: str, where: str) -> None:
    found = _DATES.fullmatch(date)
    days = [day for day in (found[1], found[3]) if day] if found else []
    try:
        parsed = [datetime.datetime.strptime(day, "%Y%m%d") for day in days]
    except ValueError:
        parsed = []
    is_whole = not date or (found is not None and len(parsed) == len(days) and days and (found[2] or len(days) == 1))
    if not is_whole:
        raise UsageError(
            f"{where}: 'date' takes a day such as 20260131, or a range such as 20260101-20260131 or 20260101-; "
            f"not '{date}'"
        )
    if len(parsed) == 2 and parsed[0] > parsed[1]:
        raise UsageError(f"{where}: the range of dates '{date}' ends before it begins")
