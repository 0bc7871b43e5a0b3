"""Probabilities in 8-bit integers: quantised as by hand, beside a float graph that stays as it was, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_models import SIZE, Exported, changed, pictures
from PIL import Image
from scipy.signal import correlate

from command_line import Finished, cxrlens, refused
from cxrlens import processor
from cxrlens.errors import CxrlensError, NotAssessedError, UsageError
from cxrlens.export.int8_quality import Int8Quality
from cxrlens.export.training_images import TrainingImages
from cxrlens.inputs.dataset.layouts import Item
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inspection.onnx_inspector import load_onnx
from cxrlens.models import onnx_sessions
from cxrlens.models.onnx_file import OnnxModel, read_onnx
from cxrlens.models.onnx_sessions import open_session
from cxrlens.models.precision import resolve_precision
from cxrlens.processor import cpu_multiplies_int8
from cxrlens.screening.engines import open_inspector
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.store.store import Store
from cxrlens.serving.served_model import served

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

needs_units = pytest.mark.skipif(not cpu_multiplies_int8(), reason="int8 is refused on this processor")

GREY = np.stack([picture[:90, :90][None] for picture in pictures(3)])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 pictures without labels."""
    path = tmp_path_factory.mktemp("training")
    for seed in range(5):
        for index, picture in enumerate(pictures(5, seed)):
            Image.fromarray(np.rint(picture * 255).clip(0, 255).astype(np.uint8)).save(path / f"{seed}-{index}.png")
    return path


@pytest.fixture(scope="session")
def with_int8(exported: Exported, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cxrlens.export.int8 import add_int8

    file = tmp_path_factory.mktemp("int8") / "model.onnx"
    file.write_bytes(exported.file.read_bytes())
    add_int8(file, TrainingImages.of(folder))
    return file


@pytest.fixture(scope="session")
def thresholds(exported: Exported, folder: Path) -> dict[str, float]:
    """Between which the pictures lie in equal parts."""
    model = read_onnx(exported.file)
    grey = [
        model.card.preprocessing.resized(np.asarray(Image.open(file), np.float32) / 255) for file in folder.iterdir()
    ]
    probabilities = np.sort(model.run(np.stack(grey), maps=False).probability)
    review, retake = (float(probabilities[place : place + 2].mean()) for place in (8, 16))
    return {"threshold": retake, "review_threshold": review}


@pytest.fixture(scope="session")
def divided(
    exported: Exported, with_int8: Path, thresholds: dict[str, float], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    file = tmp_path_factory.mktemp("divided") / "model.onnx"
    return changed(replace(exported, file=with_int8), file, **thresholds)


def grey_of(model: OnnxModel) -> np.ndarray:
    return np.stack([model.card.preprocessing.resized(picture) for picture in pictures(5, seed=9)])


def small_graph() -> tuple[Any, dict[str, np.ndarray]]:
    """A convolution of 3 x 3, a ReLU, means of the channels, and a linear layer; and its weights."""
    random = np.random.default_rng(0)
    spread = np.array([1, 3, 0.2, 9], np.float32)[:, None, None, None]
    weights = {
        "kernel": random.normal(size=(4, 1, 3, 3)).astype(np.float32) * spread,
        "bias": random.normal(size=4).astype(np.float32),
        "matrix": random.normal(size=(4, 2)).astype(np.float32),
        "offset": random.normal(size=2).astype(np.float32),
    }
    make, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [
        make("Conv", ["grey", "kernel", "bias"], ["c"], name="conv"),
        make("Relu", ["c"], ["a"], name="relu"),
        make("GlobalAveragePool", ["a"], ["m"], name="mean"),
        make("Flatten", ["m"], ["f"], name="flatten"),
        make("Gemm", ["f", "matrix", "offset"], ["logits"], name="linear"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [value("grey", onnx.TensorProto.FLOAT, ["N", 1, 90, 90])],
        [value("logits", onnx.TensorProto.FLOAT, ["N", 2])],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), weights


def tensors_of(model: Any) -> dict[str, np.ndarray]:
    return {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}


@needs_units
def test_numbers_are_those_of_integers_by_hand() -> None:
    import onnxruntime

    from cxrlens.export.int8 import quantised

    plain, weights = small_graph()
    model = quantised(plain, [GREY[:2], GREY[2:]])
    kernel, bias = weights["kernel"], weights["bias"]
    scales = np.abs(kernel).max((1, 2, 3)) / 127
    integers = np.rint(kernel / scales[:, None, None, None])
    tensors = tensors_of(model)
    np.testing.assert_array_equal(tensors["kernel_quantized"], integers)
    assert tensors["kernel_quantized"].dtype == np.int8
    np.testing.assert_allclose(tensors["kernel_scale"], scales, rtol=1e-6)

    def convolved(images: np.ndarray, kernels: np.ndarray) -> np.ndarray:
        return np.stack([[correlate(image[0], each[0], "valid") for each in kernels] for image in images])

    step = GREY.max() / 255  # grey begins at 0
    inputs = np.rint(GREY / step)
    exact = np.maximum(convolved(GREY.astype(np.float64), kernel) + bias[:, None, None], 0)
    steps = (step * scales)[:, None, None]
    sums = convolved(inputs, integers) + np.rint(bias / (step * scales))[:, None, None]
    out_step = exact.max() / 255
    outputs = np.rint(sums * steps / out_step).clip(0, 255)
    expected = (outputs * out_step).mean((2, 3)) @ weights["matrix"] + weights["offset"]
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(["logits"], {"grey": GREY})
    np.testing.assert_allclose(found, expected, atol=1e-3)
    in_floats = exact.mean((2, 3)) @ weights["matrix"] + weights["offset"]
    assert 1e-3 < np.abs(found - in_floats).max() < 0.1


@needs_units
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_the_float_graph_stays_as_it_was(exported: Exported, with_int8: Path, runtime: Any) -> None:
    pytest.importorskip("openvino")
    plain = read_onnx(exported.file, runtime=runtime)
    beside, int8 = (read_onnx(with_int8, runtime=runtime, precision=precision) for precision in ("f32", "int8"))
    assert (plain.precision, beside.precision, int8.precision) == ("f32", "f32", "int8")
    grey = grey_of(plain)
    expected, same, found = (model.run(grey) for model in (plain, beside, int8))
    for other in (same, found):
        np.testing.assert_array_equal(other.maps, expected.maps)
        np.testing.assert_array_equal(other.flat, expected.flat)
    np.testing.assert_array_equal(same.logits, expected.logits)
    change = np.abs(found.logits - expected.logits)
    assert 1e-4 < change.max() < 0.1 * np.ptp(expected.logits)
    assert found.probability.dtype == np.float64
    np.testing.assert_array_equal(int8.run(grey, maps=False).logits, found.logits)
    np.testing.assert_allclose(int8.run(grey[2:3], maps=False).logits, found.logits[2:3], rtol=1e-5)


@needs_units
def test_the_file_says_how_its_branch_was_made(exported: Exported, with_int8: Path, folder: Path) -> None:
    proto, before = onnx.load(with_int8), onnx.load(exported.file)
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} == {""}
    assert list(proto.graph.node)[: len(before.graph.node)] == list(before.graph.node)
    assert [each.name for each in proto.graph.output] == [*(each.name for each in before.graph.output), "int8_logits"]
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv" and node.name.startswith("int8_")]
    info = read_onnx(with_int8).info
    assert info.int8 is not None
    assert info.int8.model_dump() == {"data": folder.name, "images": 12, "seed": 0}
    assert info.model_copy(update={"int8": None}) == read_onnx(exported.file).info
    assert '"int8"' not in read_onnx(exported.file).info.to_metadata()
    integers = [
        each for each in proto.graph.initializer if each.data_type == onnx.TensorProto.INT8 and len(each.dims) == 4
    ]
    assert len(integers) == len(convolutions)
    added = with_int8.stat().st_size / exported.file.stat().st_size - 1
    assert 0.2 < added < 0.35


@needs_units
def test_an_image_without_numbers_is_not_assessed(with_int8: Path) -> None:
    inspector = load_onnx(with_int8, precision="int8")
    grey = np.full((2, 1, *SIZE), 0.5, np.float32)
    grey[1, 0, 3, 4] = np.nan
    sound, broken = inspector.inspect(grey, [SIZE, SIZE], maps="none")
    assert not sound.not_assessed
    with pytest.raises(NotAssessedError):
        _ = broken.decision


@needs_units
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_folder_is_screened_in_int8(
    divided: Path,
    folder: Path,
    tmp_path: Path,
    runtime: str,
) -> None:
    pytest.importorskip("openvino")

    def screen(precision: str, out: Path) -> Finished:
        given = ["screen", folder, "-m", divided, "-o", out, "--maps", "all", "--workers", 0, "--runtime", runtime]
        return cxrlens(*given, "--precision", precision)

    for precision in ("f32", "int8"):
        assert screen(precision, tmp_path / precision).code == 0
    plain, int8 = (ScreenedFolder(tmp_path / name) for name in ("f32", "int8"))
    assert (int8.info().runtime, int8.info().precision) == (runtime, "int8")
    found, expected = ({image.name: image for image in Store(each).results.newest()} for each in (int8, plain))
    assert found.keys() == expected.keys()
    assert sum(found[name].probability != expected[name].probability for name in found) > 20
    assert {image.triage for image in expected.values()} == {"pass", "review", "retake"}
    assert np.mean([found[name].triage == expected[name].triage for name in found]) >= 0.8
    for file in (plain.path / "maps").iterdir():
        assert (int8.path / "maps" / file.name).read_bytes() == file.read_bytes()
    assert "model model.onnx in int8" in (tmp_path / "int8" / "report.html").read_text()
    refused(screen("f32", tmp_path / "int8"), 2, "was screened with another --precision (int8, not f32)")


@needs_units
def test_maps_of_the_flagged_alone_cost_a_float_pass(
    divided: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their layer is the last, at which a map costs nothing beside a probability in float32."""
    inspector = load_onnx(divided, precision="int8")
    pixels = [np.asarray(Image.open(file), np.float32) / 255 for file in sorted(folder.iterdir())]
    grey = np.stack([inspector.card.preprocessing.resized(each) for each in pixels])
    every = inspector.inspect(grey, [SIZE] * len(grey))
    flagged = [result.is_flagged for result in every]
    assert set(flagged) == {True, False}
    seen: list[tuple[int, bool]] = []
    run = OnnxModel.run
    monkeypatch.setattr(
        OnnxModel,
        "run",
        lambda self, given, **how: (seen.append((len(given), how["maps"])), run(self, given, **how))[1],
    )
    results = inspector.inspect(grey, [SIZE] * len(grey), maps="flagged")
    assert seen == [(len(grey), False), (sum(flagged), True)]
    assert [result.probability for result in results] == [result.probability for result in every]
    assert [result.map is not None for result in results] == flagged


@needs_units
def test_a_server_says_int8(with_int8: Path) -> None:
    inspector = load_onnx(with_int8, precision="int8")
    assert served(inspector).precision == "int8"


@needs_units
def test_doctor_names_int8(exported: Exported, with_int8: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(file: Path) -> tuple[str, str]:
        findings = cxrlens("doctor", "--device", "cpu", "--json", "--model", file).json["findings"]
        (finding,) = (each for each in findings if each["name"] == "precision")
        return finding["status"], finding["detail"]

    assert found(exported.file) == ("ok", "float")
    named = f"float and int8 (calibrated with 12 images of {folder.name})"
    assert found(with_int8) == ("ok", named)
    monkeypatch.setattr(onnx_sessions, "cpu_multiplies_int8", lambda: False)
    status, detail = found(with_int8)
    assert status == "note"
    assert detail.startswith(f"{named}: int8 needs a processor with dot products")


@needs_units
def test_what_lacks_int8_is_refused_with_the_remedy(
    exported: Exported, with_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    with pytest.raises(
        UsageError, match=r"torch multiplies in f32 or bf16, not in int8; .*'cxrlens export --int8 DATA'"
    ):
        resolve_precision("int8", torch.device("cpu"))
    with pytest.raises(UsageError, match="not in int8"):
        open_inspector(ScreeningSettings(exported.source, precision="int8", device="cpu"))
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("flags : fpu avx_vnni\n")
    for runtime in ("onnx", "openvino"):
        with pytest.raises(UsageError, match=r"model\.onnx: has no branch of 8-bit integers; export .* --int8 DATA"):
            read_onnx(exported.file, runtime=runtime, precision="int8")
        with pytest.raises(UsageError, match="unknown precision 'int4': use auto, f32, bf16, int8"):
            open_session(with_int8, runtime, "int4")
        with pytest.raises(UsageError, match="int8 is for the processor: leave --device cuda out"):
            open_session(with_int8, runtime, "int8", "cuda")
        assert open_session(with_int8, runtime, "auto").precision != "int8"
    monkeypatch.setattr(onnx_sessions, "can_cut", lambda: False)
    with pytest.raises(UsageError, match=r"needs the package onnx, .*pip install 'cxrlens\[onnx\]'"):
        read_onnx(with_int8, precision="int8")
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2 avx512f\n")
    with pytest.raises(
        UsageError, match=r"int8 needs a processor with dot products of 8-bit integers .*take --precision f32"
    ):
        read_onnx(with_int8, precision="int8")


def test_the_images_are_of_the_training_split_and_drawn_by_a_seed(tmp_path: Path, folder: Path) -> None:
    files = sorted(folder.iterdir())
    for split in ("train", "dev"):
        for label in ("affected", "normal"):
            (tmp_path / split / label).mkdir(parents=True)
            for place, file in enumerate(files):
                (tmp_path / split / label / f"{place}.png").write_bytes(file.read_bytes())
    images = TrainingImages.of(tmp_path)
    drawn = [*images.calibrating, *images.checking]
    assert {item.path for item in drawn} == set((tmp_path / "train").rglob("*.png"))
    assert len(drawn) == 50
    assert (len(images.calibrating), len(images.checking)) == (25, 25)
    assert [item.path for item in images.calibrating] != sorted(item.path for item in images.calibrating)
    assert TrainingImages.of(tmp_path) == images
    few = tmp_path / "few"
    few.mkdir()
    for file in files[:19]:
        (few / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UsageError, match=r"few: holds 19 training images; --int8 needs 20, half to calibrate"):
        TrainingImages.of(few)
    with pytest.raises(UsageError, match="there is no split 'train'"):
        TrainingImages.of(_without_train(tmp_path))


def _without_train(data: Path) -> Path:
    (data / "train").rename(data / "other")
    return data


def test_at_most_two_hundred_calibrate_and_as_many_check(tmp_path: Path) -> None:
    for index in range(450):
        (tmp_path / f"{index}.png").touch()
    images = TrainingImages.of(tmp_path)
    assert (len(images.calibrating), len(images.checking)) == (200, 200)
    assert not {item.path for item in images.calibrating} & {item.path for item in images.checking}


def test_training_images_that_cannot_be_read_are_named(
    exported: Exported, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index in range(30):
        (tmp_path / f"{index}.png").write_text("no image")
    images = TrainingImages.of(tmp_path)
    with pytest.raises(UsageError, match="too few of its training images can be read for --int8; give other data"):
        list(images.batches(images.checking, exported.model.preprocessing))
    assert "15 training images could not be read and were left out" in caplog.text


@needs_units
def test_the_quality_is_counted_by_hand(with_int8: Path, folder: Path) -> None:
    drawn = TrainingImages.of(folder)
    checking = [Item(item.origin, label=place % 2) for place, item in enumerate(drawn.checking)]
    found = Int8Quality.of(with_int8, TrainingImages(folder, drawn.calibrating, checking))
    plain, int8 = read_onnx(with_int8), read_onnx(with_int8, precision="int8")
    pixels = [np.asarray(Image.open(item.path), np.float32) / 255 for item in checking]
    grey = np.stack([plain.card.preprocessing.resized(each) for each in pixels])
    odds = [np.subtract(*model.run(grey, maps=False).logits.T[::-1]) for model in (plain, int8)]
    change = np.abs(odds[1] - odds[0])

    def auc(values: np.ndarray) -> float:
        """The share of pairs in which the affected image has more."""
        return float(np.mean([one > other for one in values[1::2] for other in values[::2]]))

    assert found.images == len(checking)
    assert found.log_odds_median == pytest.approx(np.median(change), abs=1e-4)
    assert found.log_odds_most == pytest.approx(change.max(), abs=1e-4)
    assert found.auc_f32 == pytest.approx(auc(odds[0]))
    assert found.auc == pytest.approx(auc(odds[1]))
    suggestions = [
        [plain.card.triage(each) for each in model.run(grey, maps=False).probability] for model in (plain, int8)
    ]
    assert found.decisions_changed == sum(one != other for one, other in zip(*suggestions, strict=True))
    assert Int8Quality.of(with_int8, drawn).auc is None


@pytest.mark.parametrize(
    ("changed", "median", "auc", "holds"),
    [
        (0, 0.01, 0.95, True),
        (2, 0.01, 0.95, True),
        (3, 0.01, 0.95, False),
        (0, 0.01, 0.9481, True),
        (0, 0.01, 0.9479, False),
        (0, 0.01, 0.96, True),
        (0, 0.01, None, True),
        (0, 0.1, None, True),
        (0, 0.11, None, False),
    ],
)
def test_what_quality_is_enough(changed: int, median: float, auc: float | None, holds: bool) -> None:
    quality = Int8Quality(200, changed, median, 0.3, auc, None if auc is None else 0.95)
    assert quality.holds == holds


@needs_units
def test_the_command_writes_a_branch_and_says_what_it_changes(
    exported: Exported,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cxrlens.export import onnx as export

    monkeypatch.setattr(export, "to_bytes", lambda *_: exported.file.read_bytes())  # the same graph, made before
    arguments = ["export", "-m", exported.source, "--layers", "last", "-o", tmp_path / "a.onnx"]
    shown = cxrlens(*arguments, "--int8", folder, "--workers", 0, "--json").json
    assert shown["int8"]["images"] == 12
    assert shown["int8_quality"]["images"] == 13
    assert shown["int8_quality"]["decisions_changed"] == 0
    assert read_onnx(tmp_path / "a.onnx", precision="int8").info.int8 is not None
    said = cxrlens(*arguments, "--int8", folder, "--workers", 0, "--force").out
    assert "8-bit integers, on training images: 0 of 13 decisions change, log-odds by" in " ".join(said.split())
    shown = cxrlens(*arguments, "--force", "--json").json
    assert (shown["int8"], shown["int8_quality"]) == (None, None)


@needs_units
def test_a_branch_that_does_not_decide_alike_is_not_written(
    exported: Exported,
    folder: Path,
    thresholds: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ranges of black images hold no others."""
    from cxrlens.export import onnx as export
    from cxrlens.export import run

    content = changed(exported, tmp_path / "divided.onnx", **thresholds).read_bytes()
    monkeypatch.setattr(export, "to_bytes", lambda *_: content)
    Image.new("L", (160, 90)).save(tmp_path / "black.png")
    black = [Item(FileOrigin(tmp_path / "black.png"))] * 12
    drawn = TrainingImages.of(folder)
    monkeypatch.setattr(run.TrainingImages, "of", lambda *_, **__: TrainingImages(folder, black, drawn.checking))
    out = tmp_path / "out" / "a.onnx"
    with pytest.raises(CxrlensError, match=r"does not decide in 8-bit integers as in float32 .*leave --int8 out"):
        run.export_model(exported.source, layers="last", out=out, int8=folder)
    assert not list(out.parent.iterdir())
