"""All commands with networks of timm: trained, tested, explained, studied, calibrated, screened and exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import cxrlens as package
from command_line import cxrlens, refused, table
from cxrlens.models.model_file import load_model, save_model
from cxrlens.models.registry import find_architecture

pytest.importorskip("timm")

SMALL = ("--recipe", "small", "--image-size", 64, "--epochs", 1, "--workers", 0, "--device", "cpu")
LAST = {"timm:test_vit": "blocks.5.norm1", "timm:test_convnext": "stages.3"}


@pytest.fixture(scope="module", params=list(LAST))
def trained(
    request: pytest.FixtureRequest, phantoms: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """An architecture, and a run of one epoch."""
    runs = tmp_path_factory.mktemp("runs")
    finished = cxrlens("train", phantoms, "--arch", request.param, *SMALL, "--runs", runs)
    assert finished.code == 0, finished.err
    (run,) = runs.iterdir()
    assert run.name == f"{request.param.replace(':', '-')}-small"
    assert list(run.glob(f"model-{request.param.replace(':', '-')}-acc*.safetensors"))
    return request.param, run


def test_the_model_is_found_again(trained: tuple[str, Path]) -> None:
    name, run = trained
    _, card = load_model(run / "model.safetensors")
    assert card.architecture == name
    assert yaml.safe_load((run / "config.yaml").read_text())["architecture"] == name
    finished = cxrlens("doctor", "--model", run)
    assert name in finished.out


def test_a_run_can_be_replaced_and_no_other_folder(trained: tuple[str, Path], phantoms: Path) -> None:
    name, run = trained
    assert cxrlens("train", phantoms, "--arch", name, *SMALL, "--runs", run.parent).code == 2
    finished = cxrlens("train", phantoms, "--arch", name, *SMALL, "--runs", run.parent, "--force")
    assert finished.code == 0, finished.err


def test_test_explain_and_the_pointing_game(trained: tuple[str, Path], phantoms: Path, tmp_path: Path) -> None:
    name, run = trained
    finished = cxrlens("test", phantoms, "-m", run, "-o", tmp_path / "tested", "--workers", 0)
    assert finished.code == 0, finished.err
    images = phantoms / "dev" / "affected"
    finished = cxrlens(
        *("explain", images, "-m", run, "-o", tmp_path / "explained", "--workers", 0),
        *("--method", "normgrad_conv1x1,grad_cam", "--layers", "both"),
    )
    assert finished.code == 0, finished.err
    rows = table(tmp_path / "explained" / "explanations.csv")
    assert {(row["method"], row["layers"]) for row in rows} == {
        ("normgrad_conv1x1", "last"), ("normgrad_conv1x1", "combined"), ("grad_cam", "last")
    }  # fmt: skip
    assert {row["grid"] for row in rows} == {"centres"}
    row = next(row for row in rows if row["method"] == "normgrad_conv1x1" and row["layers"] == "last")
    model = package.load(run, device="cpu")
    alone = model.check(images / row["image"], methods="normgrad_conv1x1", layers=LAST[name])
    np.testing.assert_allclose(np.load(tmp_path / "explained" / row["map"]), alone.explanations[0].values, atol=1e-4)
    finished = cxrlens("pointing-game", phantoms, "-m", run, "-o", tmp_path / "game", "--workers", 0)
    assert finished.code == 0, finished.err


def test_a_layer_that_gives_no_map_is_refused(trained: tuple[str, Path], phantoms: Path, tmp_path: Path) -> None:
    name, run = trained
    head = "head.fc" if name == "timm:test_convnext" else "head"
    image = min((phantoms / "dev" / "affected").iterdir())
    finished = cxrlens("explain", image, "-m", run, "-o", tmp_path / "out", "--workers", 0, "--layers", head)
    refused(finished, 2, f"layer '{head}' gives no map")


def test_calibrate_and_screen(trained: tuple[str, Path], phantoms: Path, tmp_path: Path) -> None:
    """An epoch may rank the images the wrong way round; with the head's sign turned it is the right one."""
    _, run = trained
    network, card = load_model(run / "model.safetensors")
    codes = []
    for number in (1, 2):
        save_model(tmp_path / f"{number}.safetensors", network, card)
        arguments = ("-m", tmp_path / f"{number}.safetensors", "-o", tmp_path / f"site-{number}.safetensors")
        finished = cxrlens("calibrate", phantoms, *arguments, "--specificity", 0.5, "--split", "train", "--workers", 0)
        codes.append(finished.code)
        if finished.code == 0:
            break
        assert "does not rank affected images above normal ones" in finished.err
        for name in find_architecture(card.architecture).head_tensors:
            network.get_parameter(name).data.neg_()
    assert codes[-1] == 0
    site = tmp_path / f"site-{len(codes)}.safetensors"
    finished = cxrlens("screen", phantoms / "dev", "-m", site, "-o", tmp_path / "screened", "--workers", 0)
    assert finished.code == 0, finished.err
    assert len(table(tmp_path / "screened" / "worklist.csv")) == 8


def test_study(trained: tuple[str, Path], phantoms: Path, tmp_path: Path) -> None:
    name, run = trained
    plan = {
        "architectures": [name],
        "rows": ["grad_cam last", "normgrad_conv1x1 combined", "normgrad_conv1x1 each"],
        "repeats": 20,
        "batch_size": 4,
        "randomisation": {"images": 2},
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    finished = cxrlens(
        *("study", phantoms, "-o", tmp_path / "study", "--plan", tmp_path / "plan.yaml", "-m", run, "--workers", 0)
    )
    assert finished.code == 0, finished.err
    found = {path.name for path in (tmp_path / "study").rglob("*") if path.is_file()}
    assert f"randomisation-{name.replace(':', '-')}.csv" in found
    assert not [file for file in found if ":" in file]
    finished = cxrlens("card", "-m", run, "--study", tmp_path / "study", "-o", tmp_path / "card.md")
    assert finished.code == 0, finished.err


def test_export_gives_what_torch_gives(trained: tuple[str, Path], phantoms: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    name, run = trained
    if name == "timm:test_vit":
        pytest.skip("the export of attention takes a minute; its graph is compared in tests/saliency")
    finished = cxrlens("export", "-m", run, "-o", tmp_path / "model.onnx", "--layers", "last")
    assert finished.code == 0, finished.err
    finished = cxrlens("screen", phantoms / "dev", "-m", tmp_path / "model.onnx", "-o", tmp_path / "a", "--workers", 0)
    assert finished.code == 0, finished.err
    finished = cxrlens("screen", phantoms / "dev", "-m", run, "-o", tmp_path / "b", "--workers", 0)
    assert finished.code == 0, finished.err
    one, other = (
        {row["name"]: float(row["probability"]) for row in table(tmp_path / folder / "worklist.csv")} for folder in "ab"
    )
    assert one.keys() == other.keys()
    assert all(abs(one[image] - other[image]) < 1e-3 for image in one)


def test_weights_of_a_network_set_the_normalisation_of_its_images(phantoms: Path, tmp_path: Path) -> None:
    """Those of a training that began with them, also when it is resumed."""
    from cxrlens.models.registry import build_network

    torch.save(build_network("timm:test_vit", size=(64, 64)).state_dict(), tmp_path / "weights.pt")
    arguments = ("train", phantoms, "--arch", "timm:test_vit", *SMALL, "--runs", tmp_path / "runs", "--name", "a")
    finished = cxrlens(*arguments, "--weights", tmp_path / "weights.pt")
    assert finished.code == 0, finished.err
    config = yaml.safe_load((tmp_path / "runs" / "a" / "config.yaml").read_text())
    assert config["normalisation"] == {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    _, card = load_model(tmp_path / "runs" / "a" / "model.safetensors")
    assert card.preprocessing.mean == card.preprocessing.std == (0.5, 0.5, 0.5)
    (tmp_path / "weights.pt").unlink()
    (tmp_path / "runs" / "a" / "model.safetensors").unlink()
    finished = cxrlens(
        *("train", phantoms, "--runs", tmp_path / "runs", "--name", "a"),
        *("--resume", "--workers", 0, "--device", "cpu"),
    )
    assert finished.code == 0, finished.err
    _, card = load_model(tmp_path / "runs" / "a" / "model.safetensors")
    assert card.preprocessing.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (("--arch", "timm:vit_tiny_patch16"), ("timm:vit_tiny_patch16_224",)),
        (("--arch", "torchvision:densnet121"), ("torchvision:densenet121",)),
        (("--arch", "torchvision:vit_b_32", "--image-size", 100), ("no images of 100 x 100 px", "--image-size 224")),
        (("--weights", "https://example.org/w.pt"), ("--weights https://example.org/w.pt#sha256=HEX",)),
        (("--weights", "hf:owner/name@main/w.pt"), ("40 digits of a commit",)),
    ],
)
def test_names_of_a_training_that_are_refused(
    phantoms: Path, tmp_path: Path, given: tuple[object, ...], parts: tuple[str, ...]
) -> None:
    refused(cxrlens("train", phantoms, "--runs", tmp_path / "runs", *given), 2, *parts)
    assert not (tmp_path / "runs").exists()
