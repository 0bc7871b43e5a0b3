"""From a result to its record: outlines are made, preview and map are written. Done by the processes that read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from cxrlens.files import replacing
from cxrlens.inspection.map_png import map_png
from cxrlens.inspection.result import ImageMap, ImageResult
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


@dataclass(frozen=True)
class Recording:
    """Makes records of results, and the files that belong to them; picklable."""

    folder: ScreenedFolder

    def __call__(self, given: ResultToRecord) -> ScreenedImage:
        """The record of an image, its preview and map being written.

        Done twice, it leaves the same.
        """
        image, result = given.image, given.result
        files = {"picture": self.write_picture(image)}
        if result.map:
            files["map"] = self.write_map(image.key, result.map)
        return ScreenedImage(
            name=image.task.name,
            key=image.key,
            origin=image.origin,
            tags=image.tags,
            **{name: file.relative_to(self.folder.path).as_posix() for name, file in files.items()},
            **result.fields(),
        )

    def write_picture(self, image: ReadImage) -> Path:
        """Write an image's preview; gives the file."""
        return _written(self.folder.picture_file(image.key), image.preview)

    def write_map(self, key: str, map_: ImageMap) -> Path:
        """Write the map of an image of this content; gives the file."""
        return _written(self.folder.map_file(key), map_png(map_.values, compress_level=1))


def _written(file: Path, content: bytes) -> Path:
    with replacing(file, private=True) as partial:
        partial.write_bytes(content)
    return file
