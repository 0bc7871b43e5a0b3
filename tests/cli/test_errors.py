"""What the command line says and does when its input is bad: one sentence, the documented exit code, no lost result."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from command_line import Finished, agree, cxrlens, refused, table
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import ARCHITECTURES, build_network

SCORING = ("test", "explain", "pointing-game")
FAST = ("--method", "normgrad_scaling", "--layers", "last", "--workers", 0)
TINY = ("--recipe", "small", "--arch", "resnet18", "--image-size", 32, "--epochs", 1, "--workers", 0)


WHOLE = ARCHITECTURES["resnet34"]


@pytest.fixture
def another_resnet34(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small networks called ResNet-18 and ResNet-34 are the same; here the second is the whole one."""
    monkeypatch.setitem(ARCHITECTURES, "resnet34", WHOLE)


def options(command: str) -> tuple[object, ...]:
    return ("--workers", 0) if command == "test" else FAST


def spoil(folder: Path, count: int = 1) -> list[Path]:
    """Cuts the first pictures of a folder short."""
    paths = sorted(folder.glob("*.jpg"))[:count]
    for path in paths:
        path.write_bytes(path.read_bytes()[:400])
    return paths


# -- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*SCORING, "train"])
def test_no_such_folder(model: Path, tmp_path: Path, command: str) -> None:
    where = ("--runs", tmp_path / "runs") if command == "train" else ("-m", model, "-o", tmp_path / "out")
    refused(cxrlens(command, tmp_path / "absent", *where), 2, tmp_path / "absent", "no such", "check the path")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", SCORING)
def test_no_such_model(phantoms: Path, tmp_path: Path, command: str) -> None:
    for given in (tmp_path / "no.safetensors", tmp_path):
        finished = cxrlens(command, phantoms, "-m", given, "-o", tmp_path / "out")
        refused(finished, 2, given, "no such model file", "cxrlens train")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", SCORING)
def test_an_output_folder_in_use_is_left_alone(phantoms: Path, model: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    finished = cxrlens(command, phantoms, "-m", model, "-o", tmp_path)
    refused(finished, 2, tmp_path, "already exists and is not empty", "--force")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_force_writes_into_an_output_folder_in_use(phantoms: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    finished = cxrlens("pointing-game", phantoms, "-m", model, "-o", tmp_path, "--force", *FAST)
    assert finished.code == 0
    assert {"mine.txt", "pointing_game.csv"} <= {path.name for path in tmp_path.iterdir()}


def test_an_output_folder_that_cannot_be_made(phantoms: Path, model: Path) -> None:
    refused(cxrlens("test", phantoms, "-m", model, "-o", model / "out"), 2, model / "out", "choose another place")
    refused(cxrlens("data", "phantom", model / "out"), 2, model / "out", "choose another place")


@pytest.mark.parametrize("command", ["test", "train"])
@pytest.mark.parametrize("class_name", ["affected", "normal"])
def test_an_empty_class_folder(data: Path, model: Path, tmp_path: Path, command: str, class_name: str) -> None:
    for path in (data / "dev" / class_name).iterdir():
        path.unlink()
    where = ("--runs", tmp_path / "runs") if command == "train" else ("-m", model, "-o", tmp_path / "out")
    refused(cxrlens(command, data, *where), 2, data / "dev" / class_name, "holds no images", f"put the {class_name}")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["test", "explain", "pointing-game", "compare", "calibrate", "study", "screen"])
def test_what_is_refused_leaves_nothing(phantoms: Path, model: Path, tmp_path: Path, command: str) -> None:
    given: dict[str, tuple[object, ...]] = {
        "compare": ("compare", model, model, "--data", phantoms, "--split", "test"),
        "calibrate": ("calibrate", phantoms, "-m", model, "--split", "test"),
        "screen": ("screen", phantoms / "dev.csv", "-m", model, "--grid", "areas", "--layers", "none"),
    }
    out = tmp_path / "deep" / ("out.safetensors" if command == "calibrate" else "out")
    finished = cxrlens(*given.get(command, (command, phantoms, "-m", model, "--split", "test")), "-o", out)
    refused(finished, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_split_that_is_not_there(phantoms: Path, model: Path, tmp_path: Path) -> None:
    out = ("-m", model, "-o", tmp_path / "out")
    refused(cxrlens("test", phantoms, *out, "--split", "test"), 2, "no split 'test'", "it holds train, dev")
    refused(cxrlens("test", phantoms / "dev", *out), 2, phantoms / "dev", "neither 'test' nor 'dev'", "--split")
    refused(cxrlens("explain", phantoms / "dev", *out, "--split", "dev"), 2, phantoms / "dev", "--split cannot be used")


# -- model files ------------------------------------------------------------------------------------------------------


def bad_models(folder: Path, good: Path) -> dict[Path, tuple[str, ...]]:
    """Model files that cannot be used, and what must be said of each."""
    content = good.read_bytes()
    state = load_file(good)
    card = ModelCard(architecture="resnet18", preprocessing=Preprocessing(height=64, width=64))
    network = build_network("resnet18")
    foreign, unfit, cut, text, empty, bare, later = (folder / f"{name}.safetensors" for name in (
        "foreign", "unfit", "cut", "text", "empty", "bare", "later"))  # fmt: skip
    save_model(foreign, network, card.model_copy(update={"architecture": "resnet-43"}))
    save_model(unfit, network, card.model_copy(update={"architecture": "resnet34"}))
    cut.write_bytes(content[: len(content) // 2])
    text.write_text("These are not weights.\n" * 9)
    empty.touch()
    save_file(state, bare)
    save_file(state, later, metadata={"cxrlens": card.model_dump_json().replace('"format":1', '"format":2')})
    return {
        foreign: ("unknown architecture 'resnet-43'", "resnet34", "update cxrlens"),
        unfit: ("weights are not those of the resnet34", "not usable"),
        cut: ("damaged", "copy it again"),
        text: ("is damaged or no model file", "copy it again"),
        empty: ("is damaged or no model file", "copy it again"),
        bare: ("no cxrlens model card", "--weights"),
        later: ("model card cannot be read", "format", "update cxrlens"),
    }


def test_model_files_that_cannot_be_used(phantoms: Path, model: Path, tmp_path: Path, another_resnet34: None) -> None:
    for path, parts in bad_models(tmp_path, model).items():
        refused(cxrlens("test", phantoms, "-m", path, "-o", tmp_path / "out"), 2, path, *parts)
        refused(cxrlens("explain", phantoms, "-m", path, "-o", tmp_path / "out"), 2, path, *parts)
    assert not (tmp_path / "out").exists()


# -- unreadable pictures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", SCORING)
def test_a_corrupt_image_is_listed_and_the_others_count(
    phantoms: Path, data: Path, model: Path, tmp_path: Path, command: str
) -> None:
    (bad,) = spoil(data / "dev" / "affected")
    finished = cxrlens(command, data, "-m", model, "-o", tmp_path / "spoilt", "--json", *options(command))
    clean = cxrlens(command, phantoms, "-m", model, "-o", tmp_path / "clean", "--json", *options(command))
    assert (finished.code, clean.code) == (3, 0)
    assert finished.errors == []
    assert "1 image could not be read and was left out; it is listed in" in finished.err
    assert str(bad) in finished.err
    (reason,) = finished.json["unreadable"]
    assert reason.startswith(f"{bad}: ")
    assert (tmp_path / "spoilt" / "unreadable.txt").read_text() == f"{reason}\n"
    assert not (tmp_path / "clean" / "unreadable.txt").exists()
    name = {"test": "predictions", "explain": "explanations", "pointing-game": "per_image"}[command]
    rows, clean_rows = (table(tmp_path / folder / f"{name}.csv") for folder in ("spoilt", "clean"))
    assert len({row["image"] for row in clean_rows}) - len({row["image"] for row in rows}) == 1
    agree(rows, [row for row in clean_rows if not row["image"].endswith(bad.name)])


@pytest.mark.parametrize("command", ["explain", "pointing-game"])
def test_a_single_unreadable_image(data: Path, model: Path, tmp_path: Path, command: str) -> None:
    (bad,) = spoil(data / "dev" / "affected")
    given = ("--annotation", "0 1 2 30 40") if command == "pointing-game" else ()
    finished = cxrlens(command, bad, "-m", model, "-o", tmp_path / "out", *given, *FAST)
    refused(finished, 3, bad, "truncated", "copy the file again")


@pytest.mark.parametrize("command", SCORING)
def test_nothing_readable_at_all_is_nothing_to_do_but_listed(
    data: Path, model: Path, tmp_path: Path, command: str
) -> None:
    bad = [*spoil(data / "dev" / "affected", 9), *spoil(data / "dev" / "normal", 9)]
    if command == "pointing-game":  # plays on the images with objects alone
        bad = [path for path in bad if path.parent.name == "affected"]
    finished = cxrlens(command, data, "-m", model, "-o", tmp_path / "out", *options(command))
    refused(finished, 4, data, f"none of its {len(bad)}" if command != "test" else f"none of the {len(bad)}")
    listed = (tmp_path / "out" / "unreadable.txt").read_text().splitlines()
    assert [line.split(": ")[0] for line in listed] == [str(path) for path in sorted(bad, key=lambda p: (
        p.parent.name != "normal", p.name))]  # fmt: skip


def test_training_goes_on_without_a_corrupt_image(data: Path, tmp_path: Path) -> None:
    bad = [*spoil(data / "train" / "affected"), *spoil(data / "dev" / "normal")]
    finished = cxrlens("train", data, *TINY, "--runs", tmp_path / "runs", "--name", "a", "--json")
    assert finished.code == 3
    assert finished.errors == []
    assert finished.json["counts"] == {"train": {"normal": 8, "affected": 7}, "dev": {"normal": 3, "affected": 4}}
    assert [reason.split(": ")[0] for reason in finished.json["unreadable"]] == [str(path) for path in bad]
    assert (tmp_path / "runs" / "a" / "unreadable.txt").read_text().splitlines() == finished.json["unreadable"]
    assert (tmp_path / "runs" / "a" / "model.safetensors").is_file()


def test_training_without_a_readable_image_of_a_class(data: Path, tmp_path: Path) -> None:
    bad = spoil(data / "dev" / "affected", 9)
    finished = cxrlens("train", data, *TINY, "--runs", tmp_path / "runs")
    refused(finished, 2, "dev: no readable image is affected", "needs both classes", "4 of 8 cannot be read", bad[0])


# -- annotations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*SCORING, "train"])
def test_a_row_that_cannot_be_parsed(data: Path, model: Path, tmp_path: Path, command: str) -> None:
    lines = (data / "dev.csv").read_text().splitlines()
    name = lines[2].split(",")[0]
    lines[2] = f"{name},0 1 2 three 4"
    (data / "dev.csv").write_text("\n".join(lines))
    where = ("--runs", tmp_path / "runs") if command == "train" else ("-m", model, "-o", tmp_path / "out")
    refused(
        cxrlens(command, data, *where), 2, f"{data / 'dev.csv'}, line 3", name, "'0 1 2 three 4'", "correct the row"
    )


@pytest.mark.parametrize(
    ("given", "code", "parts"),
    [
        ((), 2, ("--annotation TEXT", "--annotations CSV")),
        (("--annotation", "0 1 2"), 2, ("--annotation", "'0 1 2' should have 4 numbers")),
        (("--annotation", "5 1 2 3 4"), 2, ("--annotation", "the codes are 0, 1 and 2")),
        (("--annotation", " "), 2, ("--annotation is empty",)),
        (("--annotation", "0 900 900 999 999"), 4, ("IMAGE", "wholly outside")),
        (("--annotations", "TRAIN"), 2, ("TRAIN", "has no row for", "--annotation TEXT")),
        (("--annotations", "ABSENT"), 2, ("ABSENT", "no such file")),
        (("--annotations", "TRAIN", "--annotation", "0 1 2 3 4"), 2, ("--annotation TEXT", "--annotations CSV")),
    ],
)
def test_objects_of_a_single_image(
    phantoms: Path,
    model: Path,
    tmp_path: Path,
    given: tuple[str, ...],
    code: int,
    parts: tuple[str, ...],
) -> None:
    image = min((phantoms / "dev" / "affected").iterdir())
    paths = {"IMAGE": image, "TRAIN": phantoms / "train.csv", "ABSENT": tmp_path / "absent.csv"}
    finished = cxrlens("pointing-game", image, "-m", model, "-o", tmp_path / "out", *FAST,
                       *(paths.get(word, word) for word in given))  # fmt: skip
    refused(finished, code, *(paths.get(part, part) for part in parts))


def test_objects_of_a_folder(phantoms: Path, model: Path, tmp_path: Path) -> None:
    def play(source: Path, *given: object) -> Finished:
        return cxrlens("pointing-game", source, "-m", model, "-o", tmp_path / "out", *FAST, *given)

    affected, rows = phantoms / "dev" / "affected", phantoms / "dev.csv"
    refused(play(affected, "--annotation", "0 1 2 3 4"), 2, "--annotation is for a single image", "--annotations")
    refused(play(phantoms, "--annotations", rows), 2, phantoms, "leave --annotations out")
    absent = tmp_path / "train.csv"
    refused(play(affected, "--annotations", rows, "--train-annotations", absent), 2, absent, "no such file")


# -- nothing to do ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["explain", "pointing-game"])
def test_a_folder_without_images(model: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").touch()
    refused(cxrlens(command, tmp_path / "in", "-m", model, "-o", tmp_path / "out"), 4, tmp_path / "in", "no images")
    assert not (tmp_path / "out").exists()


def test_no_image_with_an_object(phantoms: Path, model: Path, tmp_path: Path) -> None:
    normal = phantoms / "dev" / "normal"
    for given in ((), ("--annotations", phantoms / "dev.csv")):
        finished = cxrlens("pointing-game", normal, "-m", model, "-o", tmp_path / "out", *FAST, *given)
        refused(finished, 4, normal, "no image has an annotated object", "--annotations")
        assert not (tmp_path / "out").exists()


def test_only_objects_outside_their_picture(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("L", (40, 30)).save(tmp_path / "in" / "a.png")
    rows = tmp_path / "rows.csv"
    rows.write_text("image_name,annotation\na.png,0 90 90 99 99\n")
    finished = cxrlens("pointing-game", tmp_path / "in", "-m", model, "-o", tmp_path / "out", *FAST,
                       "--annotations", rows)  # fmt: skip
    refused(finished, 4, tmp_path / "in", "0 cannot be read", "annotations of 1 lie outside")
    assert "a.png: an annotation lies wholly outside the 40 x 30 picture" in finished.err


def test_a_finished_run_has_nothing_to_resume(phantoms: Path, tmp_path: Path) -> None:
    run = ("train", phantoms, *TINY, "--runs", tmp_path, "--name", "a")
    refused(cxrlens(*run, "--resume"), 2, tmp_path / "a", "no run to resume")
    assert cxrlens(*run).code == 0
    refused(cxrlens(*run), 2, tmp_path / "a", "already exists", "--resume", "--force", "--name")
    refused(cxrlens(*run, "--resume"), 4, tmp_path / "a", "this run is finished")
    other = cxrlens("train", phantoms, *TINY, "--runs", tmp_path, "--name", "a", "--resume", "--set", "seed=5")
    refused(other, 2, tmp_path / "a", "started with another seed")
    assert (tmp_path / "a" / "model.safetensors").is_file()


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["explain", "pointing-game"])
@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (("--method", "gradcam"), ("unknown method 'gradcam'", "near matches: grad_cam")),
        (("--method", "grad_cam,normgrad_conv"), ("unknown method 'normgrad_conv'", "normgrad_conv1x1")),
        (("--method", "captum:Salienci"), ("captum has no attribution class 'Salienci'", "near matches: Saliency")),
        (("--layer-weights", "1,b"), ("--layer-weights takes numbers", "1,b")),
        (("--combination", "mean", "--layer-weights", "1,2"), ("3 layers need 3 weights",)),
        (("--layer-weights", "1,1,1,1"), ("'product' takes no layer weights",)),
        (("--layers", "layer4.7"), ("no layer 'layer4.7'", "near matches: layer4.")),
        (("--layers", "fc"), ("layer 'fc'", "convolutional")),
        (("--device", "cuda:99"), ("device 'cuda:99' cannot be used", "--device auto")),
        (("--device", "gpu"), ("device 'gpu' cannot be used", "--device auto")),
    ],
)
def test_unknown_methods_layers_and_devices(
    phantoms: Path,
    model: Path,
    tmp_path: Path,
    command: str,
    given: tuple[str, ...],
    parts: tuple[str, ...],
) -> None:
    refused(cxrlens(command, phantoms, "-m", model, "-o", tmp_path / "out", "--workers", 0, *given), 2, *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (("--arch", "resnet-43"), ("unknown architecture 'resnet-43'", "did you mean resnet34")),
        (("--arch", "efficientnet"), ("unknown architecture 'efficientnet'", "efficientnet_b0")),
        (("--arch", "zzz"), ("unknown architecture 'zzz'", "resnet34")),
        (("--recipe", "papr"), ("unknown recipe 'papr'", "paper", ".yaml")),
        (("--recipe", "absent.yaml"), ("absent.yaml", "no such recipe file")),
        (("--set", "learning_rat=1"), ("no value 'learning_rat'", "near matches: learning_rate")),
        (("--set", "augmentation.degres=1"), ("no value 'augmentation.degres'", "augmentation.degrees")),
        (("--set", "zzz.y=1"), ("no value 'zzz.y'", "known:", "learning_rate")),
        (("--set", "epochs=many"), ("epochs should be a whole number, not 'many'",)),
        (("--set", "epochs=0"), ("epochs should be above 0, not 0",)),
        (("--set", "epochs=[1"), ("--set epochs=[1", "YAML")),
        (("--set", "epochs=2026-13-01"), ("--set epochs=2026-13-01", "YAML")),
        (("--image-size", 20_000), ("image_size should be at most 16384, not 20000",)),
        (("--set", "epochs"), ("NAME=VALUE", "'epochs'")),
        (("--class-weights", "some"), ("class_weights should be 'none' or 'balanced', not 'some'",)),
        (("--weights", "absent.pt"), ("absent.pt", "no such weights file", "'imagenet'")),
        (("--device", "cuda:99"), ("device 'cuda:99' cannot be used", "--device auto")),
        (("--weights", "none", "--precision", "16-mixed", "--device", "cpu"), ("16-mixed needs a GPU",)),
        (("--weights", "none", "--strategy", "none"), ("the trainer refuses --devices, --num-nodes or --strategy",)),
    ],
)
def test_unknown_names_of_a_training(
    phantoms: Path, tmp_path: Path, given: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused(cxrlens("train", phantoms, "--runs", tmp_path / "runs", *given), 2, *parts)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("base: small\nlearning_rat: 1\n", ("no value 'learning_rat'", "near matches: learning_rate")),
        ("augmentation:\n  degres: 1\n", ("no value 'augmentation.degres'", "augmentation.degrees")),
        ("base: papr\n", ("unknown base 'papr'", "paper")),
        ("base: [paper]\n", ("unknown base", "paper")),
        ("5: 6\n", ("no value '5'",)),
        ("epochs: many\n", ("epochs should be a whole number, not 'many'",)),
        ("epochs: [1\n", ("cannot be read as YAML",)),
        ("epochs: 2026-13-01\n", ("cannot be read as YAML", "month must be in 1..12")),
        ("epochs\n", ("'name: value' lines",)),
        ("", ("'name: value' lines",)),
    ],
)
def test_recipe_files_that_cannot_be_used(phantoms: Path, tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    path = tmp_path / "my recipe.yaml"
    path.write_text(text)
    refused(cxrlens("train", phantoms, "--runs", tmp_path / "runs", "--recipe", path), 2, path, *parts)


def test_missing_options_and_commands_are_usage_errors(phantoms: Path) -> None:
    assert cxrlens("test", phantoms).code == 2
    assert cxrlens("tset", phantoms).code == 2
    assert cxrlens("explain", phantoms, "-m", "x", "--target", "true").code == 2
    assert "--model" in cxrlens("test", phantoms).err


# -- weights ----------------------------------------------------------------------------------------------------------


def test_weights_of_another_architecture(phantoms: Path, model: Path, tmp_path: Path, another_resnet34: None) -> None:
    for arch in ("resnet34", "efficientnet_b0"):
        finished = cxrlens("train", phantoms, "--arch", arch, "--weights", model, "--runs", tmp_path / "runs")
        refused(finished, 2, model, f"not of {arch}", f"give the weights of {arch}")
    assert not (tmp_path / "runs").exists()


def test_weights_that_are_no_weights(phantoms: Path, tmp_path: Path) -> None:
    for name in ("text.pt", "text.pth", "text.safetensors"):
        (tmp_path / name).write_text("These are not weights.\n")
        finished = cxrlens("train", phantoms, "--weights", tmp_path / name, "--runs", tmp_path / "runs")
        refused(finished, 2, tmp_path / name, "no readable weights file")
    torch.save([1, 2], tmp_path / "list.pt")
    finished = cxrlens("train", phantoms, "--weights", tmp_path / "list.pt", "--runs", tmp_path / "runs")
    refused(finished, 2, tmp_path / "list.pt", "no state dict")


def test_imagenet_weights_without_a_network_do_not_cost_the_run_that_is_there(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "hub"))
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("architecture: resnet18\n")
    (run / "model.safetensors").write_text("dear")
    finished = cxrlens("train", phantoms, "--arch", "resnet18", "--runs", run.parent, "--name", "a", "--force")
    refused(finished, 2, "ImageNet weights of resnet18", "Name or service not known", "--weights none",
            "https://download.pytorch.org/models/resnet18", tmp_path / "hub" / "checkpoints")  # fmt: skip
    assert (run / "model.safetensors").read_text() == "dear"
    finished = cxrlens("train", phantoms, "--arch", "resnet18", "--runs", run.parent, "--name", "b")
    assert finished.code == 2
    assert not (run.parent / "b").exists()  # a second try needs no --force


# -- drawing phantoms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (("--train", 3), "even and at least 2"),
        (("--dev", 0), "even and at least 2"),
        (("--size", 32), "at least 64"),
    ],
)
def test_phantoms_that_cannot_be_drawn(tmp_path: Path, given: tuple[object, ...], part: str) -> None:
    refused(cxrlens("data", "phantom", tmp_path / "new", *given), 2, part)
    assert list(tmp_path.iterdir()) == []


def test_phantoms_do_not_replace_a_folder_in_use(phantoms: Path) -> None:
    before = sorted(phantoms.rglob("*"))
    refused(cxrlens("data", "phantom", phantoms), 2, phantoms, "in use already")
    assert sorted(phantoms.rglob("*")) == before


def test_a_near_match_of_a_layer_choice_is_offered(phantoms: Path, model: Path, tmp_path: Path) -> None:
    refused(cxrlens("explain", phantoms, "-m", model, "-o", tmp_path / "out", "--layers", "combind"), 2, "combined")
