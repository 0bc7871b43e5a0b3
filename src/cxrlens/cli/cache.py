"""``cxrlens data cache``."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrlens.cli.console import show_json, show_lines
from cxrlens.cli.options import CacheDir, Json
from cxrlens.wording import counted


def command(
    clear: Annotated[bool, typer.Option("--clear", help="Remove what no running training uses.")] = False,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Show the decoded images that trainings keep for each other, or remove them."""
    from cxrlens.api.arguments import store_of
    from cxrlens.inputs.cache.location import format_size

    store = store_of(cache_dir)
    before = store.clear() if clear else None
    held = store.contents()
    groups = {name: {"entries": entries, "size": size} for name, (entries, size) in held.groups.items()}
    values = {"folder": store.folder, "size": held.size, "entries": held.entries, "in_use": held.in_use,
              "limit": store.limit, "groups": groups}  # fmt: skip
    if json:
        removed = {"entries": before.entries - held.entries, "size": before.size - held.size} if before else None
        show_json(values | {"removed": removed})
        return
    lines = [f"folder: {store.folder}"]
    if before:
        lines.append(
            f"removed: {counted(before.entries - held.entries, 'image')}, {format_size(before.size - held.size)}"
        )
    lines.append(
        f"holds: {counted(held.entries, 'image')}, {format_size(held.size)} of at most {format_size(store.limit)}"
    )
    lines += [
        f"  {name}: {counted(part['entries'], 'image')}, {format_size(part['size'])}" for name, part in groups.items()
    ]
    if held.in_use:
        lines.append(f"in use by running trainings: {counted(held.in_use, 'image')}")
    show_lines(lines)
