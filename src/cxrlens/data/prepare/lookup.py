"""Finding the image that a table names."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from cxrlens.data.prepare.origin import FileOrigin, Origin
from cxrlens.data.prepare.tree import Tree


class Lookup:
    """Finds the files of a tree by what a CSV or JSON calls them."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._by_name: dict[str, list[str]] = {}
        for name in tree.files:
            self._by_name.setdefault(PurePosixPath(name).name, []).append(name)

    def find(self, text: str, *, beside: str = "", anywhere: bool = False) -> Origin | str:
        """The file, or why there is none.

        It is looked for from a folder of the tree on, from the tree's root on, and at last by its bare name, which
        must then be the only one.

        Args:
            text: a path, or a bare name.
            beside: a folder of the tree.
            anywhere: also take a file outside the tree, or one that does not look like an image.
        """
        name = text.replace("\\", "/")
        for candidate in (f"{beside}/{name}" if beside else name, name):
            if candidate in self._tree.files:
                return self._tree.files[candidate]
        if anywhere and (path := Path(self._tree.root, text)).exists():
            return FileOrigin(path)
        bare = self._by_name.get(PurePosixPath(name).name, [])
        if len(bare) == 1:
            return self._tree.files[bare[0]]
        if bare:
            return f"there are {len(bare)} images of this name, such as {bare[0]} and {bare[1]}"
        return f"there is no such image in {self._tree.root}"
