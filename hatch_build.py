"""What a package index shows: where the project lives, and the README with links that hold away from the repository.

The project's address is not written down anywhere: it is that of the repository which the package is built from, as
``CXRLENS_HOME``, GitHub's own variables or the remote ``origin`` say. Where none does, there are no addresses, and
links stay as they are, which is said; `.ci/release` refuses to call that a release.
"""

from __future__ import annotations

import os
import re
import subprocess
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_REMOTE = re.compile(r"(?:https://(?:[^@/\s]+@)?|ssh://git@|git@)(?P<host>[\w.-]+)[:/](?P<path>[\w./-]+?)(?:\.git)?/?")
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<to>[^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def home_of(environment: Mapping[str, str], remote: str) -> str | None:
    """The project's address on the web; None where it is not known.

    Args:
        environment: of the process.
        remote: what git has as ``origin``; "" of none. User names and passwords in it are left out.
    """
    if given := environment.get("CXRLENS_HOME"):
        return given.rstrip("/")
    server, repository = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_REPOSITORY")
    if server and repository:
        return f"{server}/{repository}"
    found = _REMOTE.fullmatch(remote.strip())
    return f"https://{found['host']}/{found['path']}" if found else None


def revision_of(environment: Mapping[str, str]) -> str:
    """Whose files are linked to: of a tag that is built those of the tag, else the newest."""
    is_tag = environment.get("GITHUB_REF_TYPE") == "tag"
    return environment["GITHUB_REF_NAME"] if is_tag else "HEAD"


def absolute_links(text: str, home: str, revision: str) -> str:
    """Markdown whose links to files and pictures of the repository are addresses; blocks of code stay as they are."""

    def changed(found: re.Match[str]) -> str:
        to = found["to"]
        if re.match(r"[a-z]+:|#|/", to):
            return found[0]
        kind = "raw" if found["image"] else "blob"
        return f"{found['image']}[{found['text']}]({home}/{kind}/{revision}/{to})"

    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(changed, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _LINK.sub(changed, text[end:])])


def _origin(root: Path) -> str:
    if not (root / ".git").exists():  # another repository may lie around an unpacked archive
        return ""
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return ""
    return done.stdout


class CustomMetadataHook(MetadataHookInterface):
    """Sets ``readme`` and, where they are known, ``urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        text = (root / "README.md").read_text(encoding="utf-8")
        home = home_of(os.environ, _origin(root))
        if home is None:
            warnings.warn(
                "cxrlens: the project's address is not known, so that links of the README stay relative, and lead "
                "nowhere on a package index; name it with CXRLENS_HOME=https://...",
                stacklevel=2,
            )
        else:
            revision = revision_of(os.environ)
            text = absolute_links(text, home, revision)
            metadata["urls"] = {
                "Homepage": home,
                "Source": home,
                "Documentation": f"{home}/blob/{revision}/docs/index.md",
                "Changelog": f"{home}/blob/{revision}/CHANGELOG.md",
                "Issues": f"{home}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
