"""Methods that read the activation and the gradient of a layer.

Notation: a_u and g_u are the vectors over channels of activation and gradient at location u; norm2 is the
Euclidean norm. NormGrad's variants are the Frobenius norms of the gradient that a virtual identity layer at u
would get for its weights (Rebuffi et al., CVPR 2020, section 3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from cxrlens.saliency.capture import Captured
from cxrlens.saliency.methods.registry import method
from cxrlens.saliency.norms import box_norm, norm2

_NORMGRAD = "Rebuffi et al., CVPR 2020, table 1"


def _weighted(activation: Tensor, weight: Tensor) -> Tensor:
    """ReLU of the sum over channels with one weight [N, C] per image and channel, [N, h, w]."""
    return torch.einsum("nc,nchw->nhw", weight, activation).relu()


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, and 0 where the denominator is 0."""
    zero = denominator == 0
    return torch.where(zero, 0, numerator / torch.where(zero, 1, denominator))


@method(
    "grad_cam",
    title="Grad-CAM",
    formula="ReLU( sum_k mean_u(g^k) a_u^k )",
    source="Selvaraju et al., ICCV 2017, eq. 1-2",
)
def grad_cam(pair: Captured) -> Tensor:
    return _weighted(pair.activation, pair.gradient.mean((2, 3)))


@method(
    "grad_cam_plus_plus",
    title="Grad-CAM++",
    formula="ReLU( sum_k w_k a_u^k ), w_k = sum_v ReLU(g_v^k) / (2 + g_v^k sum_t a_t^k)",
    source="Chattopadhay et al., WACV 2018",
)
def grad_cam_plus_plus(pair: Captured) -> Tensor:
    # The paper divides g^2 by 2 g^2 + g^3 sum(a): the common g^2 is cancelled, as g^3 would vanish in float32.
    total = pair.activation.sum((2, 3), keepdim=True)
    weight = _ratio(pair.gradient.relu(), 2 + pair.gradient * total).sum((2, 3))
    return _weighted(pair.activation, weight)


@method(
    "xgrad_cam",
    title="XGrad-CAM",
    formula="ReLU( sum_k w_k a_u^k ), w_k = sum_v(a_v^k g_v^k) / sum_v a_v^k",
    source="Fu et al., BMVC 2020",
)
def xgrad_cam(pair: Captured) -> Tensor:
    contribution = torch.einsum("nchw,nchw->nc", pair.activation, pair.gradient)
    return _weighted(pair.activation, _ratio(contribution, pair.activation.sum((2, 3))))


@method(
    "hires_cam",
    title="HiResCAM",
    formula="ReLU( sum_k g_u^k a_u^k )",
    source="Draelos & Carin, arXiv 2011.08891",
)
def hires_cam(pair: Captured) -> Tensor:
    return linear_approximation(pair).relu()


@method(
    "layer_cam",
    title="LayerCAM",
    formula="ReLU( sum_k ReLU(g_u^k) a_u^k )",
    source="Jiang et al., TIP 2021",
)
def layer_cam(pair: Captured) -> Tensor:
    return torch.einsum("nchw,nchw->nhw", pair.activation, pair.gradient.relu()).relu()


@method(
    "linear_approximation",
    title="Linear approximation",
    formula="sum_k g_u^k a_u^k",
    source="Rebuffi et al., CVPR 2020",
)
def linear_approximation(pair: Captured) -> Tensor:
    return torch.einsum("nchw,nchw->nhw", pair.activation, pair.gradient)


@method(
    "normgrad_scaling",
    title="NormGrad scaling",
    formula="norm2(a_u * g_u), elementwise product",
    source=_NORMGRAD,
    combines=True,
)
def normgrad_scaling(pair: Captured) -> Tensor:
    return norm2(pair.activation * pair.gradient)


@method(
    "normgrad_conv1x1",
    title="NormGrad conv1x1",
    formula="norm_F(g_u a_u^T) = norm2(a_u) norm2(g_u)",
    source=_NORMGRAD,
    combines=True,
)
def normgrad_conv1x1(pair: Captured) -> Tensor:
    return pair.activation_norm * pair.gradient_norm


@method(
    "normgrad_conv3x3",
    title="NormGrad conv3x3",
    formula="norm2(3x3 neighbourhood of a around u, zero padding 1) norm2(g_u)",
    source=_NORMGRAD,
    combines=True,
)
def normgrad_conv3x3(pair: Captured) -> Tensor:
    return box_norm(pair.activation_norm) * pair.gradient_norm


@method(
    "normgrad_bias",
    title="NormGrad bias",
    formula="norm2(g_u); constant, hence no map, at the last layer",
    source=_NORMGRAD,
)
def normgrad_bias(pair: Captured) -> Tensor:
    return pair.gradient_norm


@method(
    "normgrad_selective",
    title="NormGrad selective",
    formula="norm2( ReLU(a_u * g_u) ), elementwise product",
    source="Rebuffi et al., CVPR 2020; TorchRay, norm_grad_selective",
)
def normgrad_selective(pair: Captured) -> Tensor:
    return norm2((pair.activation * pair.gradient).relu_())
