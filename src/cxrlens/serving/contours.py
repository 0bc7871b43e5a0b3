"""Where a map is high, as polygons in pixels of the stored image."""

from __future__ import annotations

from typing import TypeAlias, cast

import numpy as np
from contourpy import LineType, contour_generator

from cxrlens.data.geometry import Floats, Geometry
from cxrlens.data.readers import Pixels

Contour: TypeAlias = tuple[tuple[float, float], ...]


def contours(map_: Pixels, geometry: Geometry, level: float = 0.5) -> tuple[Contour, ...]:
    """Closed polygons [(x, y), ...] around what of a map exceeds a share of its maximum; none of a map of zeros.

    Args:
        map_: float [h, w] >= 0, the picture at the network's scale.
        geometry: of the picture, without padding, whose output is the map.
    """
    highest = float(map_.max())
    if not highest > 0:
        return ()
    framed = np.pad(map_.astype(np.float64), 1)  # zeros around it close the lines that end at the border
    generator = contour_generator(z=framed, line_type=LineType.Separate)
    found = []
    for line in cast("list[Floats]", generator.lines(level * highest)):
        x, y = geometry.backward_point(line[:, 0] - 1, line[:, 1] - 1)
        x, y = np.clip(x, -0.5, geometry.width - 0.5), np.clip(y, -0.5, geometry.height - 0.5)
        found.append(tuple((round(float(a), 1), round(float(b), 1)) for a, b in zip(x, y, strict=True)))
    return tuple(found)
