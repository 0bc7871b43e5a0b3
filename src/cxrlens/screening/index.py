"""What results.jsonl holds already, in a few hundred bytes an image."""

from __future__ import annotations

from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.record import ScreenedImage


class Index:
    """Where in a folder's results the newest line of a name begins, and one of each content that could be read."""

    def __init__(self, folder: ScreenedFolder) -> None:
        self.folder = folder
        self._names: dict[str, int] = {}
        self._contents: dict[bytes, int] = {}
        for begin, image in folder.lines():
            self._add(image, begin)

    def named(self, name: str) -> ScreenedImage | None:
        """The newest result of this name."""
        begin = self._names.get(name)
        return None if begin is None else self.folder.result_at(begin)

    def of_content(self, key: str) -> ScreenedImage | None:
        """A result of this content, whatever its name."""
        begin = self._contents.get(bytes.fromhex(key))
        return None if begin is None else self.folder.result_at(begin)

    def append(self, images: list[ScreenedImage]) -> None:
        """Add results to the folder, but for those that say what the newest of their name says already."""
        new: dict[str, ScreenedImage] = {}
        for image in images:
            if (new.get(image.name) or self.named(image.name)) != image:
                new[image.name] = image
        for image, begin in zip(new.values(), self.folder.append([*new.values()]) if new else (), strict=True):
            self._add(image, begin)

    def _add(self, image: ScreenedImage, begin: int) -> None:
        self._names[image.name] = begin
        if image.status == "ok":
            self._contents[bytes.fromhex(image.key)] = begin
