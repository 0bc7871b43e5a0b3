"""From attenuation to image: beam geometry, blur, scatter, quantum noise, display.

Everything that acts on the whole image is drawn at random or set by the anatomy alone; foreign objects
change only the pixels that they shadow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from cxrlens.dataset.phantom.drawing import FloatImage, View, Wire, draw, enlarge
from cxrlens.inputs.annotations.shapes import BoolMask, Point

_GLYPHS: dict[str, tuple[tuple[Point, ...], ...]] = {  # in a box of width 0.6 and height 1
    "L": (((0.0, 0.0), (0.0, 1.0), (0.6, 1.0)),),
    "R": (
        ((0.0, 1.0), (0.0, 0.0), (0.4, 0.0), (0.6, 0.12), (0.6, 0.38), (0.4, 0.5), (0.0, 0.5)),
        ((0.3, 0.5), (0.6, 1.0)),
    ),
    "A": (((0.0, 1.0), (0.3, 0.0), (0.6, 1.0)), ((0.12, 0.65), (0.48, 0.65))),
    "P": (((0.0, 1.0), (0.0, 0.0), (0.4, 0.0), (0.6, 0.15), (0.6, 0.4), (0.4, 0.55), (0.0, 0.55)),),
    "1": (((0.1, 0.2), (0.35, 0.0), (0.35, 1.0)),),
    "4": (((0.45, 1.0), (0.45, 0.0), (0.0, 0.7), (0.6, 0.7)),),
    "7": (((0.0, 0.0), (0.6, 0.0), (0.2, 1.0)),),
}


@dataclass(frozen=True)
class Beam:
    """The beam between tube and detector, without patient and objects.

    ``attenuation`` is float32 [H, W]; ``open`` [H, W] is False in the shadow of the collimator.
    """

    attenuation: FloatImage
    open: BoolMask


@dataclass(frozen=True)
class Technique:
    """The technique of exposure and display; attenuation is relative to the lungs' median."""

    blur: float  # standard deviation in pixels
    grain: float  # standard deviation in pixels over which the noise is blurred
    photons: float  # per pixel behind the lungs
    scatter: float  # scattered light relative to the primary
    black: float  # attenuation shown as 0
    window: float  # range of attenuation between black and white
    gamma: float
    enhancement: float  # how much of the fine detail is added to the image once more


def random_beam(rng: np.random.Generator, view: View, lungs: BoolMask) -> Beam:
    """Collimator edges, uneven illumination, and often a lead marker beside the ``lungs`` [H, W].

    The collimator's edges are sharp and of any contrast: they add so much edge to some images that the edges of
    foreign objects do not show in statistics of the whole image.
    """
    column = np.arange(view.width, dtype=np.float32)[None, :]
    row = np.arange(view.height, dtype=np.float32)[:, None]
    tilt, size = rng.uniform(-0.02, 0.02), max(view.height, view.width)
    insets = np.where(rng.random(4) < 0.6, rng.uniform(0.005, 0.045, 4), -0.1)
    left, right, top, bottom = (size * insets).tolist()
    leaning_x, leaning_y = column + tilt * (row - view.height / 2), row - tilt * (column - view.width / 2)
    inside = np.minimum(
        np.minimum(leaning_x - left, view.width - 1 - right - leaning_x),
        np.minimum(leaning_y - top, view.height - 1 - bottom - leaning_y),
    )
    shade = rng.uniform(2.5, 10.0) * np.clip(0.5 - inside / (rng.uniform(0.0005, 0.003) * size), 0, 1)
    u, v = column / view.width - 0.5, row / view.height - 0.5
    heel = rng.uniform(-0.25, 0.25) * u + rng.uniform(-0.25, 0.25) * v + rng.uniform(0, 0.5) * (u**2 + v**2)
    marker = _marker(rng, view, lungs) if rng.random() < 0.6 else 0.0
    return Beam((shade + heel + marker).astype(np.float32), inside > 0.01 * size)


def _marker(rng: np.random.Generator, view: View, lungs: BoolMask) -> FloatImage:
    """Lead letters in an upper corner: the side, often with a row of letters and digits, none over a lung."""
    side = str(rng.choice(("L", "R")))
    rows = [side, *("".join(rng.choice(list("AP147"), 4)) for _ in range(rng.integers(0, 2)))]
    size = max(view.height, view.width)
    tall, tilt = size * rng.uniform(0.03, 0.045), rng.uniform(-0.1, 0.1)
    length, margin = 0.85 * tall * max(map(len, rows)), size * rng.uniform(0.04, 0.08)
    left = margin if side == "R" else view.width - 1 - margin - length
    top, width, lead = size * rng.uniform(0.05, 0.08), tall * rng.uniform(0.1, 0.16), rng.uniform(0.6, 2.0)

    def pixel(u: float, v: float) -> Point:
        return left + tall * (u - tilt * v), top + tall * (v + tilt * u)

    wires: list[Wire] = []
    for row, text in enumerate(rows):
        outlines = [
            [pixel(u + 0.85 * column, v + 1.4 * row) for u, v in points]
            for column, letter in enumerate(text)
            for points in _GLYPHS[letter]
        ]
        if any(lungs[round(y), round(x)] for points in outlines for x, y in points):
            break
        wires += [Wire(tuple(points), width, lead) for points in outlines]
    return draw(wires, height=view.height, width=view.width)


def random_technique(rng: np.random.Generator, view: View) -> Technique:
    """Sharpness, dose, scatter and display, all independent of what is on the image."""
    return Technique(
        blur=max(view.height, view.width) / 256 * rng.uniform(0.3, 0.8),
        grain=rng.uniform(0.0, 0.8),
        photons=float(np.exp(rng.uniform(np.log(800), np.log(20000)))),
        scatter=rng.uniform(0.08, 0.25),
        black=rng.uniform(-1.4, -0.6),
        window=rng.uniform(2.4, 3.8),
        gamma=rng.uniform(0.65, 1.3),
        enhancement=rng.uniform(0.0, 1.0),
    )


def expose(
    rng: np.random.Generator,
    patient: FloatImage,
    objects: FloatImage,
    *,
    reference: float,
    technique: Technique,
) -> npt.NDArray[np.uint8]:
    """Take the image: I = exp(-attenuation), blurred, with scatter and quantum noise, shown as -log I.

    Args:
        patient: attenuation of patient and beam, float32 [H, W].
        objects: attenuation that the foreign objects add, float32 [H, W]; zero without any.
        reference: attenuation that is given unit intensity; it must not depend on the objects.

    Returns:
        uint8 [H, W], dense is bright. The noise is Gaussian, with the photon count's variance before its
        blur.
    """
    free = np.exp(reference - patient)
    primary = gaussian_filter(free * np.exp(-objects), technique.blur, truncate=3)
    light = primary + technique.scatter * _veil(free)
    noise = gaussian_filter(rng.standard_normal(light.shape, dtype=np.float32), technique.grain, truncate=3)
    light += np.sqrt(light / technique.photons) * noise
    depth = -np.log(np.maximum(light, 0.01))
    depth += technique.enhancement * (depth - gaussian_filter(depth, 2.0, truncate=2))
    shown = np.clip((depth - technique.black) / technique.window, 0, 1) ** technique.gamma
    image: npt.NDArray[np.uint8] = np.rint(255 * shown).astype(np.uint8)
    return image


def _veil(light: FloatImage) -> FloatImage:
    """Light scattered over some centimetres: the image's own light, very blurred."""
    height, width = light.shape
    coarse = light[::8, ::8]
    blurred = gaussian_filter(np.minimum(coarse, 2.0), max(height, width) / 8 / 12)
    return enlarge(blurred, height=height, width=width)
