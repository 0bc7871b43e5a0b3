"""Methods that read the gradient at the network's input: x_u is the pixel's vector over channels, g_u its gradient."""

from __future__ import annotations

from torch import Tensor

from cxrlens.saliency.capture import Captured
from cxrlens.saliency.methods.registry import method
from cxrlens.saliency.norms import norm1


@method(
    "gradient",
    title="Gradient",
    formula="sum_k |g_u^k| at the input",
    source="Simonyan et al., ICLR workshop 2014",
    reads="input",
)
def gradient(pair: Captured) -> Tensor:
    return norm1(pair.gradient)


@method(
    "input_x_gradient",
    title="Input x gradient",
    formula="sum_k |x_u^k g_u^k| at the input, x as the network sees it",
    source="Shrikumar et al., arXiv 1605.01713",
    reads="input",
)
def input_x_gradient(pair: Captured) -> Tensor:
    return norm1(pair.activation * pair.gradient)


@method(
    "guided_backprop",
    title="Guided backprop",
    formula="sum_k |g_u^k| at the input; at each activation function y = f(x) the gradient is ReLU(g) [y > 0] f'(x)",
    source="Springenberg et al., ICLR workshop 2015; its rule for ReLU, carried over to SiLU and the like",
    reads="guided",
)
def guided_backprop(pair: Captured) -> Tensor:
    return norm1(pair.gradient)


@method(
    "guided_grad_cam",
    title="Guided Grad-CAM",
    formula="full-size Grad-CAM times guided backprop",
    source="Selvaraju et al., ICCV 2017",
    cost="2 forwards, 1 backward; 1 more to the earliest layer, none at the last",
    reads="maps",
    of=("grad_cam", "guided_backprop"),
)
def guided_grad_cam(cam: Tensor, guided: Tensor) -> Tensor:
    return cam * guided
