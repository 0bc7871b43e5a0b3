"""An exported model run by OpenVINO gives what onnxruntime gives, and says what it cannot do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_models import SIZE, Exported, changed, pictures
from PIL import Image

from command_line import Finished, cxrlens, refused
from cxrlens.errors import UsageError
from cxrlens.inspection.onnx_inspector import OnnxInspector, load_onnx
from cxrlens.models import onnx_sessions
from cxrlens.models.onnx_file import OnnxModel, read_onnx
from cxrlens.models.onnx_sessions import OpenvinoSession, _pieces, _provider, open_session
from cxrlens.screening.engines import open_inspector
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.settings import ScreeningSettings
from waiting import PATIENCE

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")

PICTURES = pictures(5)
SHAPES = [picture.shape for picture in PICTURES]


def test_openvino_gives_what_onnxruntime_gives(each_exported: Exported, each_read: OnnxModel) -> None:
    theirs = read_onnx(each_exported.file, runtime="openvino")
    assert (each_read.runtime, each_read.precision) == ("onnx", "f32")
    assert (theirs.runtime, theirs.precision) == ("openvino", "f32")
    assert theirs.card == each_read.card
    assert theirs.info == each_read.info
    grey = np.stack([each_read.card.preprocessing.resized(picture) for picture in PICTURES])
    expected, found = each_read.run(grey), theirs.run(grey)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-4)
    assert found.maps is not None
    assert found.flat is not None
    assert expected.maps is not None
    assert (found.probability.dtype, found.maps.dtype, found.flat.dtype) == (np.float64, np.float32, np.bool_)
    each_exported.assert_near(found.maps, expected.maps)
    assert not found.flat.any()
    alone = theirs.run(grey[2:3], maps=False)
    assert alone.maps is None
    np.testing.assert_allclose(alone.probability, found.probability[2:3], rtol=1e-5)
    for one, other in zip(
        OnnxInspector(theirs).inspect(grey, SHAPES), OnnxInspector(each_read).inspect(grey, SHAPES), strict=True
    ):
        assert one.map is not None
        assert other.map is not None
        assert one.decision == other.decision
        assert each_exported.needs_backward or one.peak == other.peak


def test_openvino_takes_eight_images_at_once_and_the_rest_one_by_one(exported: Exported) -> None:
    """A graph of fixed sizes is computed in fewer passes over memory; two sizes are compiled at most."""
    session = open_session(exported.file, "openvino")
    assert isinstance(session, OpenvinoSession)
    grey = np.random.default_rng(0).random((19, 1, *SIZE), dtype=np.float32)
    names = ["logits", *(name for name in session.outputs if name.startswith("map"))]
    found = session.run(names, {"grey": grey})
    assert sorted(size for _, size in session._compiled) == [1, 8]
    assert not any(each.inputs[0].partial_shape.is_dynamic for each in session._compiled.values())
    expected = open_session(exported.file).run(names, {"grey": grey})
    for own, other in zip(found, expected, strict=True):
        assert own.shape == other.shape
        np.testing.assert_allclose(own, other, atol=1e-4)
    again = session.run(names, {"grey": grey[8:17]})
    for own, other in zip(again, found, strict=True):
        assert np.array_equal(own[:8], other[8:16])
        np.testing.assert_allclose(own[8:], other[16:17], atol=1e-5)
    assert session.inputs["grey"][1] == [1, *SIZE]


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (7, [1] * 7), (8, [8]), (9, [8, 1]), (16, [8, 8]), (18, [8, 8, 1, 1])]
)
def test_pieces_hold_every_image_once_and_in_order(count: int, sizes: list[int]) -> None:
    pieces = _pieces(count)
    assert [piece.stop - piece.start for piece in pieces] == sizes
    assert [index for piece in pieces for index in range(count)[piece]] == list(range(count))


def test_the_probability_near_one_keeps_its_digits(exported: Exported) -> None:
    """OpenVINO's own comes from 32-bit sums, in which all that is nearer to 1 than 6e-8 is 1."""
    model = read_onnx(exported.file, runtime="openvino")
    assert model.card.calibration is not None
    logits = np.array([[0, 40], [0, 41]], np.float32)
    near, nearer = (1 - model._probability(logits)).tolist()
    assert 0 < nearer < near < 1e-8


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(exported: Exported, tmp_path: Path, value: float) -> None:
    with pytest.raises(UsageError, match=r"a\.onnx: its graph gives no number for any image"):
        read_onnx(changed(exported, tmp_path / "a.onnx", every_weight=value), runtime="openvino")


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_black_image_is_flat_or_explained_alike(exported: Exported, runtime: Any) -> None:
    grey = np.zeros((1, 1, *SIZE), np.float32)
    found = read_onnx(exported.file, runtime=runtime).run(grey)
    expected = read_onnx(exported.file).run(grey)
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-5)
    assert np.array_equal(found.flat, expected.flat)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x07\x12\x00", b"\x89PNG\r\n\x1a\n" * 40, None])
def test_what_is_no_onnx_file_is_refused(exported: Exported, tmp_path: Path, content: bytes | None) -> None:
    whole = exported.file.read_bytes()
    (tmp_path / "a.onnx").write_bytes(whole[: len(whole) // 3] if content is None else content)
    with pytest.raises(UsageError, match=r"a\.onnx: is damaged or no ONNX model \(.+\); write one with") as error:
        open_session(tmp_path / "a.onnx", "openvino", "f32")
    assert "\n" not in str(error.value)


def test_a_missing_openvino_names_the_extra(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(onnx_sessions, "_openvino", onnx_sessions._openvino.__wrapped__)  # not loaded before
    with pytest.raises(UsageError, match=r"pip install 'cxrlens\[openvino\]'"):
        load_onnx(exported.file, runtime="openvino")


def test_a_precision_without_units_is_refused(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="onnxruntime runs exported models in f32 or int8, not in bf16"):
        read_onnx(exported.file, precision="bf16")
    assert open_session(exported.file, precision="auto").precision == "f32"
    units = ["FP32"]

    import openvino

    asked = openvino.Core.get_property
    monkeypatch.setattr(
        openvino.Core,
        "get_property",
        lambda self, device, name: units if name == "OPTIMIZATION_CAPABILITIES" else asked(self, device, name),
    )
    with pytest.raises(UsageError, match="this processor does not multiply bfloat16; leave --precision out"):
        read_onnx(exported.file, runtime="openvino", precision="bf16")
    assert open_session(exported.file, "openvino", "auto").precision == "f32"
    units.append("BF16")
    for is_faster in (False, True):
        monkeypatch.setattr(onnx_sessions, "cpu_is_faster_in_bfloat16", lambda is_faster=is_faster: is_faster)
        fastest = "bf16" if is_faster else "f32"
        assert open_session(exported.file, "openvino", "auto").precision == fastest
        assert open_session(exported.file, "openvino", "bf16").precision == "bf16"
    assert open_session(exported.file, "openvino").precision == "f32"


def test_bfloat16_is_computed_where_the_processor_has_units(exported: Exported) -> None:
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("OpenVINO fails in bfloat16 without units")
    assert read_onnx(exported.file, runtime="openvino", precision="bf16").precision == "bf16"


def test_a_folder_is_screened_by_openvino(exported: Exported, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for index, picture in enumerate(PICTURES):
        Image.fromarray(np.rint(picture * 255).clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")

    def screen(*more: str) -> Finished:
        arguments = ["screen", folder, "-m", exported.file, "-o", out, "--maps", "all", "--workers", 0, "--json", *more]
        return cxrlens(*arguments)

    assert screen("--runtime", "openvino").json["images"] == 5
    info = ScreenedFolder(out).info()
    assert (info.runtime, info.precision, info.grid, info.interpolation) == ("openvino", "f32", "centres", "bicubic")
    assert len(list((out / "maps").iterdir())) == 5
    refused(screen(), 2, "was screened with another --runtime (openvino, not onnx)")  # by onnxruntime
    assert screen("--runtime", "openvino", "--device", "cuda").code == 2


def test_a_device_is_a_provider_of_onnxruntime() -> None:
    every = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert _provider(every[2:], "auto") == _provider(every, "cpu") == ("cpu", ("CPUExecutionProvider", {}))
    first = ("CUDAExecutionProvider", {"device_id": "0", "use_tf32": "0"})
    assert _provider(every, "auto") == _provider(every, "cuda") == _provider(every, "cuda:0") == ("cuda:0", first)
    assert _provider(every, "cuda:3")[1][1]["device_id"] == "3"
    assert _provider(every, "tensorrt:1") == ("tensorrt:1", ("TensorrtExecutionProvider", {"device_id": "1"}))
    for device in ("mps", "cuda:x", "cpu:1", ""):
        with pytest.raises(UsageError, match="unknown device"):
            _provider(every, device)
    with pytest.raises(UsageError, match="not built for the device 'tensorrt'; take --device cpu, or install"):
        _provider(every[1:], "tensorrt")


def test_a_gpu_that_cannot_be_used_is_said(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime goes on with the processor, in a line that nobody reads."""
    import onnxruntime

    whole = [*onnxruntime.get_available_providers(), "CUDAExecutionProvider"]
    session = onnxruntime.InferenceSession

    def on_cpu(content: bytes, sess_options: Any, providers: list[Any]) -> Any:
        return session(content, sess_options, providers=providers[-1:])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: whole)
    monkeypatch.setattr(onnxruntime, "InferenceSession", on_cpu)
    with pytest.raises(UsageError, match="cannot use the device 'cuda', as its lines above say; try --device cpu"):
        read_onnx(exported.file, device="cuda")
    assert read_onnx(exported.file).device == "cpu"


def test_a_model_file_for_torch_is_not_taken(exported: Exported) -> None:
    with pytest.raises(UsageError, match=r"model\.safetensors: is a model file, which torch runs"):
        open_inspector(ScreeningSettings(exported.source, runtime="openvino"))


def test_a_signal_after_openvino_was_used_is_no_crash(exported: Exported) -> None:
    """Unloaded, its library gives the main thread the stack for signals that it had when it was loaded, be it gone."""
    script = (
        "import gc, signal, sys\nfrom pathlib import Path\nfrom cxrlens.models.onnx_file import read_onnx\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard'))\n"
        "import faulthandler\nfaulthandler.enable()\n"
        "models = [read_onnx(Path(sys.argv[1]), runtime='openvino') for _ in range(3)]\n"
        "while models:\n    del models[0]\n    gc.collect()\n"
        "signal.raise_signal(signal.SIGTERM)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, exported.file], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
