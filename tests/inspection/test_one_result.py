"""An image has one result: the library, screen, explain and the server say the same of it."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import cxrlens
from cxrlens.explanation import run as explanation
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.inspection.record import ImageRecord
from cxrlens.inspection.result import ImageResult
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.saliency.explain import Row
from cxrlens.screening.run import screen
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.sources import take_sources
from cxrlens.serving.answers import Checked, WorklistImage
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings

METHOD, LAYERS = "normgrad_conv1x1", "combined"
SIZES = {"tall": (140, 72), "wide": (80, 156), "same": (96, 72)}


@pytest.fixture(scope="module")
def model_file(build_lively: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    preprocessing = Preprocessing(height=64, width=48, resize="letterbox")
    save_model(path, build_lively("resnet18", seed=2), ModelCard(architecture="resnet18", preprocessing=preprocessing))
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Radiographs of other aspects, each with a bright spot off the diagonal."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(4)
    for name, (height, width) in SIZES.items():
        rows, columns = np.mgrid[:height, :width]
        spot = np.exp(-((rows - 0.7 * height) ** 2 + (columns - 0.2 * width) ** 2) / 120)
        pixels = 120 * spot + 80 * random.random((height, width))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    return folder


async def served(model: QualityModel, files: list[Path]) -> list[dict[str, Any]]:
    """The server's answers to uploads of files."""
    app = create_app(ServerSettings(decoders=1), model)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client,
    ):
        answers = [await client.post("/api/check", files={"file": file.read_bytes()}) for file in files]
    return [answer.raise_for_status().json() for answer in answers]


def assert_alike(fields: dict[str, Any], expected: ImageResult) -> None:
    """The fields of another batch, whose last digits may be others."""
    for name, value in expected.fields().items():
        if name == "probability":
            assert fields[name] == pytest.approx(value, abs=1e-5)
        elif name == "contours":
            assert len(fields[name]) == len(value)
            for one, other in zip(fields[name], value, strict=True):
                for extreme in (np.min, np.max):
                    np.testing.assert_allclose(extreme(one, axis=0), extreme(other, axis=0), atol=0.35)
        elif name == "reason":
            assert fields[name].split()[0] == value.split()[0] == "probability"
            assert fields[name].split()[2:] == value.split()[2:]
        else:
            assert fields[name] == (list(value) if isinstance(value, tuple) else value), name


def test_all_say_the_same_of_an_image(model_file: Path, images: Path, tmp_path: Path) -> None:
    model = cxrlens.load(model_file, device="cpu")
    expected = {f"{name}.png": model.check(images / f"{name}.png") for name in SIZES}
    for name, check in expected.items():
        assert (check.height, check.width) == SIZES[Path(name).stem]
        assert (check.method, check.layers, check.flat) == (METHOD, LAYERS, ())
        assert check.model.sha256 == model.identity.sha256 != ""
        assert check.contours

    screen(take_sources([str(images)]), tmp_path / "screened", ScreeningSettings(model_file, maps="all", device="cpu"))
    lines = (tmp_path / "screened" / "results.jsonl").read_text("utf-8").splitlines()
    screened = {record["name"]: record for record in map(json.loads, lines)}
    assert screened.keys() == expected.keys()
    for name, record in screened.items():
        assert_alike(record, expected[name])

    answers = asyncio.run(served(model, [images / name for name in expected]))
    for (name, check), answer in zip(expected.items(), answers, strict=True):
        assert_alike(answer, check)
        assert answer["key"] == screened[name]["key"]

    settings = explanation.ExplanationSettings()
    explanation.explain_images([images], model, tmp_path / "explained", [Row(METHOD, LAYERS)], settings)
    with (tmp_path / "explained" / "explanations.csv").open(encoding="utf-8") as stream:
        rows = {row["image"]: row for row in csv.DictReader(stream)}
    assert rows.keys() == expected.keys()
    for name, row in rows.items():
        check = expected[name]
        assert float(row["probability"]) == pytest.approx(check.probability, abs=1e-5)
        assert (row["decision"], row["triage"]) == (check.decision, check.triage or "")
        assert (row["method"], row["layers"], row["flat"]) == (METHOD, LAYERS, "0")
        assert check.peak is not None
        assert (float(row["peak_y"]), float(row["peak_x"])) == pytest.approx(check.peak, abs=0.5 + 1e-6)
        assert check.map is not None
        np.testing.assert_allclose(np.load(tmp_path / "explained" / row["map"]), check.map.values, atol=1e-3)


def test_the_models_of_the_interface_have_all_fields_of_a_result(model_file: Path) -> None:
    """So that none is left out or has another type where it is written down."""
    check = cxrlens.load(model_file, device="cpu").check(np.zeros((30, 20)))
    for name in check.fields():
        kinds = [made.model_fields[name].annotation for made in (ImageRecord, WorklistImage)]
        assert kinds[0] == kinds[1]
        narrowed = Checked.model_fields[name].annotation
        assert narrowed == kinds[0] or narrowed | None == kinds[0], name
    order = [name for name in Checked.model_fields if name in ImageRecord.model_fields and name != "reason"]
    assert order == [name for name in ImageRecord.model_fields if name in order]
