"""From a result to its record: outlines are made, preview and map are written. Done by the processes that read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from cxrlens.files import replacing
from cxrlens.inspection.map_png import map_png
from cxrlens.inspection.result import ImageResult
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.reading import ReadImage
from cxrlens.screening.record import ScreenedImage


@dataclass(frozen=True, eq=False)
class ResultToRecord:
    """An image without its grey levels, and its result."""

    image: ReadImage
    result: ImageResult

    @classmethod
    def of(cls, image: ReadImage, result: ImageResult) -> ResultToRecord:
        """Of an image that the network has seen."""
        return cls(replace(image, grey=None), result)


@dataclass(frozen=True, eq=False)
class DrawnResult:
    """A record, and the files that belong to it, which it names and which are not written yet.

    Attributes:
        picture: a JPEG; ``map`` a PNG, "" where there is no map.
    """

    record: ScreenedImage
    picture: bytes
    map: bytes = b""


@dataclass(frozen=True)
class Drawing:
    """Makes records of results, with outlines; picklable."""

    folder: ScreenedFolder

    def __call__(self, given: ResultToRecord) -> DrawnResult:
        """The record of an image, and its files."""
        image, result = given.image, given.result
        files = {"picture": self.folder.picture_file(image.key)}
        if result.map:
            files["map"] = self.folder.map_file(image.key)
        record = ScreenedImage(
            name=image.task.name,
            key=image.key,
            origin=image.origin,
            tags=image.tags,
            **{name: file.relative_to(self.folder.path).as_posix() for name, file in files.items()},
            **result.fields(),
        )
        return DrawnResult(record, image.preview, map_content(result))


@dataclass(frozen=True)
class Recording:
    """Makes records of results, and writes the files that belong to them; picklable."""

    folder: ScreenedFolder

    def __call__(self, given: ResultToRecord) -> ScreenedImage:
        """The record of an image, its preview and map being written.

        Done twice, it leaves the same.
        """
        return self.write(Drawing(self.folder)(given))

    def write(self, drawn: DrawnResult) -> ScreenedImage:
        """Write the files of a record; gives it."""
        self.write_picture(drawn.record.key, drawn.picture)
        if drawn.map:
            self.write_map(drawn.record.key, drawn.map)
        return drawn.record

    def write_picture(self, key: str, content: bytes) -> None:
        """Write the preview of an image of this content."""
        _write(self.folder.picture_file(key), content)

    def write_map(self, key: str, content: bytes) -> None:
        """Write its map."""
        _write(self.folder.map_file(key), content)


def map_content(result: ImageResult) -> bytes:
    """The file of a result's map, empty where it has none."""
    return map_png(result.map.values, compress_level=1) if result.map else b""


def _write(file: Path, content: bytes) -> None:
    with replacing(file, private=True) as partial:
        partial.write_bytes(content)
