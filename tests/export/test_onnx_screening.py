"""``cxrlens export`` and ``cxrlens screen`` with what it wrote, in a process where torch cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_models import SIZE, Exported, pictures
from PIL import Image

from command_line import cxrlens, refused
from cxrlens.errors import UsageError
from cxrlens.inspection.onnx_inspector import OnnxInspector
from cxrlens.models.onnx_file import read_onnx
from cxrlens.models.onnx_sessions import open_session
from cxrlens.screening.engines import open_inspector
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.store.store import Store

WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder

class Forbidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "lightning", "torchmetrics", "onnx", "onnxscript"):
            raise ImportError(f"{name} is not here")

sys.meta_path.insert(0, Forbidden())
from cxrlens.cli.main import main
main()
"""


def without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures, one of them twice, and a file that is none."""
    path = tmp_path / "in"
    (path / "sub").mkdir(parents=True)
    for index, picture in enumerate(pictures(5)):
        Image.fromarray(np.rint(picture * 255).clip(0, 255).astype(np.uint8)).save(path / f"{index}.png")
    (path / "sub" / "again.png").write_bytes((path / "3.png").read_bytes())
    (path / "bad.png").write_text("no image")
    return path


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_is_screened_where_there_is_no_torch(exported: Exported, folder: Path, tmp_path: Path, workers: int):
    common = ("screen", folder, "--maps", "all", "--workers", workers)
    ended = without_torch(*common, "-m", exported.file, "-o", tmp_path / "onnx", "--json")
    assert ended.returncode == 3, ended.stderr
    assert json.loads(ended.stdout)["images"] == 7
    torch_alone = ("-m", exported.source, "-o", tmp_path / "torch", "--layers", "last", "--device", "cpu")
    assert cxrlens(*common, *torch_alone).code == 3
    onnx, torch = ScreenedFolder(tmp_path / "onnx"), ScreenedFolder(tmp_path / "torch")
    assert (onnx.info().runtime, onnx.info().method, onnx.info().layers) == ("onnx", "normgrad_conv1x1", "last")
    assert (onnx.info().grid, onnx.info().interpolation) == ("centres", "bicubic")
    assert (torch.info().threshold, torch.info().review_threshold) == (0.3, 0.05)
    assert (onnx.info().threshold, onnx.info().review_threshold) == (0.3, 0.05)
    found, expected = ({image.name: image for image in Store(each).results.newest()} for each in (onnx, torch))
    assert found.keys() == expected.keys()
    assert sum(image.status == "ok" for image in found.values()) == 6
    for name, image in found.items():
        other = expected[name]
        varying = {"probability", "contours"}
        assert image.model_dump(exclude=varying) == other.model_dump(exclude=varying)
        assert len(image.contours) == len(other.contours)
        if image.status == "ok":
            assert image.probability == pytest.approx(other.probability, abs=1e-4)
            maps = [np.asarray(Image.open(each.path / image.map), dtype=int) for each in (onnx, torch)]
            assert np.abs(maps[0] - maps[1]).max() <= 1
    assert "again.png" in onnx.report_file.read_text("utf-8")
    assert len(onnx.worklist_file.read_text("utf-8").splitlines()) == 8


def test_what_does_not_fit_an_onnx_model_is_refused(exported: Exported):
    for settings, reason in (
        (
            ScreeningSettings(exported.file, method="grad_cam"),
            "gives maps of normgrad_conv1x1 alone; leave --method out",
        ),
        (ScreeningSettings(exported.file, layers="combined"), "gives maps at the layers 'last' alone; leave --layers"),
        (
            ScreeningSettings(exported.file, grid="areas"),
            "maps resized by centres bicubic alone; leave --grid, --inter",
        ),
        (ScreeningSettings(exported.file, interpolation="bilinear"), "maps resized by centres bicubic alone"),
        (ScreeningSettings(exported.file, flip=True), "gives no maps of mirrored images; leave --flip out"),
        (ScreeningSettings(exported.file, device="cuda"), "this onnxruntime was not built for the device 'cuda'"),
        (
            ScreeningSettings(exported.file, device="gpu"),
            "unknown device 'gpu' of exported models: use auto, cpu, cuda",
        ),
        (ScreeningSettings(exported.file, runtime="torch"), "is an ONNX model"),
        (ScreeningSettings(exported.source, runtime="onnx"), r"model\.safetensors: is a model file, which torch runs"),
    ):
        with pytest.raises(UsageError, match=reason):
            open_inspector(settings)
    inspector = open_inspector(ScreeningSettings(exported.file, method="normgrad_conv1x1", maps="none"))
    assert (inspector.name, inspector.method, inspector.layers) == ("onnx", "", "")
    assert str(inspector.resize) == ""
    own = ScreeningSettings(exported.file, grid="centres", interpolation="bicubic")
    assert str(open_inspector(own).resize) == "centres bicubic"


def test_the_command_writes_beside_the_model(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from cxrlens.export import onnx as export

    run = tmp_path / "run"
    run.mkdir()
    (run / "model-resnet10.safetensors").write_bytes(exported.source.read_bytes())
    (run / "model.safetensors").symlink_to("model-resnet10.safetensors")
    monkeypatch.setattr(export, "to_bytes", lambda *_: exported.file.read_bytes())  # the same graph, made before
    arguments = ["export", "-m", run, "--to", "onnx", "--layers", "last", "--json"]
    for more, code in (([], 0), ([], 2), (["--force"], 0)):
        ended = cxrlens(*arguments, *more)
        assert ended.code == code
    assert ended.err == ""
    shown = ended.json
    assert shown["file"] == str(run / "model.onnx")
    assert shown["source"] == "model-resnet10.safetensors"
    assert shown["parity"]["probability"] <= 1e-4
    assert shown["parity"]["map"] <= 1e-4
    assert shown["parity"]["exact"] <= 1e-4
    assert (shown["methods"], shown["layers"]) == (["normgrad_conv1x1"], "last")
    assert read_onnx(run / "model.onnx").info.method == "normgrad_conv1x1"
    steps = cxrlens(*arguments[:-1], "--force").err.splitlines()  # no terminal
    assert [line.split(":")[0] for line in steps] == [f"{number} of 4" for number in (1, 2, 3, 4)]


def test_what_cannot_be_exported_is_refused(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "there.onnx").touch()
    for arguments, reason in (
        (["--method", "smoothgrad"], "'smoothgrad' cannot be exported"),
        (["--method", "normgrad_bias", "--layers", "last"], "'normgrad_bias' at the layers 'last' is constant"),
        (["--layers", "layer9"], "the network has no layer 'layer9'; near matches: layer"),
        (["--method", "gradcam"], "unknown method 'gradcam'; near matches: grad_cam"),
        (["-o", tmp_path / "there.onnx"], "there.onnx: already exists; give another name or --force"),
        (["-o", tmp_path / "a.pt"], "a.pt: should end in .onnx"),
    ):
        out = [] if "-o" in arguments else ["-o", tmp_path / "new.onnx"]
        refused(cxrlens("export", "-m", exported.source, *arguments, *out), 2, reason)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    ended = cxrlens("export", "-m", exported.source, "-o", tmp_path / "new.onnx")
    refused(ended, 2, "needs the package onnxscript; install it with: pip install 'cxrlens[onnx]'")
    assert [file.name for file in tmp_path.iterdir()] == ["there.onnx"]


def test_each_map_of_a_file_is_screened_by_its_name(several: Exported):
    for method in (None, *several.methods):
        inspector = open_inspector(ScreeningSettings(several.file, method=method))
        assert (inspector.method, inspector.layers) == (method or several.methods[0], "combined")
        assert str(inspector.resize) == "areas bilinear"
    grey = np.zeros((1, 1, *SIZE), np.float32)
    grey[:, :, 20:40, 90:130] = 1
    first, second = (
        OnnxInspector(read_onnx(several.file), method=method).inspect(grey, [SIZE])[0].map for method in several.methods
    )
    assert first is not None
    assert second is not None
    assert (first.method, second.method) == several.methods
    assert not np.array_equal(first.values, second.values)


def test_doctor_looks_at_an_exported_model(exported: Exported, tmp_path: Path):
    def found(file: Path, code: int) -> dict[str, dict[str, str]]:
        ended = cxrlens("doctor", "--device", "cpu", "--json", "--model", file)
        assert ended.code == code
        return {each["name"]: each for each in ended.json["findings"] if each["section"] == "model"}

    findings = found(exported.file, 0)
    assert {name: each["status"] for name, each in findings.items() if each["status"] != "ok"} == {
        "distance from training": "note"
    }
    assert findings["maps"]["detail"] == "normgrad_conv1x1, last"
    assert f"{exported.file}, exported" in findings["file"]["detail"]
    probability = read_onnx(exported.file).run(np.zeros((1, 1, *SIZE), np.float32)).probability[0]
    assert findings["forward pass"]["detail"] == f"a blank image is affected with a probability of {probability:.3f}"
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.file.read_bytes()[:5000])
    (finding,) = found(broken, 2).values()
    assert finding["status"] == "problem"
    assert "broken.onnx: is damaged or no ONNX model" in finding["detail"]


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_model_file_is_not_called_damaged(exported: Exported, runtime: Any):
    with pytest.raises(UsageError, match=r"model\.safetensors: is a model file, which torch runs; .*'cxrlens export'"):
        open_session(exported.source, runtime)
