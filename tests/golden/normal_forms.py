"""Texts that say what a command wrote: what differs from run to run is replaced by words, pictures by coarse means.

A text may hold marks such as ``[exact 0123456789AB]``, the digest of what the text itself shows only coarsely. They
are for two versions on one machine; `without_marks` takes them out.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

GRID = 4
"""A picture is shown as the means of so many rows and columns."""
MANY = 24
"""A list of more numbers than that is shown by its length and mean."""

_MARK = re.compile(r" ?\[exact [0-9A-F]{12}\]")
_DATA_ADDRESS = re.compile(r"data:(image/[a-z+]+);base64,([A-Za-z0-9+/=]+)")
_POINTS = re.compile(r"^([\d.e-]+) [\d.e-]+ [\d.e-]+(;[\d.e-]+ [\d.e-]+ [\d.e-]+)*$")
_SHORT_LIST = re.compile(r"\[\n\s+([^\[\]{}]*?)\n\s+\]")
_BY_SHAPE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?( UTC)?"), "<time>"),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), "<date>"),
    (re.compile(r"'sha256-[A-Za-z0-9+/=]{44}'"), "'sha256-<digest>'"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<sha256>"),
    (re.compile(r"(?<=\.safetensors \()[0-9a-f]{8}(?=\))"), "<digest>"),
    (re.compile(r"\b(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{12,63}\b"), "<digest>"),
    (re.compile(r"(?<![\w.])(?<!exact )[0-9]{12}(?!\w|\.\d)"), "<digest>"),  # one in 300 has no letters
    (re.compile(r"\b127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"\b\d+(\.\d+)? images/s(, \d+:\d\d:\d\d left)?"), "<speed>"),
    (re.compile(r"(\"(?:seconds|duration|[a-z_]*_seconds|images_per_second)\": )[\d.e-]+"), r"\1<seconds>"),
    (re.compile(r"\b\d+(\.\d+)? (seconds|minutes|s|ms)\b"), "<duration>"),
)
# Objects that move with the code or the memory, as they are printed by Python.
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def mark(content: bytes | str) -> str:
    """A mark of some content."""
    digest = hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
    return f"[exact {digest[:12].upper()}]"  # in capitals, which `Words` leaves alone


def without_marks(text: str) -> str:
    """A text without its marks."""
    return _MARK.sub("", text)


@dataclass
class Words:
    """Replaces what differs from run to run.

    Attributes:
        version: of cxrlens.
        fixed: words by the text that they replace.
    """

    version: str
    fixed: dict[str, str] = field(default_factory=dict)

    def __call__(self, text: str) -> str:
        for given, word in self.fixed.items():
            text = text.replace(given, word)
        text = re.sub(rf"(?<![\d.]){re.escape(self.version)}(?![\d.])", "<version>", text)
        for shape, word in _BY_SHAPE:
            text = shape.sub(word, text)
        return _ADDRESS.sub("", _numbered(text))


def _numbered(text: str) -> str:
    """DICOM UIDs that were made here are called by the order of their appearance."""
    names: dict[str, str] = {}
    return re.sub(r"\b2\.25\.\d{20,}", lambda found: names.setdefault(found[0], f"<uid {len(names) + 1}>"), text)


# -- pictures and arrays ----------------------------------------------------------------------------------------------


def array_text(array: npt.NDArray[Any]) -> str:
    """Type, shape and coarse means of an array, and its mark."""
    kind = f"{array.dtype}{list(array.shape)}"
    if array.dtype.kind not in "fiub" or array.size == 0:
        return f"{kind} {mark(repr(array.tolist()))}"
    values = array.astype(np.float64)
    if array.size <= 8:
        return f"{kind} {' '.join(f'{value:.4f}' for value in values.ravel())} {mark(array.tobytes())}"
    if array.ndim == 2 and min(array.shape) >= GRID:
        return f"{kind} {_grid(values)} {mark(array.tobytes())}"
    finite = values[np.isfinite(values)]
    mean = f"{finite.mean():.4g}" if finite.size else "-"
    return f"{kind} mean {mean} finite {finite.size} {mark(array.tobytes())}"


def _grid(values: npt.NDArray[np.float64]) -> str:
    rows = [np.array_split(band, GRID, axis=1) for band in np.array_split(values, GRID, axis=0)]
    return " | ".join(" ".join(f"{cell.mean():.3f}" for cell in row) for row in rows)


def picture_text(content: bytes) -> str:
    """Format, size, mode and coarse means in [0, 1] of a picture, and the mark of its pixels."""
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image)
        grey = np.asarray(image.convert("L")) / 255
        return f"{image.format} {image.width} x {image.height} {image.mode} {_grid(grey)} {mark(pixels.tobytes())}"


def _data_address(found: re.Match[str]) -> str:
    content = base64.b64decode(found[2])
    return f"<{found[1]} {svg_text(content.decode()) if 'svg' in found[1] else picture_text(content)}>"


def svg_text(text: str) -> str:
    """How many elements of each kind a drawing has, what is written in it, and its mark."""
    lasting = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    counts = Counter(re.findall(r"<([a-zA-Z]+)[\s>/]", lasting))
    written = [*re.findall(r"<text[^>]*>([^<]*)<", lasting), *re.findall(r"<!-- (.*?) -->", lasting)]
    size = re.search(r"viewBox=\"([^\"]*)\"", lasting)
    shown = " ".join(f"{kind} {counts[kind]}" for kind in sorted(counts) if kind != "path")
    return f"SVG [{size[1] if size else ''}] {shown}; {' / '.join(written)} {mark(lasting)}"


# -- texts ------------------------------------------------------------------------------------------------------------


def json_text(value: Any) -> str:
    """JSON a line a field, in their order; short lists in one line, long lists of numbers by length and mean."""
    return _SHORT_LIST.sub(_in_one_line, json.dumps(_shortened(value), indent=1, ensure_ascii=False))


def _in_one_line(found: re.Match[str]) -> str:
    return f"[{' '.join(found[1].split())}]"


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(part) for key, part in value.items()}
    if isinstance(value, list):
        numbers = list(_numbers(value))
        if None not in numbers and numbers and len(numbers) > MANY:
            mean = sum(numbers) / len(numbers)
            return f"<{len(value)} parts of numbers, mean {mean:.4f}> {mark(json.dumps(value))}"
        return [_shortened(part) for part in value]
    if isinstance(value, str):
        return _DATA_ADDRESS.sub(_data_address, value)
    return value


def _numbers(value: Any) -> Iterator[Any]:
    """The numbers in nested lists; None where there is something else."""
    if isinstance(value, list):
        for part in value:
            yield from _numbers(part)
    else:
        yield value if isinstance(value, int | float) and not isinstance(value, bool) else None


def keys_text(value: Any, indent: str = "") -> str:
    """Names and kinds of what a JSON value holds, for values that tell of the machine."""
    if isinstance(value, dict):
        return "\n".join(
            f"{indent}{key}: {type(part).__name__}"
            + (f"\n{keys_text(part, indent + ' ')}" if isinstance(part, dict | list) and part else "")
            for key, part in value.items()
        )
    if isinstance(value, list) and value:
        return keys_text(value[0], indent)
    return f"{indent}{type(value).__name__}"


def help_text(text: str) -> str:
    """A command's help without the lines that the terminal draws and without padding."""
    lines = (re.sub(r"[\s│╭╮╰╯─┃┏┓┗┛━]+", " ", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line) + "\n" + mark(text)


class _Page(HTMLParser):
    """A line a tag, a text or a row of a table; scripts and styles by their mark, drawings by `svg_text`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.inside: list[str] = []
        self.data_type = ""
        self.row = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = [tag] if tag in ("script", "style") else []
        self.data_type = dict(attrs).get("type") or ""
        shown = "".join(f' {name}="{value}"' if value is not None else f" {name}" for name, value in attrs)
        self.lines.append(f"<{tag}{shown}>")
        if tag == "tr":
            self.row = len(self.lines) - 1

    def handle_endtag(self, tag: str) -> None:
        self.inside = []
        if tag == "tr":
            self.lines[self.row :] = [" ".join(self.lines[self.row :])]

    def handle_data(self, data: str) -> None:
        if self.inside and self.data_type == "application/json":
            self.lines.append(json_text(json.loads(data)))
        elif self.inside:
            self.lines.append(f"({self.inside[0]}) {mark(data)}")
        elif text := " ".join(data.split()):
            self.lines.append(text)


def html_text(text: str) -> str:
    """A page as lines."""
    drawn = re.sub(r"<svg.*?</svg>", lambda found: f"<p>{svg_text(found[0])}</p>", text, flags=re.DOTALL)
    page = _Page()
    page.feed(_DATA_ADDRESS.sub(_data_address, drawn))
    page.close()
    return "\n".join(page.lines)


# -- files ------------------------------------------------------------------------------------------------------------


def _safetensors(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(path, framework="np") as stored:
        names = sorted(stored.keys())
        digest = hashlib.sha256()
        kinds = []
        for name in names:
            tensor = stored.get_tensor(name)
            digest.update(tensor.tobytes())
            kinds.append(f"{name} {tensor.dtype}{list(tensor.shape)}")
        facts = {key: json.loads(text) for key, text in (stored.metadata() or {}).items()}
    return "\n".join([json_text(facts), *kinds, mark(digest.digest())])


def _onnx(path: Path) -> str:
    import onnx

    model = onnx.load(path)
    operations = Counter(node.op_type for node in model.graph.node)

    def shape(value: Any) -> str:
        sizes = [part.dim_param or part.dim_value for part in value.type.tensor_type.shape.dim]
        return f"{value.name} {onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)} {sizes}"

    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    return "\n".join(
        [
            *(f"input {shape(value)}" for value in model.graph.input),
            *(f"output {shape(value)}" for value in model.graph.output),
            *(f"opset {entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import),
            *(f"operation {name} {operations[name]}" for name in sorted(operations)),
            json_text(facts),
        ]
    )


SOURCE_DATES = ("20310101", "121314", "19610412")
"""Dates and times of the DICOM sources, which results take over; all others are of the moment."""


def _dicom(path: Path) -> str:
    from pydicom import dcmread
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

    dataset = dcmread(path)

    def timeless(_: Dataset, element: DataElement) -> None:
        if element.VR in ("DA", "TM", "DT") and str(element.value) and str(element.value) not in SOURCE_DATES:
            element._value = "<time>"

    dataset.walk(timeless)
    pixels = ""
    if "PixelData" in dataset:
        array = dataset.pixel_array
        pixels = f"pixels {array_text(array if array.ndim == 2 else array.mean(axis=-1).round())}"
        del dataset.PixelData
    del dataset.file_meta.FileMetaInformationGroupLength  # follows from the lengths of UIDs, which differ
    return f"{dataset.file_meta}\n{dataset}\n{pixels}"


def _archive(path: Path) -> str:
    with np.load(path, allow_pickle=False) as stored:
        return "\n".join(f"{name}: {array_text(stored[name])}" for name in sorted(stored.files))


def _lines_of_json(text: str) -> str:
    return "\n".join(json_text(json.loads(line)) for line in text.splitlines())


def _json_file(path: Path) -> str:
    value = json.loads(path.read_text("utf-8"))
    return keys_text(value) if path.name == "environment.json" else json_text(value)


def table_text(text: str) -> str:
    """CSV rows, their fields parted by `` | ``; of a list of points "PROBABILITY X Y;..." the highest probability."""
    rows = csv.reader(io.StringIO(text))
    return "\n".join(
        " | ".join(_POINTS.sub(lambda all_: f"{all_[1]} X Y;... {mark(all_[0])}", f) for f in row) for row in rows
    )


_OF_FILES: Mapping[str, Callable[[Path], str]] = {
    ".png": lambda path: picture_text(path.read_bytes()),
    ".jpg": lambda path: picture_text(path.read_bytes()),
    ".svg": lambda path: svg_text(path.read_text("utf-8")),
    ".html": lambda path: html_text(path.read_text("utf-8")),
    ".json": _json_file,
    ".jsonl": lambda path: _lines_of_json(path.read_text("utf-8")),
    ".csv": lambda path: table_text(path.read_text("utf-8")),
    ".npy": lambda path: array_text(np.load(path)),
    ".npz": _archive,
    ".safetensors": _safetensors,
    ".onnx": _onnx,
    ".dcm": _dicom,
    **dict.fromkeys((".md", ".txt", ".tex", ".yaml"), lambda path: path.read_text("utf-8")),
}


def file_text(path: Path) -> str:
    """What a file holds, as a text; nothing of a kind that is for cxrlens alone."""
    form = _OF_FILES.get(path.suffix)
    return "" if form is None else form(path)
