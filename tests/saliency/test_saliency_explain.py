"""`cxrlens.explain`: layer choices, batches, heads, smoothing, flat maps, and a planted object found in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from tiny_networks import PLACED, Tiny, efficientnet_b0, resnet18
from torch import Tensor, nn
from torchvision import models as tv

import cxrlens
from cxrlens.errors import UsageError
from cxrlens.saliency.capture import capture
from cxrlens.saliency.cells.tracing import traced_grids
from cxrlens.saliency.explain import Row, default_rows, explain_rows, explain_rows_in_turn, make_row, resolve_layers
from cxrlens.saliency.fusion import Fusion, scale
from cxrlens.saliency.methods import METHODS
from cxrlens.saliency.resizing import DEFAULT_RESIZE, PUBLISHED_RESIZE, MapResize, resized

ALL = PLACED
PUBLISHED: dict[str, Any] = {"grid": "areas", "interpolation": "bilinear"}
PIXEL_METHODS = ["gradient", "input_x_gradient", "guided_backprop", "guided_grad_cam"]
EFFICIENTNET_COMBINED = [*(f"features.{stage}.0" for stage in range(9)), "features.8.2"]


@pytest.mark.parametrize(
    ("build", "last", "combined"),
    [
        (tv.resnet34, "layer4.2", ["layer2.0", "layer3.0", "layer4.0", "layer4.2"]),
        (tv.resnet50, "layer4.2", ["layer2.0", "layer3.0", "layer4.0", "layer4.2"]),
        (tv.resnet18, "layer4.1", ["layer2.0", "layer3.0", "layer4.0", "layer4.1"]),
        (tv.efficientnet_b0, "features.8.2", EFFICIENTNET_COMBINED),
    ],
)
def test_layers_of_the_paper(build, last: str, combined: list[str]):
    with torch.device("meta"):
        network: nn.Module = build()
    assert resolve_layers(network, "last") == [last]
    assert resolve_layers(network, "combined") == combined
    for name in combined:
        network.get_submodule(name)


def test_layers_by_name():
    network = Tiny()
    assert resolve_layers(network, "features.1") == ["features.1"]
    assert resolve_layers(network, ["features.3", "features.1", "features.3"]) == ["features.3", "features.1"]
    with pytest.raises(UsageError, match="no layer"):
        resolve_layers(network, [])


def test_layers_of_a_network_that_is_not_known_are_found():
    assert resolve_layers(Tiny(), "last") == resolve_layers(Tiny(), "combined") == ["features.3"]  # of stride 4


@pytest.mark.parametrize("layers", ["last", "combined", "layer3.1"])
def test_explain_equals_explain_rows_and_one_image_at_a_time(layers: str):
    network = resnet18()
    torch.manual_seed(8)
    images = torch.rand(3, 3, 64, 96)
    together = cxrlens.explain(network, images, methods=ALL, layers=layers)
    rows = [Row(id_, choice) for id_ in ALL for choice in dict.fromkeys((layers, "last", "layer1.0"))]
    by_rows = explain_rows(network, images, rows)
    alone = [cxrlens.explain(network, image[None], methods=ALL, layers=layers) for image in images]
    assert list(together) == ALL
    assert list(by_rows.maps) == rows
    for id_ in ALL:
        map_ = together[id_]
        assert map_.shape == (3, 64, 96)
        assert map_.dtype == torch.float32
        assert torch.equal(map_.amax((1, 2)), (~together.flat[id_]).float())
        assert not together.flat[id_].all()
        torch.testing.assert_close(by_rows.maps[Row(id_, layers)], map_, rtol=0, atol=1e-5)
        torch.testing.assert_close(torch.cat([maps[id_] for maps in alone]), map_, rtol=0, atol=1e-3)
        assert torch.equal(by_rows.flat[Row(id_, layers)], together.flat[id_])
    torch.testing.assert_close(by_rows.logits, together.logits)
    with torch.no_grad():
        torch.testing.assert_close(together.logits, network(images), rtol=1e-5, atol=1e-5)


def test_several_fusions_from_one_pass_are_those_of_a_pass_each(monkeypatch: pytest.MonkeyPatch):
    """Among the rows a method that asks the network itself, one joined from two, and one that reads the input."""
    network = resnet18()
    torch.manual_seed(8)
    images = torch.rand(3, 3, 64, 96)
    rows = [Row(id_, "layer3.1") for id_ in ALL] + [Row("layer_cam", "combined")]
    resizes = (MapResize(), PUBLISHED_RESIZE)
    fusions = [Fusion(resize=resize, flip=flip, smooth=smooth)
               for resize in resizes for flip, smooth in ((False, None), (True, 1.0))]  # fmt: skip
    few = [Row("layer_cam", "combined")]
    wanted = [(fusion, rows if number % 2 else few) for number, fusion in enumerate(fusions)]
    alone = [explain_rows(network, images, chosen, fusion=fusion) for fusion, chosen in wanted]
    found = list(explain_rows_in_turn(network, images, wanted))
    for one, other, (_, chosen) in zip(found, alone, wanted, strict=True):
        assert list(one.maps) == chosen
        assert one.cells == other.cells
        for row in chosen:
            assert torch.equal(one.maps[row], other.maps[row]), row
            assert torch.equal(one.flat[row], other.flat[row])
    passes = 0

    def counted(*arguments: Any) -> Any:
        nonlocal passes
        passes += 1
        return capture(*arguments)

    monkeypatch.setattr("cxrlens.saliency.explain.capture", counted)
    assert len(list(explain_rows_in_turn(network, images, [(fusion, few) for fusion in fusions]))) == 4
    assert passes == 2  # of the images, and of their mirror images


def test_several_layers_are_named_in_a_row_as_in_explain():
    network, images = resnet18(), torch.rand(2, 3, 64, 96)
    names = ["layer2.0", "last"]
    row = make_row("normgrad_scaling", names)
    assert row == Row("normgrad_scaling", "layer2.0+last")
    assert row.is_combined
    assert resolve_layers(network, row.layers) == resolve_layers(network, names) == ["layer2.0", "layer4.1"]
    given = cxrlens.explain(network, images, methods="normgrad_scaling", layers=["layer2.0", "layer4.1"])
    for maps in (
        explain_rows(network, images, [row]).maps[row],
        cxrlens.explain(network, images, methods="normgrad_scaling", layers=names)["normgrad_scaling"],
    ):
        torch.testing.assert_close(maps, given["normgrad_scaling"], rtol=0, atol=0)
    assert make_row("gradient", names) == Row("gradient", "input")
    assert not make_row("grad_cam", "layer2.0").is_combined


def test_one_method_may_be_given_as_a_string():
    images = torch.rand(1, 3, 16, 20)
    one = cxrlens.explain(Tiny(), images, methods="grad_cam", layers="features.1")
    assert list(one) == ["grad_cam"]
    assert one.layers == ("features.1",)


def test_no_rows_give_the_logits_alone():
    network, images = Tiny(), torch.rand(2, 3, 16, 20)
    result = explain_rows(network, images, [])
    torch.testing.assert_close(result.logits, network(images).detach())
    assert result.maps == {}


def test_default_rows_combine_what_the_paper_combines():
    rows = default_rows(["grad_cam", "normgrad_scaling"], "both")
    assert rows == [Row("grad_cam", "last"), Row("normgrad_scaling", "last"), Row("normgrad_scaling", "combined")]
    assert default_rows(["grad_cam"], "combined") == [Row("grad_cam", "combined")]


class OneLogit(Tiny):
    """A head with a single affected logit, [N, 1] or [N]."""

    def __init__(self, *, squeezed: bool) -> None:
        super().__init__(classes=1, seed=9)
        self.squeezed = squeezed

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits[:, 0] if self.squeezed else logits


@pytest.mark.parametrize("squeezed", [False, True])
@pytest.mark.parametrize("target", ["affected", "predicted", 0, 1])
def test_one_logit_and_two_logits_with_the_same_evidence_give_equal_maps(target: Any, squeezed: bool):
    one, two = OneLogit(squeezed=squeezed), Tiny(seed=9)
    torch.manual_seed(10)
    images = torch.randn(6, 3, 24, 32)
    with torch.no_grad():
        one.head.bias -= one(images).mean()  # so that both classes are predicted
        two.head.weight.copy_(torch.cat([-one.head.weight, one.head.weight]) / 2)
        two.head.bias.copy_(torch.cat([-one.head.bias, one.head.bias]) / 2)
    predicted = one(images).reshape(-1) > 0
    assert 0 < predicted.sum() < 6
    methods = [*METHODS, "captum:Saliency", "captum:Occlusion"]
    options: dict[str, Any] = {"methods": methods, "layers": ["features.1", "features.3"], "target": target}
    first, second = cxrlens.explain(one, images, **options), cxrlens.explain(two, images, **options)
    torch.testing.assert_close(first.logits.softmax(1)[:, 1], one(images).reshape(-1).sigmoid())
    for id_ in methods:
        torch.testing.assert_close(first[id_], second[id_], rtol=0, atol=1e-5)


def test_targets_choose_the_class_per_image():
    network = Tiny(classes=3, seed=11)
    torch.manual_seed(12)
    images = torch.randn(5, 3, 24, 32)
    with torch.no_grad():
        network.head.bias -= network(images).mean(0)
        predicted = network(images).argmax(1)
    assert len(predicted.unique()) > 1

    def maps(target: Any) -> Tensor:
        return cxrlens.explain(network, images, methods="normgrad_scaling", layers=["features.1"], target=target)[
            "normgrad_scaling"
        ]

    per_class = torch.stack([maps(index) for index in range(3)])
    assert not torch.allclose(per_class[0], per_class[1], atol=0.01)
    torch.testing.assert_close(maps("affected"), per_class[1])
    mixed = torch.tensor([2, 0, 1, 1, 0])
    for target, classes in (("predicted", predicted), (mixed, mixed)):
        torch.testing.assert_close(maps(target), per_class[classes, torch.arange(5)])


@pytest.mark.parametrize("wrong", [{"methods": "nothing"}, {"target": "nothing"}, {"layers": "nothing"}, {"smooth": 0}])
def test_wrong_choices_are_refused(wrong: dict[str, Any]):
    with pytest.raises(UsageError):
        cxrlens.explain(Tiny(), torch.rand(1, 3, 16, 16), **{"methods": ALL, "layers": "features.1", **wrong})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"combination": "sum"}, "unknown combination 'sum'"),
        ({"combination": "mean", "layer_weights": [1.0, 2.0]}, "no map is combined"),
        ({"layers": ["features.1", "features.3"], "combination": "mean", "layer_weights": [1.0]}, "2 layers need 2"),
        ({"smooth": -1}, "sigma"),
    ],
)
def test_an_unfit_fusion_is_refused_before_any_pass(options: dict[str, Any], message: str):
    network = Tiny()
    network.register_forward_pre_hook(lambda *_: pytest.fail("the network ran"))
    with pytest.raises(UsageError, match=message):
        cxrlens.explain(network, torch.rand(1, 3, 16, 16), methods="grad_cam", **{"layers": "features.3", **options})


def test_maps_are_upsampled_scaled_and_smoothed():
    network, images = Tiny(), torch.rand(2, 3, 34, 22)
    _, captured = capture(network, images, ["features.3"], 1)
    pair = captured["features.3"]
    options: dict[str, Any] = {"methods": ALL, "layers": "features.3", **PUBLISHED}
    plain = cxrlens.explain(network, images, **options)
    smoothed = cxrlens.explain(network, images, **options, smooth=1)
    for id_ in ALL:
        method = METHODS[id_]
        raw = method.function(pair)
        for index in range(2):
            full = torch.nn.functional.interpolate(raw[None, index : index + 1], (34, 22), mode="bilinear")[0, 0]
            values = full.numpy().astype(float)
            expected = (values - values.min()) / np.ptp(values)
            np.testing.assert_allclose(plain[id_][index], expected, atol=1e-5)
            blurred = ndimage.gaussian_filter(expected, 1, mode="mirror", truncate=5)
            expected = (blurred - blurred.min()) / np.ptp(blurred)
            np.testing.assert_allclose(smoothed[id_][index], expected, atol=1e-5)


def test_several_layers_are_combined_by_the_product_of_their_scaled_maps():
    network, images, layers = Tiny(), torch.rand(2, 3, 34, 22), ["features.0", "features.1", "features.3"]
    found = {
        count: cxrlens.explain(network, images, methods=ALL, layers=layers[:count], **PUBLISHED) for count in (2, 3)
    }
    _, captured = capture(network, images, layers, 1)
    never_flat = [id_ for id_ in ALL if not found[3].flat[id_].any()]
    assert len(never_flat) >= 8
    for id_ in never_flat:
        method = METHODS[id_]
        product = np.ones((2, 34, 22))
        for count, pair in enumerate(captured.values(), 1):
            raw = method.function(pair)
            full = torch.nn.functional.interpolate(raw[:, None], (34, 22), mode="bilinear")[:, 0].numpy().astype(float)
            low, high = full.min((1, 2), keepdims=True), full.max((1, 2), keepdims=True)
            product *= (full - low) / (high - low)
            if count > 1:
                low, high = product.min((1, 2), keepdims=True), product.max((1, 2), keepdims=True)
                assert high.min() > 0
                np.testing.assert_allclose(found[count][id_], (product - low) / (high - low), atol=1e-4)


def test_layers_lie_where_their_cells_do():
    network, images = Tiny(), torch.rand(2, 3, 34, 22)
    found = cxrlens.explain(network, images, methods="hires_cam", layers=["features.1", "features.3"])
    assert found.cells == traced_grids(
        network, images[:1], {name: network.get_submodule(name) for name in found.layers}
    )
    _, captured = capture(network, images, found.layers, 1)
    product = torch.ones(2, 34, 22)
    for name in found.layers:
        raw = METHODS["hires_cam"].function(captured[name])
        product *= scale(resized(raw, (34, 22), found.cells[name], DEFAULT_RESIZE))[0]
    torch.testing.assert_close(found["hires_cam"], scale(product)[0], rtol=0, atol=1e-6)


class Rolled(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.roll(x, 1, 3))


def test_cells_whose_places_are_not_known_are_spread_evenly_and_said_so(caplog: pytest.LogCaptureFixture):
    network, images = Rolled(), torch.rand(2, 3, 33, 22)  # no whole number of cells
    options: dict[str, Any] = {"methods": "grad_cam", "layers": "features.3"}
    found = cxrlens.explain(network, images, **options, interpolation="bilinear")
    assert found.cells == {"features.3": None}
    assert [record.message for record in caplog.records] == [
        "layer 'features.3': where its cells lie can be neither read nor measured; its maps are spread evenly over the "
        "image (grid 'areas')"
    ]
    published = cxrlens.explain(network, images, **options, **PUBLISHED)["grad_cam"]
    torch.testing.assert_close(found["grad_cam"], published, rtol=0, atol=1e-6)
    assert cxrlens.explain(network, images, **options, **PUBLISHED).cells == {}


@pytest.mark.parametrize("layers", ["features.3", ["features.1", "features.3"]])
def test_flipping_averages_with_the_mirrored_images_map(layers: Any):
    network, images = Tiny(), torch.rand(2, 3, 34, 22)
    options: dict[str, Any] = {"methods": ["normgrad_scaling", "gradient"], "layers": layers, "smooth": 1}
    found = cxrlens.explain(network, images, **options, flip=True)
    own = cxrlens.explain(network, images, **options)
    mirrored = cxrlens.explain(network, images.flip(3), **options)
    assert torch.equal(found.logits, own.logits)
    for id_, map_ in found.items():
        expected = own[id_] + mirrored[id_].flip(2)
        torch.testing.assert_close(map_, scale(expected)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("layers", ["last", "combined"])
def test_an_untrained_network_with_tiny_logits_has_the_same_maps(layers: str):
    """Random weights without any normalisation: activations of 1e-13, and gradients down to 1e-31."""
    torch.manual_seed(13)
    network = tv.efficientnet_b0(num_classes=2).eval()
    images = torch.rand(1, 3, 64, 96)
    usual = cxrlens.explain(network, images, methods=ALL, layers=layers)
    with torch.no_grad():
        network.classifier[1].weight *= 2.0**-50  # about 1e-15; a power of two, so that no digit changes
    tiny = cxrlens.explain(network, images, methods=ALL, layers=layers)
    for id_ in ALL:
        assert not usual.flat[id_].any()
        assert not tiny.flat[id_].any()
        torch.testing.assert_close(tiny[id_], usual[id_], rtol=0, atol=1e-5)


@pytest.mark.parametrize("layers", ["last", "combined"])
def test_a_flat_map_is_flagged_and_zero(layers: str):
    network = efficientnet_b0()
    nn.init.zeros_(network.get_submodule("classifier.1").weight)
    result = cxrlens.explain(network, torch.rand(2, 3, 64, 64), methods=ALL, layers=layers, smooth=1)
    for id_ in ALL:
        assert result.flat[id_].tolist() == [True, True]
        assert not result[id_].any()


def test_one_flat_image_leaves_the_others_alone():
    network, images = Tiny(), torch.rand(3, 3, 24, 32)
    nn.init.zeros_(network.features[0].bias)
    images[1] = 0  # no activation at all behind a convolution without bias
    result = cxrlens.explain(network, images, methods=ALL, layers=["features.1"])
    alone = cxrlens.explain(network, images[:1], methods=ALL, layers=["features.1"])
    for id_ in ALL:
        assert result.flat[id_].tolist() == [False, True, False]
        torch.testing.assert_close(result[id_][:1], alone[id_], rtol=0, atol=1e-5)


SPOTS = [(12, 50), (50, 12), (20, 80), (40, 70)]
STRIDE = 4


@pytest.mark.parametrize("layers", [["features.3"], ["features.1", "features.3"]], ids=["one layer", "product"])
@pytest.mark.parametrize(("row", "column"), SPOTS)
def test_a_planted_object_is_found_where_it_is(row: int, column: int, layers: list[str]):
    """A bright spot off the diagonal; positive weights make brightness the evidence for affected."""
    network = Tiny(seed=14)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    rows, columns = torch.arange(64)[:, None], torch.arange(96)
    spot = torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 4.0**2))
    torch.manual_seed(15)
    images = (0.05 * torch.rand(64, 96) + spot).expand(1, 3, 64, 96)
    for id_, maps in cxrlens.explain(network, images, methods=ALL, layers=layers).items():
        found = divmod(int(maps[0].argmax()), 96)
        assert abs(found[0] - row) <= STRIDE, id_
        assert abs(found[1] - column) <= STRIDE, id_


def test_maps_are_float32_for_other_number_types():
    images = torch.rand(1, 3, 24, 32)
    usual = cxrlens.explain(Tiny(), images, methods=ALL, layers="features.1")
    double = cxrlens.explain(Tiny().double(), images.double(), methods=ALL, layers="features.1")
    with torch.autocast("cpu", torch.bfloat16):
        half = cxrlens.explain(Tiny(), images, methods=ALL, layers="features.1")
    for id_ in ALL:
        assert usual[id_].dtype == double[id_].dtype == half[id_].dtype == torch.float32
        torch.testing.assert_close(double[id_], usual[id_], rtol=0, atol=1e-5)
        assert np.corrcoef(half[id_].flatten(), usual[id_].flatten())[0, 1] > 0.95
