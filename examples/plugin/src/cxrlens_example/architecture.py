"""A small convolutional network."""

from __future__ import annotations

from torch import Tensor, nn

from cxrlens.models.registry import Architecture


class ExampleNet(nn.Module):
    """Four strided convolutions, a mean over places, and a linear head: [N, 3, H, W] -> logits [N, classes]."""

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.Sequential(*map(_block, widths, widths[1:]))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(images).mean((2, 3)))


def _block(before: int, after: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


# The name is that of the entry point. Head and layers are found in the network.
EXAMPLE_NET = Architecture("example_net", ExampleNet)
