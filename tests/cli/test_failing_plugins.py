"""Plug-ins that fail at their work, or give what they should not, end a command with one sentence that names them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import cxrlens as library
from command_line import cxrlens, refused, table
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inspection.quality_model import load
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.registry import build_network, find_architecture
from cxrlens.plugins import PluginError, at_fault
from cxrlens.saliency.methods import find_method
from cxrlens.saliency.methods.registry import method
from plugged_packages import package

HEAD = """
import math
import torch
from cxrlens.saliency.methods.registry import method

def registered(id_, **given):
    return method(id_, title="A title", formula="a formula", source="a source", **given)
"""

WRONG_METHODS = {
    "raises": ("def wrong(pair):\n    return pair.activations", "AttributeError", "line 11 of plugged_methods.py"),
    "raises_deep": ("def wrong(pair):\n    return torch.cat([pair.activation, pair.gradient[:, :, 1:]])",
                    "RuntimeError", "line 11 of plugged_methods.py"),
    "no_tensor": ("def wrong(pair):\n    return pair.activation.mean(1).numpy()", "gives ndarray", "torch tensor [1, "),
    "nothing": ("def wrong(pair):\n    pair.activation.mean(1)", "gives NoneType"),
    "channels": ("def wrong(pair):\n    return pair.activation", "the shape [1, ", "should be [1, 2, 2]"),
    "transposed_small": ("def wrong(pair):\n    return pair.activation.mean(1)[:, :1]", "the shape [1, 1, 2]"),
    "complex": ("def wrong(pair):\n    return pair.activation.mean(1) * 1j", "complex numbers"),
    "nan": ("def wrong(pair):\n    return pair.activation.mean(1) * math.nan", "no finite numbers for 1 of 1 images"),
    "one_nan": ("def wrong(pair):\n    found = pair.activation.mean(1)\n    found[0] = math.inf\n    return found",
                "no finite numbers for 1 of 1 images"),
    "of_the_input": ("def wrong(probe):\n    return probe.images[:, 0, :9]", "the shape [1, 9, 64]", "[1, 64, 64]"),
    "nan_of_the_network": ("def wrong(probe):\n    return probe.images[:, 0] / 0", "no finite numbers for 1 of 1"),
}  # fmt: skip
"""Methods by their ids: the code of a function, and what the sentence says."""


@pytest.fixture
def site(on_path: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    on_path.syspath_prepend(str(folder))
    return folder


def one_method(site: Path, code: str) -> None:
    """A package with the method ``wrong``."""
    reads = "network" if "(probe)" in code else "layer"
    code = f"{HEAD}\n@registered('wrong', reads='{reads}')\n{code}\n"
    package(site, "plugged-methods", {"cxrlens.methods": "wrong = plugged_methods:wrong"}, code)


@pytest.mark.parametrize("id_", list(WRONG_METHODS))
def test_a_method_that_is_wrong_is_named_with_its_package_and_what_is_wrong(
    site: Path, phantoms: Path, model: Path, tmp_path: Path, id_: str
):
    code, *said = WRONG_METHODS[id_]
    one_method(site, code)
    image = min((phantoms / "dev" / "affected").iterdir())
    finished = cxrlens(
        *("explain", image, "-m", model, "-o", tmp_path / "out", "--method", "wrong", "--layers", "last"),
        *("--workers", 0, "--device", "cpu"),
    )
    refused(finished, 2, "'wrong'", "package plugged-methods", *said, "pip uninstall plugged-methods")


def test_every_command_that_makes_maps_says_so(site: Path, phantoms: Path, model: Path, tmp_path: Path):
    one_method(site, WRONG_METHODS["raises"][0])
    images = phantoms / "dev"
    plan = tmp_path / "plan.yaml"
    plan.write_text("architectures: [resnet18]\nrows: [wrong last]\nrepeats: 50\n")
    common = ("--method", "wrong", "--layers", "last", "--workers", 0, "--device", "cpu")
    for arguments in (
        ("explain", phantoms, "-m", model, "-o", tmp_path / "explained", *common),
        ("pointing-game", phantoms, "-m", model, "-o", tmp_path / "pointing", *common),
        ("screen", images, "-m", model, "-o", tmp_path / "screened", *common),
        ("compare", model, model, "--data", phantoms, "-o", tmp_path / "compared", *common),
        ("compare", "grad_cam last", "wrong last", "-m", model, "--data", phantoms, "-o", tmp_path / "rows",
         "--workers", 0),
        ("study", phantoms, "-m", model, "--plan", plan, "-o", tmp_path / "studied", "--workers", 0),
    ):  # fmt: skip
        refused(cxrlens(*arguments), 2, "package plugged-methods", "'wrong'", "AttributeError", "line 11")


def test_from_python_the_error_has_the_packages_own_as_its_cause(site: Path, phantoms: Path, model: Path):
    one_method(site, WRONG_METHODS["raises"][0])
    loaded = load(model, device="cpu")
    image = min((phantoms / "dev" / "affected").iterdir())
    with pytest.raises(PluginError, match="plugged-methods") as caught:
        loaded.check(image, methods="wrong", layers="last")
    assert isinstance(caught.value.__cause__, AttributeError)
    with pytest.raises(PluginError, match="plugged-methods"):
        library.explain(loaded.network, torch.rand(2, 3, 64, 64), methods="wrong")


def test_what_a_method_may_give_is_taken_as_float32(site: Path, phantoms: Path, model: Path):
    """Whole numbers, float64 and a map with a gradient are the numbers that they are."""
    package(
        site,
        "plugged-kinds",
        {"cxrlens.methods": "\n".join(f"{id_} = plugged_kinds:own" for id_ in ("whole", "double", "grown"))},
        HEAD
        + """
own = registered("whole")(lambda pair: (1000 * pair.activation.mean(1)).round().long())
registered("double")(lambda pair: (1000 * pair.activation.mean(1)).double().round())
registered("grown")(lambda pair: (1000 * pair.activation.mean(1)).round().requires_grad_())
""",
    )
    network = load(model, device="cpu").network
    found = library.explain(network, torch.rand(2, 3, 64, 64), methods=["whole", "double", "grown"])
    assert {map_.dtype for map_ in found.values()} == {torch.float32}
    assert float(found["whole"].amax()) == 1
    assert torch.equal(found["whole"], found["double"])
    assert torch.equal(found["whole"], found["grown"].detach())
    assert not found["grown"].requires_grad


def test_values_that_are_no_numbers_are_flagged_where_what_was_given_was_none_either(site: Path):
    one_method(site, "def wrong(pair):\n    return (pair.activation * pair.gradient).sum(1)")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = build_network("resnet18").eval()
    images = torch.rand(2, 3, 64, 64)
    images[0, 0, 5, 5] = torch.nan
    found = library.explain(network, images, methods="wrong")
    assert found.flat["wrong"].tolist() == [True, False]


def test_a_method_of_ones_own_script_keeps_its_errors_and_is_named_for_what_it_gives(on_path: pytest.MonkeyPatch):
    @method("plugged_by_hand", title="", formula="", source="", reads="input")
    def by_hand(pair: object) -> object:
        raise ZeroDivisionError("by hand")

    @method("plugged_by_hand_too", title="", formula="", source="", reads="network")
    def too(probe: object) -> object:
        return 5

    network, images = build_network("resnet18").eval(), torch.rand(1, 3, 64, 64)
    with pytest.raises(ZeroDivisionError, match="by hand"):
        library.explain(network, images, methods="plugged_by_hand")
    with pytest.raises(PluginError, match=r"'plugged_by_hand_too' gives int, .*\[1, 64, 64\]; mend the function"):
        library.explain(network, images, methods="plugged_by_hand_too")


def test_too_little_memory_is_left_to_whoever_halves_batches(site: Path):
    one_method(
        site,
        "def wrong(pair):\n"
        "    if len(pair.activation) > 1:\n"
        "        raise torch.OutOfMemoryError('by hand')\n"
        "    return pair.activation.mean(1)",
    )
    network, images = build_network("resnet18").eval(), torch.rand(2, 3, 64, 64)
    halves = [library.explain(network, images[place : place + 1], methods="wrong")["wrong"] for place in (0, 1)]
    assert torch.equal(library.explain(network, images, methods="wrong")["wrong"], torch.cat(halves))


NETWORKS = """
from torch import nn
from cxrlens.models.registry import Architecture

class Failing(nn.Module):
    fails = False

    def __init__(self, classes):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, classes)

    def forward(self, images):
        if Failing.fails:
            raise LookupError("no table")
        return self.head(self.convolution(images).mean((2, 3)))

plugged_failing = Architecture("plugged_failing", Failing)
plugged_none = Architecture("plugged_none", lambda classes: None)
"""


def test_a_network_that_fails_while_it_runs_is_named(site: Path, phantoms: Path, tmp_path: Path):
    points = "\n".join(f"{name} = plugged_networks:{name}" for name in ("plugged_failing", "plugged_none"))
    package(site, "plugged-networks", {"cxrlens.architectures": points}, NETWORKS)
    with pytest.raises(PluginError, match=r"'plugged_none' of the package plugged-networks gives NoneType"):
        find_architecture("plugged_none").make(2)
    network = build_network("plugged_failing")
    card = ModelCard(architecture="plugged_failing", preprocessing=Preprocessing(height=64, width=64))
    save_model(tmp_path / "model.safetensors", network, card)
    type(network).fails = True
    out = tmp_path / "out"
    for command in ("test", "screen"):
        finished = cxrlens(command, phantoms, "-m", tmp_path / "model.safetensors", "-o", out, "--workers", 0)
        refused(finished, 2, "package plugged-networks", "'plugged_failing'", "LookupError: no table, line 15 of")
        shutil.rmtree(out, ignore_errors=True)
    with pytest.raises(PluginError, match="LookupError: no table, line 15 of") as caught:
        library.screen(phantoms, tmp_path / "model.safetensors", out, workers=0)
    assert isinstance(caught.value.__cause__, LookupError)


SOURCES = """
from dataclasses import dataclass
from pathlib import Path
from cxrlens.screening.remote.origin import RemoteOrigin

@dataclass(frozen=True)
class Image(RemoteOrigin):
    def exists(self):
        return True

    def read(self):
        if self.name.startswith("odd"):
            return "no bytes"
        if self.name.startswith("bad"):
            raise ConnectionError("went away")
        return Path(self.name).read_bytes()

class Source:
    def __init__(self, address):
        self.address = address
        self.wanted = address.partition("://")[2]

    def check(self):
        if self.wanted == "check":
            raise ConnectionError("went away")

    def origins(self):
        if self.wanted == "strange":
            yield "a text"
        yield Image(self.address, IMAGE)
        yield Image(self.address, "bad.png")
        yield Image(self.address, "odd.png")
        if self.wanted == "half":
            raise ConnectionError("went away")

    def origin(self, name):
        return Image(self.address, name)

    def feed(self):
        return None
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_a_source_cannot_read_costs_itself_alone(
    site: Path, phantoms: Path, model: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(site))
    image = min((phantoms / "dev" / "affected").iterdir())
    code = f"IMAGE = {str(image)!r}\n{SOURCES}"
    package(site, "plugged-source", {"cxrlens.sources": "plugged = plugged_source:Source"}, code)
    out = tmp_path / "out"
    finished = cxrlens("screen", "plugged://all", "-m", model, "-o", out, "--workers", workers, "--device", "cpu")
    assert finished.code == 3, finished.err
    assert "Traceback" not in finished.err
    rows = {row["name"]: row for row in table(out / "worklist.csv")}
    assert rows[str(image)]["status"] != "unreadable"
    for name, said in (("bad.png", "ConnectionError: went away, line 16 of"), ("odd.png", "gives str for an image")):
        assert rows[name]["status"] == "unreadable"
        assert "plugged-source" in rows[name]["reason"]
        assert said in rows[name]["reason"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("check", "ConnectionError: went away, line 26 of plugged_source.py"),
        ("half", "ConnectionError: went away, line 35 of plugged_source.py"),
        ("strange", "gives str for an image, which should be a RemoteOrigin"),
    ],
)
def test_a_source_that_fails_is_named(site: Path, phantoms: Path, model: Path, tmp_path: Path, place: str, said: str):
    image = min((phantoms / "dev" / "affected").iterdir())
    code = f"IMAGE = {str(image)!r}\n{SOURCES}"
    package(site, "plugged-source", {"cxrlens.sources": "plugged = plugged_source:Source"}, code)
    finished = cxrlens("screen", f"plugged://{place}", "-m", model, "-o", tmp_path / "out", "--workers", 0)
    refused(finished, 2, "plugged-source", "'plugged'", said)


def test_errors_in_which_no_package_has_a_part_stay_as_they_are(site: Path):
    one_method(site, WRONG_METHODS["raises"][0])
    find_method("wrong")
    with pytest.raises(IndexError) as caught:
        [][1]
    assert at_fault(caught.value) is None


def test_the_list_of_methods_has_those_of_packages_too(site: Path):
    one_method(site, "def wrong(pair):\n    return pair.activation.mean(1)")
    package(site, "plugged-broken", {"cxrlens.methods": "broken = plugged_broken:none\ngrad_cam = plugged_broken:none"})
    finished = cxrlens("explain", "--list")
    assert finished.code == 0, finished.err
    assert "\nwrong (A title)\n    a formula\n" in finished.out
    assert "    a source\n    of the package plugged-methods 1.0\n" in finished.out
    broken = finished.out.partition("\nbroken (not usable)\n")[2].splitlines()
    assert "cannot be loaded (AttributeError" in broken[0]
    assert broken[1] == "    of the package plugged-broken 1.0"
    assert "\ngrad_cam (not usable)\n    there is a method of this name in cxrlens" in finished.out
    assert finished.out.count("(Grad-CAM)") == 1
    assert finished.out.count("\nwrong (") == 1
    assert cxrlens("explain", "--list").out == finished.out


def test_a_method_of_a_package_is_not_exported_and_the_reason_is_true(site: Path, model: Path, tmp_path: Path):
    one_method(site, "def wrong(pair):\n    return pair.activation.mean(1)")
    refused(
        cxrlens("export", "-m", model, "-o", tmp_path / "a.onnx", "--method", "wrong"),
        2, "'wrong' cannot be exported, as files hold methods of cxrlens itself only",
    )  # fmt: skip
    assert not (tmp_path / "a.onnx").exists()


def test_the_doctor_names_packages_and_what_they_give(site: Path):
    points = {"cxrlens.architectures": "net = plugged_one:net", "cxrlens.methods": "grey = plugged_one:grey"}
    package(site, "plugged-one", points, "raise RuntimeError('is not imported for this')")
    package(site, "plugged-two", {"cxrlens.methods": "grey = plugged_two:grey\nother = plugged_two:other"})
    findings = [each for each in cxrlens("doctor", "--json").json["findings"] if each["section"] == "plug-ins"]
    told = {each["name"]: (each["status"], each["detail"]) for each in findings}
    assert told["plugged-one"] == ("ok", "1.0 (architectures: net; methods: grey)")
    assert told["plugged-two"] == ("ok", "1.0 (methods: grey, other)")
    assert told["grey"] == ("note", "is given by plugged-one and by plugged-two, and refused")
