"""What names of images are relative to: a folder, or an address of a server or bucket."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cxrlens.inputs.names import name_of, path_of, text_of
from cxrlens.inputs.origin import FileOrigin, Origin
from cxrlens.screening.remote.addresses import is_address
from cxrlens.screening.remote.taking import origin_of as remote_origin


@dataclass(frozen=True)
class RemoteRoot:
    """An address that names are below."""

    address: str

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        """Its last part."""
        return self.address.rpartition("/")[2]


Root: TypeAlias = Path | RemoteRoot


def root_of(text: str) -> Root:
    """The root of a text that `text_of_root` gave."""
    return RemoteRoot(text) if is_address(text) else path_of(text, Path())


def text_of_root(root: Root) -> str:
    """The root as records have it."""
    return root.address if isinstance(root, RemoteRoot) else text_of(root)


def named(source: Path | Origin, root: Root) -> tuple[Origin, str]:
    """The origin of a file or anything else that is screened, and its name in records."""
    if isinstance(source, Path):
        assert isinstance(root, Path)
        return FileOrigin(source), name_of(source, root)
    return source, source.below(Path())


def place_of(name: str, root: Root) -> str:
    """Where a user finds the image of a name: its path, or its address."""
    return f"{root.address}/{name}" if isinstance(root, RemoteRoot) else str(path_of(name, root))


def origin_of(name: str, root: Root) -> Origin:
    """The origin of the image of a name; credentials of a server are those of the environment."""
    if isinstance(root, RemoteRoot):
        return remote_origin(root.address, name)
    return FileOrigin(path_of(name, root))
