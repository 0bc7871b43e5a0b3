"""The preprocessing of radiographs for a network; travels inside the model file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cxrlens.inputs.geometry import Geometry
from cxrlens.inputs.readers import Pixels
from cxrlens.inputs.resampling import resample

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


Resize: TypeAlias = Literal["stretch", "letterbox"]

LARGEST_SIDE = 16_384
"""Of a network's input, in pixels: larger than any radiograph, and small enough for one to be laid out in memory."""

Side = Annotated[int, Field(gt=0, le=LARGEST_SIDE)]
_Mean = Annotated[float, Field(ge=-1000, le=1000)]
_Std = Annotated[float, Field(ge=1e-3, le=1000)]


class Preprocessing(BaseModel):
    """Resize to ``height`` x ``width``, copy the grey channel to three, subtract ``mean``, divide by ``std``.

    ``mean`` lies between -1000 and 1000, ``std`` between 0.001 and 1000, a side is of at most `LARGEST_SIDE` pixels.
    ``resize`` is "stretch" (aspect not kept) or "letterbox" (aspect kept, the rest black: grey 0 before ``mean`` is
    subtracted).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    height: Side
    width: Side
    resize: Resize = "stretch"
    mean: tuple[_Mean, _Mean, _Mean] = IMAGENET_MEAN
    std: tuple[_Std, _Std, _Std] = IMAGENET_STD

    @property
    def size(self) -> str:
        """The input's width and height in words, such as "600 x 600 px, letterbox"; a stretch needs no mention."""
        return f"{self.width} x {self.height} px" + (", letterbox" if self.resize == "letterbox" else "")

    @property
    def decoded_at_least(self) -> tuple[int, int]:
        """(rows, columns) that `read` must keep of an image for `resized`: twice the input, so that the resize, not
        the JPEG decoder, does most of the averaging.

        Everything that shows images to a network reads them so; hence all see one image. Against a full decode it
        differed by 0.0018 of the full range or less in the mean, and by up to 0.14 at a sharp letter (115 radiographs
        of 768 px at 48 to 190 px). Inputs larger than a quarter of the stored size see no difference at all.
        """
        return 2 * self.height, 2 * self.width

    def geometry(self, height: int, width: int) -> Geometry:
        """The record that carries coordinates of a height x width image to the network's input and back."""
        kind = Geometry.letterbox if self.resize == "letterbox" else Geometry.stretch
        return kind(height, width, self.height, self.width)

    def resized(self, pixels: Pixels, stored: tuple[int, int] | None = None) -> Pixels:
        """Pixels [H, W] in [0, 1] -> float32 [1, height, width] in [0, 1], bilinear with antialiasing.

        Args:
            stored: (height, width) of the image where the pixels were already reduced, so that they come to lie where
                its `geometry` says.
        """
        geometry = self.geometry(*(pixels.shape if stored is None else stored))
        grey = resample(pixels, geometry.scaled_height, geometry.scaled_width)
        return geometry.pad(np.clip(grey, 0, 1, out=grey)[None])

    def shown(self, grey: Pixels) -> Pixels:
        """A view of a prepared image [height, width] without its padding, as far as its pixels tell.

        Outer rows and columns of a letterbox that are black in 8 bits count as padding; a black image stays whole.
        """
        lit = grey >= 0.5 / 255
        if self.resize == "stretch" or not lit.any():
            return grey
        rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
        return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    def normalized(self, grey: Tensor) -> Tensor:
        """Grey images [N, 1, h, w] in [0, 1] -> the network's input [N, 3, h, w], in channels-last memory."""
        import torch

        mean = grey.new_tensor(self.mean).view(1, 3, 1, 1)
        std = grey.new_tensor(self.std).view(1, 3, 1, 1)
        return ((grey - mean) / std).contiguous(memory_format=torch.channels_last)
