"""The cascade replaces one stage more at a time, from the head down, and leaves the trained network alone."""

from __future__ import annotations

import pytest
import torch

from cxrlens.errors import UsageError
from cxrlens.evaluation.randomisation import cascade, stages
from cxrlens.models.registry import build_network

RESNET = ["fc", "layer4", "layer3", "layer2", "layer1", "bn1", "conv1"]


def test_stages_run_from_the_head_to_the_input():
    assert stages(build_network("resnet18")) == RESNET
    assert stages(build_network("efficientnet_b0")) == ["classifier", *(f"features.{i}" for i in range(8, -1, -1))]


@pytest.mark.parametrize(("name", "classes"), [("resnet18", 2), ("efficientnet_b0", 1)])
def test_each_step_replaces_one_stage_more(name: str, classes: int):
    torch.manual_seed(0)
    network = build_network(name, classes=classes).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # nothing may keep its initial value by chance
            parameter += 0.1 + 0.01 * torch.rand_like(parameter)
    trained = {key: value.clone() for key, value in network.state_dict().items()}
    replaced: list[str] = []
    state = torch.get_rng_state()
    for stage, changed in cascade(network, name, seed=3):
        replaced.append(stage)
        assert not changed.training
        for key, parameter in changed.named_parameters():
            is_new = any(key.startswith(f"{done}.") for done in replaced)
            assert torch.equal(parameter, trained[key]) != is_new, key
    assert replaced == stages(network)
    assert all(torch.equal(value, trained[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    heads = [next(iter(cascade(network, name, seed=seed)))[1].state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(heads[0][key], heads[1][key]) for key in trained)
    assert any(not torch.equal(heads[0][key], heads[2][key]) for key in trained)


def test_at_the_end_nothing_of_the_trained_network_is_left():
    """Also no running mean or variance: two networks of one seed end as the same one."""
    ends = []
    for scale in (0.5, 2.0):
        torch.manual_seed(1)
        network = build_network("resnet18").eval()
        with torch.no_grad():
            for value in network.state_dict().values():
                value.copy_(scale * value + 1)
        *_, (stage, end) = cascade(network, "resnet18", seed=7)
        assert stage == "conv1"
        ends.append(end.state_dict())
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def test_the_output_changes_with_the_head_and_the_features_below_only_later():
    torch.manual_seed(2)
    network = build_network("resnet18").eval()
    image = torch.rand(1, 3, 64, 48)
    seen: list[torch.Tensor] = []
    network.layer2.register_forward_hook(lambda *given: seen.append(given[2]))
    with torch.no_grad():
        trained = network(image)
        for stage, changed in cascade(network, "resnet18", seed=3):
            if stage == "layer2":
                break
            assert not torch.equal(changed(image), trained)
    # the hook travels with the copy: the trained network's own features, then those of fc, layer4 and layer3 drawn anew
    assert len(seen) == 4
    assert all(torch.equal(features, seen[0]) for features in seen[1:])


def test_an_unknown_architecture_is_refused():
    with pytest.raises(UsageError, match="resnet18"):
        next(iter(cascade(build_network("resnet18"), "resnet19", seed=0)))
