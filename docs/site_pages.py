"""Pages of the site that are made when it is built, and links that leave it; a hook of MkDocs, see mkdocs.yml."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File

from cxrlens import api
from cxrlens.models.registry import ARCHITECTURES
from cxrlens.training.recipe import PRESETS, Augmentation, Recipe

ROOT = Path(__file__).parents[1]

_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<to>\.\.?/[^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made of the code."""
    made = {"functions": functions, "commands": commands, "architectures": architectures, "recipe": recipe}
    for name, text in made.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to files of the repository that are no pages: addresses where its home is known, else their text."""
    here = PurePosixPath(page.file.src_uri).parent

    def changed(found: re.Match[str]) -> str:
        file, _, anchor = found["to"].partition("#")
        path = (ROOT / "docs" / here / file).resolve()
        if path.is_relative_to(ROOT / "docs") or not path.exists():
            return found[0]
        if not config.repo_url:
            return found["text"]
        address = f"{config.repo_url.rstrip('/')}/blob/HEAD/{path.relative_to(ROOT).as_posix()}"
        return f"[{found['text']}]({address}{f'#{anchor}' if anchor else ''})"

    return _LINK.sub(changed, markdown)


def functions() -> str:
    """The public functions and their results, from their docstrings."""
    names = [name for name in api.__all__ if name[0].islower()]
    results = [name for name in api.__all__ if name[0].isupper()]
    lines = ["# Functions", "", "In use: [the Python API](../api.md). All are names of `cxrlens.api`.", ""]
    lines += [f"::: {api.HOMES[name]}.{name}\n" for name in names]
    lines += ["## Results", ""]
    lines += [f"::: {getattr(api, name).__module__}.{getattr(api, name).__qualname__}\n" for name in results]
    lines += ["## Errors", "", "::: cxrlens.errors\n    options: {show_root_heading: false, members_order: source}\n"]
    return "\n".join(lines)


def commands() -> str:
    """Every command with its options, as Typer describes it."""
    import typer
    from typer.cli import get_docs_for_click

    from cxrlens.cli.main import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="cxrlens")
    return get_docs_for_click(obj=command, ctx=context, name="cxrlens", title="Commands").replace("<", "&lt;")


def architectures() -> str:
    """The registry of networks."""
    from cxrlens.saliency.stages import find_stages

    lines = [
        "# Architectures",
        "",
        "`--arch` takes these, and those of [timm and torchvision](../networks.md). `last` and `combined` are the "
        "layers that maps are made of.",
        "",
    ]
    lines += ["| name | parameters | last | combined |", "|---|---|---|---|"]
    for name, architecture in ARCHITECTURES.items():
        network = architecture.make(2)
        stages = find_stages(network, (3, *architecture.image_size))
        size = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        combined = ", ".join(f"`{layer}`" for layer in stages.combined)
        lines.append(f"| `{name}` | {size:.1f} million | `{stages.last}` | {combined} |")
    return "\n".join(lines) + "\n"


def recipe() -> str:
    """The values of a recipe, with those of the presets."""
    lines = [
        "# Recipe values",
        "",
        "Keys of a recipe in YAML, and names for `--set NAME=VALUE`; `base` names the preset that a file changes.",
        "",
        f"| value | meaning | {' | '.join(PRESETS)} |",
        "|---|---|" + "---|" * len(PRESETS),
    ]
    for name, field in Recipe.model_fields.items():
        if name != "augmentation":
            lines.append(_row(name, field, [getattr(preset, name) for preset in PRESETS.values()]))
    for name, field in Augmentation.model_fields.items():
        values = [getattr(preset.augmentation, name) for preset in PRESETS.values()]
        lines.append(_row(f"augmentation.{name}", field, values))
    return "\n".join(lines) + "\n"


def _row(name: str, field: Any, values: list[Any]) -> str:
    shown = " | ".join(f"`{value}`" for value in values)
    return f"| `{name}` | {field.description or ''} | {shown} |"
