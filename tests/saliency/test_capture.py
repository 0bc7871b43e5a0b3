"""Capture against plain autograd on cut networks, and what it leaves behind whatever happens: nothing."""

from __future__ import annotations

import contextlib
import threading
import warnings
from typing import Any

import pytest
import torch
from tiny_networks import LAYER_METHODS, Tiny, chain, efficientnet_b0, module_names, plain_autograd, resnet18
from torch import Tensor, nn

from cxrlens.errors import UsageError
from cxrlens.saliency.capture import INPUT, capture, find_layer
from cxrlens.saliency.explain import explain
from cxrlens.saliency.methods import METHODS, SaliencyMethod
from cxrlens.saliency.target import as_logits, target_classes
from waiting import PATIENCE

MIXED = [*LAYER_METHODS, "guided_grad_cam", "gradient"]
OF_CAPTUM = (  # its LRP writes the weights anew with the same values
    "Saliency", "InputXGradient", "IntegratedGradients", "Deconvolution", "GuidedBackprop", "GuidedGradCam", "DeepLift",
    "Occlusion", "LayerGradCam", "LayerDeepLift", "LayerIntegratedGradients",
)  # fmt: skip
EVERY_PASS = [id_ for id_ in METHODS if id_ not in LAYER_METHODS[1:]] + [f"captum:{name}" for name in OF_CAPTUM]
HOOKS = [name for name in vars(nn.Module()) if name.endswith(("_hooks", "_hooks_with_kwargs", "_always_called"))]


def state_of(network: nn.Module) -> list[Any]:
    """Everything that explaining must leave as it was."""
    found: list[Any] = []
    for name, module in network.named_modules():
        hooks = [list(getattr(module, kind)) for kind in HOOKS]
        flags = (module.training, getattr(module, "inplace", None), "forward" in vars(module))
        found.append((name, type(module), flags, hooks))
    for name, parameter in network.named_parameters():
        gradient = None if parameter.grad is None else parameter.grad.tolist()
        found.append((name, parameter.requires_grad, gradient, parameter._version, parameter.is_leaf))
    found += [(name, buffer._version, buffer.requires_grad) for name, buffer in network.named_buffers()]
    return found


@pytest.mark.parametrize(
    ("build", "size"),
    [(Tiny, (22, 34)), (resnet18, (32, 48)), (efficientnet_b0, (48, 32))],
    ids=["tiny", "resnet18", "efficientnet_b0"],
)
def test_every_layer_equals_plain_autograd_on_the_cut_network(build, size: tuple[int, int]):
    network = build()
    torch.manual_seed(7)
    images = torch.rand(2, 3, *size)
    names = module_names(network)
    layers = [names[module] for module in chain(network)]
    logits, captured = capture(network, images, layers, 1)
    with torch.no_grad():
        torch.testing.assert_close(logits, network(images), rtol=1e-6, atol=1e-6)
    assert list(captured) == layers
    for layer, (activation, gradient) in zip(layers, plain_autograd(network, images, target=1), strict=True):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(captured[layer].activation, activation, rtol=1e-5, atol=1e-5)
        scale = float(gradient.abs().max())
        torch.testing.assert_close(captured[layer].gradient, gradient, rtol=1e-3, atol=1e-4 * scale)


def test_a_block_and_its_last_module_can_be_captured_together():
    network, images = resnet18(), torch.rand(1, 3, 32, 48)
    _, captured = capture(network, images, ["layer2", "layer2.1", "layer1.0.conv2"], 0)
    torch.testing.assert_close(captured["layer2"], captured["layer2.1"])
    _, alone = capture(network, images, ["layer2"], 0)
    torch.testing.assert_close(captured["layer2"], alone["layer2"])


class Counted(Tiny):
    """Counts its forward passes."""

    passes = 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        return super().forward(images)


def test_one_forward_pass_for_all_layers():
    network = Counted()
    capture(network, torch.rand(2, 3, 16, 20), ["features.0", "features.1", "features.3"], 1)
    assert network.passes == 1


def test_without_layers_there_are_logits_alone():
    network, images = Tiny(), torch.rand(2, 3, 16, 20)
    logits, captured = capture(network, images, [], 1)
    assert captured == {}
    torch.testing.assert_close(logits, network(images).detach())
    assert not logits.requires_grad


class Troubled(Tiny):
    """Raises behind its third module, after as many whole passes as ``passes`` says."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self.passes = 0

    def tail(self, features: Tensor) -> Tensor:
        if self.error is not None and self.passes == 0:
            raise self.error
        self.passes -= 1
        return super().tail(features)


@pytest.mark.parametrize("old_gradient", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("grad_mode", [False, True])
@pytest.mark.parametrize(
    "trouble", ["none", "forward", "interrupt", "method", "target", "layer"], ids=lambda trouble: f"trouble-{trouble}"
)
def test_nothing_is_left_behind(trouble: str, grad_mode: bool, frozen: bool, old_gradient: bool, monkeypatch):
    network = Troubled()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter) if old_gradient else None
        parameter.requires_grad_(not frozen)
    before = state_of(network)
    expected: Any = contextlib.nullcontext()
    options: dict[str, Any] = {"methods": "grad_cam", "layers": ["features.0", "features.3"]}
    if trouble == "forward":
        network.error, expected = RuntimeError("broken"), pytest.raises(RuntimeError, match="broken")
    elif trouble == "interrupt":
        network.error, expected = KeyboardInterrupt(), pytest.raises(KeyboardInterrupt)
    elif trouble == "method":

        def broken(_pair: Any) -> Tensor:
            raise ZeroDivisionError

        monkeypatch.setitem(
            METHODS, "broken", SaliencyMethod("broken", "", "", "", "", "layer", broken, has_layers=True)
        )
        options["methods"], expected = "broken", pytest.raises(ZeroDivisionError)
    elif trouble == "target":
        options["target"], expected = 2, pytest.raises(UsageError)
    elif trouble == "layer":
        options["layers"], expected = ["features.0", "head"], pytest.raises(UsageError)
    images = torch.rand(2, 3, 16, 20)
    with torch.set_grad_enabled(grad_mode):
        with expected:
            explain(network, images, **options)
        assert torch.is_grad_enabled() == grad_mode
    assert state_of(network) == before
    assert images.grad is None
    assert not images.requires_grad


def test_state_of_sees_a_hook_a_flag_and_a_gradient():
    """The guard above would notice: it is not blind."""
    network = Tiny()
    before = state_of(network)
    network.features[0].register_forward_hook(lambda *_: None)
    assert state_of(network) != before
    network = Tiny()
    network(torch.rand(1, 3, 8, 8)).sum().backward()
    assert state_of(network) != before
    network = Tiny()
    network.features[1].train()
    assert state_of(network) != before


@pytest.mark.parametrize("images_need_gradients", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_parameters_and_no_grad_change_nothing(frozen: bool, images_need_gradients: bool):
    network, images = Tiny().requires_grad_(not frozen), torch.rand(2, 3, 16, 20)
    images.requires_grad_(images_need_gradients)
    activation, gradient = plain_autograd(network, images.detach(), target=1)[1]
    for mode in (torch.no_grad(), torch.enable_grad()):
        with mode:
            logits, captured = capture(network, images, ["features.1"], 1)
        pair = captured["features.1"]
        torch.testing.assert_close(pair.activation, activation)
        torch.testing.assert_close(pair.gradient, gradient)
        assert not any(tensor.requires_grad for tensor in (logits, pair.activation, pair.gradient))
    assert images.grad is None


class InPlace(nn.Module):
    """Writes into the output of its convolution in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 2)
        self.way = way
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.conv(images))

    def after(self, features: Tensor) -> Tensor:
        if self.way == "relu":
            self.relu(features)
        elif self.way == "add":
            features += 1
            features.tanh_()
        else:
            features[:, :, 0] = 0
            features.mul_(features.detach().sigmoid())
        return self.head(features.flatten(2).square().mean(2))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("way", ["relu", "add", "index"])
def test_in_place_operations_do_not_rewrite_what_was_stored(way: str, frozen: bool):
    network = InPlace(way).requires_grad_(not frozen)
    images = torch.rand(2, 3, 5, 7)
    with torch.no_grad():
        activation = network.conv(images)
    leaf = activation.clone().requires_grad_()
    logits = network.after(leaf.clone())
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), leaf)
    found, captured = capture(network, images, ["conv"], 0)
    torch.testing.assert_close(captured["conv"].activation, activation)
    torch.testing.assert_close(captured["conv"].gradient, gradient)
    torch.testing.assert_close(found, logits.detach())


def test_inference_and_training_mode_are_refused():
    network, images = Tiny(), torch.rand(1, 3, 16, 16)
    with torch.inference_mode(), pytest.raises(UsageError, match="inference_mode"):
        capture(network, images, ["features.1"], 1)
    with pytest.raises(UsageError, match="training mode"):
        capture(network.train(), images, ["features.1"], 1)


def test_a_part_in_training_mode_is_refused_where_it_matters():
    network, images = resnet18(), torch.rand(1, 3, 32, 32)
    network.fc.train()  # as a head is that was replaced after eval()
    network.relu.train()
    capture(network, images, ["layer4.1"], 1)
    network.layer4.train()
    with pytest.raises(UsageError, match=r"'layer4\.0' is in training mode; call network\.eval"):
        capture(network, images, ["layer2.0"], 1)
    network.eval().layer3[1].bn2.train()
    for layers in (["layer4.1"], [INPUT], []):
        with pytest.raises(UsageError, match=r"'layer3\.1\.bn2'"):
            capture(network, images, layers, 1)


def test_tensors_of_inference_mode():
    with torch.inference_mode():
        images, network = torch.rand(2, 3, 16, 20), Tiny()
    expected = capture(Tiny(), images.clone(), [INPUT, "features.1"], 1)[1]
    found = capture(Tiny(), images, [INPUT, "features.1"], 1)[1]
    for name in expected:
        torch.testing.assert_close(found[name].gradient, expected[name].gradient)
    with pytest.raises(UsageError, match=r"built under torch\.inference_mode"):
        capture(network, images, ["features.1"], 1)


class FrozenBackbone(Tiny):
    """Runs its features without gradients, as some fine-tuning code does."""

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.features(images)
        return self.tail(features)


def test_a_network_that_cuts_the_graph_is_refused_with_the_reason():
    with pytest.raises(UsageError, match="no_grad or detach"):
        capture(FrozenBackbone(), torch.rand(1, 3, 16, 16), ["features.1"], 1)


class Faint(Tiny):
    """Its logits are so small that float16 cannot hold their gradients."""

    def tail(self, features: Tensor) -> Tensor:
        return super().tail(features) * 1e-3


@pytest.mark.parametrize("way", ["half", "autocast"])
def test_small_gradients_do_not_vanish_in_float16(way: str):
    """At the map's 8 x 12 locations gradients are about 1e-6; float16's smallest step is 6e-8."""
    network, images = Faint(), torch.rand(2, 3, 32, 48)
    expected = capture(network, images, ["features.1", "features.3"], 1)[1]
    if way == "half":
        network, images = network.half(), images.half()
    with torch.autocast("cpu", torch.float16, enabled=way == "autocast"):
        found = capture(network, images, ["features.1", "features.3"], 1)[1]
    for name, pair in expected.items():
        error = (found[name].gradient - pair.gradient).abs().max() / pair.gradient.abs().max()
        assert error < 0.01, name


def test_an_unknown_layer_names_near_ones():
    with pytest.raises(UsageError, match=r"no layer 'layer4\.7'.*layer4\.1"):
        capture(resnet18(), torch.rand(1, 3, 32, 32), ["layer4.7"], 1)
    with pytest.raises(UsageError, match="named_modules"):
        find_layer(Tiny(), "zzz")
    with pytest.raises(UsageError):
        find_layer(Tiny(), "")


class Odd(nn.Module):
    """Has a module of every kind that cannot be explained."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.shared = nn.ReLU()
        self.unused = nn.Conv2d(3, 4, 3)
        self.side = nn.Conv2d(4, 4, 1)
        self.before_detach = nn.Conv2d(4, 4, 1)
        self.pair = Pair()
        self.flat = nn.Flatten()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4, 2)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        features = self.shared(self.before_detach(self.shared(self.conv(images))).detach())
        self.side(features)
        self.pair(features)
        return self.head(self.flat(self.pool(features)))


class Pair(nn.Module):
    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return features, features


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("unused", "did not run"),
        ("shared", "more than once"),
        ("flat", "no map"),
        ("head", "no map"),
        ("pair", "no map"),
        ("side", "does not depend"),
        ("before_detach", "does not depend"),
    ],
)
def test_layers_that_cannot_be_explained(layer: str, message: str, frozen: bool):
    network = Odd().requires_grad_(not frozen)
    with pytest.raises(UsageError, match=f"(?s)'{layer}'.*{message}|{message}.*'{layer}'"):
        capture(network, torch.rand(1, 3, 8, 9), [layer], 1)


@pytest.mark.parametrize("output", [{"out": torch.zeros(1, 2)}, torch.zeros(1, 2, 1)])
def test_output_that_is_no_logits_is_refused(output: Any):
    class Other(Tiny):
        def forward(self, images: Tensor) -> Any:
            super().forward(images)
            return output

    with pytest.raises(UsageError, match="logits"):
        capture(Other(), torch.rand(1, 3, 16, 16), ["features.1"], 1)


def test_a_traced_network_whose_layers_run_no_hooks_is_refused():
    images = torch.rand(1, 3, 16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Tiny(), images)
    with pytest.raises(UsageError, match="scripted"):
        capture(traced, images, ["features.1"], 1)


@pytest.mark.parametrize("way", ["torch.compile", "compile", "nested"])
def test_a_compiled_network_is_refused_with_what_to_give(way: str):
    network: Any = Tiny()
    if way == "torch.compile":
        network = torch.compile(network)
    elif way == "compile":
        network.compile()
    else:
        network.features = torch.compile(network.features)
    with pytest.raises(UsageError, match=r"compiled.*plain module"):
        capture(network, torch.rand(1, 3, 16, 16), ["features.1"], 1)


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=["error", "interrupt"])
@pytest.mark.parametrize("old_gradient", [False, True])
@pytest.mark.parametrize("id_", EVERY_PASS)
@pytest.mark.filterwarnings("ignore")
def test_nothing_is_left_behind_by_any_kind_of_pass(id_: str, old_gradient: bool, error: BaseException):
    """The single layer is first tried, then explained in closed form; both are interrupted, and passes behind them."""
    network, images = Troubled(), torch.rand(2, 3, 16, 20)
    for index, parameter in enumerate(network.parameters()):
        parameter.grad = torch.ones_like(parameter) if old_gradient else None
        parameter.requires_grad_(index != 1)
    before, random = state_of(network), torch.get_rng_state()
    interrupted = 0
    for trouble, passes in ((error, 0), (None, 0), (error, 0), (error, 1), (error, 2)):
        network.error, network.passes = trouble, passes
        try:
            explain(network, images, methods=id_, layers="features.3")
        except (type(error), UsageError):  # captum's errors come as one sentence
            interrupted += 1
        else:
            assert trouble is None or passes
        assert torch.is_grad_enabled()
        assert torch.overrides._get_current_function_mode() is None
        assert torch.equal(torch.get_rng_state(), random)
        assert state_of(network) == before
    assert images.grad is None
    assert not images.requires_grad
    several = METHODS[id_].reads in ("guided", "maps", "network") if id_ in METHODS else True
    assert interrupted >= 2 + several


class Meeting(Tiny):
    """Every forward pass waits in the middle until two threads are there."""

    barrier: threading.Barrier | None = None

    def tail(self, features: Tensor) -> Tensor:
        if self.barrier is not None:
            self.barrier.wait(PATIENCE)
        return super().tail(features)


def test_two_threads_explain_with_one_network():
    network = Meeting()
    batches = [torch.rand(2, 3, 16, 20), torch.rand(3, 3, 24, 12)]
    layers = [["features.0", "features.3"], ["features.0", "features.1"]]
    alone = [explain(network, batches[i], methods=MIXED, layers=layers[i]) for i in range(2)]
    before = state_of(network)
    found: dict[int, Any] = {}

    def work(index: int) -> None:
        with torch.set_grad_enabled(bool(index)):
            found[index] = explain(network, batches[index], methods=MIXED, layers=layers[index])
            assert torch.is_grad_enabled() == bool(index)

    for _ in range(5):
        network.barrier = threading.Barrier(2)
        threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index in range(2):
            torch.testing.assert_close(found.pop(index), alone[index], rtol=1e-6, atol=1e-6)
    assert state_of(network) == before


LOGITS = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0], [5.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        ("affected", [1, 1, 1]),
        ("predicted", [2, 1, 0]),
        (0, [0, 0, 0]),
        (2, [2, 2, 2]),
        (torch.tensor([2, 0, 1]), [2, 0, 1]),
        (torch.tensor([2, 0, 1], dtype=torch.uint8), [2, 0, 1]),
    ],
)
def test_targets(target: Any, classes: list[int]):
    assert target_classes(LOGITS, target).tolist() == classes


@pytest.mark.parametrize(
    "target",
    ["true", "", 3, -1, 0.5, None, torch.tensor([0, 1]), torch.tensor(1), torch.tensor([0, 1, 3]), torch.ones(3)],
    ids=str,
)
def test_wrong_targets_are_refused(target: Any):
    with pytest.raises(UsageError, match="target"):
        target_classes(LOGITS, target)


def test_targets_of_a_single_logit():
    logits = as_logits(torch.tensor([[-0.5], [0.5]]))
    torch.testing.assert_close(logits.softmax(1)[:, 1], torch.tensor([-0.5, 0.5]).sigmoid())
    assert target_classes(logits, "predicted").tolist() == [0, 1]
    assert target_classes(logits, "affected").tolist() == [1, 1]
    with pytest.raises(UsageError):
        target_classes(logits, 2)
