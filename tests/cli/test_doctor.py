"""``cxrlens doctor``: a sound installation, and one in which each part in turn is missing or broken."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, WebPImagePlugin
from pydicom.pixels.decoders import JPEG2000Decoder, JPEGLSLosslessDecoder
from safetensors import safe_open
from safetensors.torch import save_file

from command_line import Finished, cxrlens
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.training.loggers import LOGGERS

EXTRA = "pip install 'cxrlens[dicom]'"


def found(finished: Finished, name: str) -> dict[str, Any]:
    (finding,) = (finding for finding in finished.json["findings"] if finding["name"] == name)
    return finding


def doctor(*arguments: object) -> Finished:
    return cxrlens("doctor", "--device", "cpu", "--json", *arguments)


def without(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str | None]) -> None:
    """Makes installed packages look as if they had these versions, or were not there."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name not in versions:
            return real(name)
        faked = versions[name]
        if faked is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return faked

    monkeypatch.setattr(importlib.metadata, "version", version)


def broken_copy(model: Path, path: Path, tensor: str, value: float) -> Path:
    """A model file in which one weight of a tensor is replaced."""
    with safe_open(model, framework="pt") as stored:
        metadata = stored.metadata()
        state = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    state[tensor].view(-1)[-1] = value
    save_file(state, path, metadata=metadata)
    return path


def test_a_sound_installation_and_model(model: Path) -> None:
    finished = doctor("--model", model)
    assert finished.code == 0
    assert finished.err == ""
    assert finished.json["usable"] is True
    findings = finished.json["findings"]
    assert {finding["status"] for finding in findings} <= {"ok", "note"}
    for finding in findings:
        assert (finding["remedy"] is None) == (finding["status"] == "ok"), finding
    for name in ("torch", "torchvision", "lightning", "pydicom", "pillow"):
        assert found(finished, name)["detail"] == importlib.metadata.version(name)
    for name in ("JPEG", "PNG", "TIFF", "WebP"):
        assert found(finished, name)["status"] == "ok"
    sections = list(dict.fromkeys(finding["section"] for finding in findings))
    assert sections == ["packages", "optional packages", "devices", "image formats", "DICOM", "space", "model"]
    optional = {finding["name"] for finding in findings if finding["section"] == "optional packages"}
    assert optional >= {"python-gdcm", "pylibjpeg-openjpeg", "captum", "mlflow", "wandb", "timm", "tensorboard"}
    assert optional >= set(LOGGERS) - {"csv"}
    assert not optional & {"pytest", "ruff", "mypy", "hypothesis", "mkdocs", "twine", "build", "check-wheel-contents"}
    assert found(finished, "architecture")["detail"] == "resnet18, 0.1 million weights"
    assert found(finished, "preprocessing")["detail"] == "64 x 64 px"
    probability = float(re.findall(r"0\.\d+", found(finished, "forward pass")["detail"])[0])
    assert 0 < probability < 1


def test_in_words(model: Path) -> None:
    finished = cxrlens("doctor", "-m", model)
    assert finished.code == 0
    assert "\ndevices:\n  ok       cpu: " in finished.out
    assert f"  ok       torch: {torch.__version__.split('+')[0]}" in finished.out
    assert finished.out.rstrip().endswith("no problem")


def test_without_a_model_none_is_looked_at() -> None:
    assert all(finding["section"] != "model" for finding in doctor().json["findings"])


@pytest.mark.parametrize(("decoder", "name", "code"), [("jpeg", "JPEG", 2), ("zip", "PNG", 2), ("libtiff", "TIFF", 0)])
def test_a_pillow_without_a_codec(monkeypatch: pytest.MonkeyPatch, decoder: str, name: str, code: int) -> None:
    monkeypatch.delattr(Image.core, f"{decoder}_decoder")
    finished = doctor()
    assert finished.code == code
    finding = found(finished, name)
    assert finding["status"] == ("problem" if code else "note")
    assert finding["detail"].startswith("cannot be read (")
    assert "pillow" in finding["remedy"]
    assert found(finished, "BMP")["status"] == "ok"


def test_a_pillow_without_webp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebPImagePlugin, "SUPPORTED", False)
    finished = cxrlens("doctor")
    assert finished.code == 0
    assert re.search(r"note     WebP: cannot be read \(.*\)\n +-> pip install .*pillow", finished.out)


def test_12_bit_jpeg_is_told_apart_from_what_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [each for each in doctor().json["findings"] if each["name"] == "12-bit JPEG"]  # gdcm is there
    monkeypatch.setattr("cxrlens.doctor.codecs.find_spec", lambda name: None)
    finding = found(doctor(), "12-bit JPEG")
    assert (finding["status"], finding["detail"]) == ("note", "no codec is installed")
    assert "gdcm" in finding["remedy"]


def test_missing_dicom_codecs_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = re.fullmatch(r"(\d+) of (\d+) can be decoded", found(doctor(), "transfer syntaxes")["detail"])
    assert whole is not None
    there = sum(decoder.is_available for decoder in (JPEG2000Decoder, JPEGLSLosslessDecoder))
    without(monkeypatch, {"python-gdcm": None})
    for decoder in (JPEG2000Decoder, JPEGLSLosslessDecoder):
        monkeypatch.setattr(decoder, "_available", {})
    finished = doctor()
    assert finished.code == 0
    detail = found(finished, "transfer syntaxes")["detail"]
    assert detail == f"{int(whole[1]) - there} of {whole[2]} can be decoded"
    for name in (JPEG2000Decoder.UID.name, JPEGLSLosslessDecoder.UID.name):
        assert found(finished, name) == {
            "section": "DICOM", "name": name, "status": "note", "detail": "no codec is installed", "remedy": EXTRA
        }  # fmt: skip
    gdcm = found(finished, "python-gdcm")
    assert (gdcm["status"], gdcm["remedy"]) == ("note", EXTRA)


def test_a_codec_that_the_extra_does_not_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the extra is there: what pydicom asks for is named."""
    real = importlib.metadata.version
    wanted = {"python-gdcm": "99", "pylibjpeg-openjpeg": "99", "pylibjpeg": "99"}
    monkeypatch.setattr(importlib.metadata, "version", lambda name: wanted.get(name) or real(name))
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_unavailable", {"pyjpegls": ("pyjpegls>=1.2",)})
    finding = found(doctor(), JPEGLSLosslessDecoder.UID.name)
    assert finding["remedy"] == "one of: pyjpegls - requires pyjpegls>=1.2"


def test_packages_that_are_missing_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, {"pydicom": "2.4.4", "safetensors": None, "captum": None})
    finished = doctor()
    assert finished.code == 2
    assert finished.json["usable"] is False
    old = found(finished, "pydicom")
    assert (old["status"], old["remedy"]) == ("problem", "pip install --upgrade 'pydicom>=3.0'")
    assert "2.4.4" in old["detail"]
    missing = found(finished, "safetensors")
    assert (missing["status"], missing["detail"]) == ("problem", "is not installed")
    captum = found(finished, "captum")
    assert captum["status"] == "note"
    assert "captum:NAME" in captum["detail"]
    assert captum["remedy"].startswith("pip install 'captum>=")
    assert found(finished, "torch")["status"] == "ok"


def test_what_cannot_be_imported_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cxrlens.doctor.machine", None)
    finished = cxrlens("doctor")
    assert finished.code == 2
    assert "problem  import: import of cxrlens.doctor.machine" in finished.out
    assert "  ok       PNG: is read" in finished.out
    assert finished.out.rstrip().endswith("1 problem, see above")


def test_little_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_230_000_000))
    finding = found(doctor(), "working folder")
    assert finding["status"] == "note"
    assert "1.2 GB free" in finding["detail"]
    assert "make room" in finding["remedy"]
    assert "--cache-dir" in found(doctor(), "cache folder")["remedy"]


def test_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXRLENS_CACHE", str(tmp_path / "absent"))
    monkeypatch.setenv("CXRLENS_CACHE_SIZE", "3GB")
    finished = doctor()
    assert finished.code == 0
    assert found(finished, "cache")["detail"] == f"{tmp_path / 'absent'}: 0 decoded images, 0B of at most 3.0GB"
    assert found(finished, "cache folder")["detail"].startswith(f"{tmp_path}: ")
    assert not any(tmp_path.iterdir())
    store = ArrayStore(tmp_path / "absent", 10**9)
    store.write(store.path("g", "ab" * 32), np.zeros(1000, np.uint8))
    assert ": 1 decoded images, 1.1KB of at most" in found(doctor(), "cache")["detail"]
    monkeypatch.setenv("CXRLENS_CACHE_SIZE", "much")
    finished = doctor()
    assert finished.code == 2
    assert "CXRLENS_CACHE_SIZE" in found(finished, "cache")["detail"]
    monkeypatch.delenv("CXRLENS_CACHE_SIZE")
    monkeypatch.setenv("CXRLENS_CACHE", str(tmp_path))  # it holds something
    assert "is no folder of decoded images" in found(doctor(), "cache")["detail"]


def test_a_working_folder_that_may_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    finding = found(doctor(), "working folder")
    assert (finding["status"], finding["remedy"]) == ("note", "write results elsewhere with --out")


def test_a_device_that_does_not_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no kernel image is available.\nmore")

    monkeypatch.setattr(torch.nn.functional, "conv2d", fails)
    finished = doctor()
    assert finished.code == 2
    assert found(finished, "cpu")["detail"].endswith("but it does not compute: no kernel image is available")
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda ones, _: 2 * ones)
    assert found(doctor(), "cpu")["detail"].endswith("but it computes wrong numbers")


def test_a_device_that_is_not_there(model: Path) -> None:
    finished = cxrlens("doctor", "--device", "warp", "--json", "--model", model)
    assert finished.code == 2
    for name in ("warp", "forward pass"):
        assert found(finished, name)["status"] == "problem"
        assert "'warp'" in found(finished, name)["detail"]


def test_no_model_or_a_damaged_one(model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "cut.safetensors"
    damaged.write_bytes(model.read_bytes()[:10_000])
    for path, reason in ((tmp_path / "none", "no such model file"), (damaged, "is damaged")):
        finished = doctor("--model", path)
        assert finished.code == 2
        finding = found(finished, "file")
        assert finding["status"] == "problem"
        assert str(path) in finding["detail"]
        assert reason in finding["detail"]
        assert found(finished, "JPEG")["status"] == "ok"


@pytest.mark.parametrize(
    ("tensor", "value", "name", "detail"),
    [
        ("layer3.0.conv1.weight", float("nan"), "weights", "tensors hold values that are no numbers, first: layer3"),
        ("fc.bias", float("inf"), "weights", "first: fc.bias"),
        ("bn1.running_var", -5.0, "forward pass", "a blank image gives no number"),
    ],
)
def test_weights_that_are_no_numbers(
    model: Path, tmp_path: Path, tensor: str, value: float, name: str, detail: str
) -> None:
    finished = doctor("--model", broken_copy(model, tmp_path / "broken.safetensors", tensor, value))
    assert finished.code == 2
    assert found(finished, name)["status"] == "problem"
    assert detail in found(finished, name)["detail"]
    assert found(finished, "architecture")["status"] == "ok"
