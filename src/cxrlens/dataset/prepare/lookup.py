"""Finding the image that a table names."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath

from cxrlens.dataset.prepare.tree import Tree
from cxrlens.inputs.dataset.manifest import safe_name
from cxrlens.inputs.origin import FileOrigin, Origin


class Lookup:
    """Finds the files of a tree by what a CSV or JSON calls them."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        for name in self._tree.files:
            names.setdefault(PurePosixPath(name).name, []).append(name)
        return names

    def find(self, text: str, *, beside: str = "", anywhere: bool = False) -> Origin | str:
        """The file, or why there is none.

        It is looked for from a folder of the tree on, from the tree's root on, and at last by its bare name, which
        must then be the only one. The tree is searched only for what lies at none of the places named.

        Args:
            text: a path, or a bare name.
            beside: a folder of the tree.
            anywhere: also take a file outside the tree.
        """
        name = text.replace("\\", "/")
        candidates = dict.fromkeys((f"{beside}/{name}" if beside else name, name))
        for candidate in candidates:
            path = Path(self._tree.root, candidate)
            if (anywhere or safe_name(candidate)) and path.exists():
                return FileOrigin(path)
        for candidate in candidates:
            if candidate in self._tree.files:
                return self._tree.files[candidate]
        bare = self._by_name.get(PurePosixPath(name).name, [])
        if len(bare) == 1:
            return self._tree.files[bare[0]]
        if bare:
            return f"there are {len(bare)} images of this name, such as {bare[0]} and {bare[1]}"
        return f"there is no such image in {self._tree.root}"
