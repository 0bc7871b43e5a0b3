"""The phantom's patient: attenuation of a chest seen from the front, without any foreign object.

Lengths are cm in patient coordinates (`View`), attenuation is the line integral of the attenuation
coefficient along the beam (no unit). Proportions are those of an adult's chest, only roughly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrlens.dataset.phantom.drawing import Disc, FloatImage, View, Wire, cloud, draw
from cxrlens.inputs.annotations.shapes import BoolMask, Point

_Map: TypeAlias = npt.NDArray[np.floating[Any]]  # float32 [H, W]

_SOFT, _LUNG = 0.165, 0.055  # attenuation of soft tissue and of aerated lung, per cm
_SIDES = (-1.0, 1.0)


@dataclass(frozen=True)
class Patient:
    """The body measures of one patient, in cm."""

    chest: float  # half the inner width of the rib cage
    wall: float  # thickness of the chest wall at the side
    depth: float  # from back to front
    apex: float  # y of the top of the lungs
    domes: tuple[float, float]  # y of the diaphragm domes, left and right on the image
    heart: float  # half the width of the heart
    rib_pitch: float
    bone: float  # bone density relative to the usual


@dataclass(frozen=True)
class Anatomy:
    """A patient in a view: attenuation float32 [H, W] and the lung fields as a mask [H, W]."""

    attenuation: FloatImage
    lungs: BoolMask


def random_view(rng: np.random.Generator, *, size: int) -> View:
    """A view whose longer side is ``size`` pixels, with a random format, field of view and pose."""
    aspect = rng.uniform(0.8, 1.15)
    width, height = (round(size * aspect), size) if aspect < 1 else (size, round(size / aspect))
    scale = math.sqrt(width * height) / rng.uniform(35.5, 41.0)
    origin = (
        (width - 1) / 2 + scale * rng.uniform(-1.6, 1.6),
        (height - 1) / 2 + scale * rng.uniform(-1.2, 1.6),
    )
    return View(height, width, scale, math.radians(rng.uniform(-5, 5)), origin)


def random_patient(rng: np.random.Generator) -> Patient:
    """Body measures drawn around those of an adult."""
    dome = rng.uniform(7.5, 10.5)
    return Patient(
        chest=rng.uniform(12.8, 14.6),
        wall=rng.uniform(1.8, 3.6),
        depth=rng.uniform(17.0, 23.0),
        apex=rng.uniform(-14.5, -12.5),
        domes=(dome, dome + rng.uniform(0.4, 1.8)),
        heart=rng.uniform(5.2, 7.2),
        rib_pitch=rng.uniform(2.3, 2.7),
        bone=rng.uniform(0.6, 1.5),
    )


def draw_anatomy(rng: np.random.Generator, view: View) -> Anatomy:
    """One random patient in the given view."""
    patient = random_patient(rng)
    x, y = view.patient_grid()
    x, y = _warped(rng, x, y)
    body = _body_depth(x, y, patient)
    cage = _cage(y, patient)
    lung = _lung_depth(rng, x, y, cage, patient)
    tissue = 1 + 0.035 * _texture(rng, view, (6, 12, 24, 48), 0.8)
    aerated = lung * (1 + 0.05 * _texture(rng, view, (5, 10, 20, 40), 0.85))
    aerated *= 1 + rng.uniform(0, 0.07) * _texture(rng, view, (60, 110), 1.0)
    aerated = np.minimum(aerated, 0.85 * body)
    attenuation = _SOFT * tissue * (body - aerated) + _LUNG * aerated
    inside = lung / patient.depth
    attenuation += _vessels(rng, view, patient) * np.clip(2.5 * inside, 0, 1)
    attenuation += patient.bone * _bones(rng, x, y, cage, patient) * (body > 1)
    attenuation -= _airways(rng, x, y) * np.clip(body / 8, 0, 1)
    attenuation += _granulomas(rng, view, patient) * (inside > 0.2)
    return Anatomy(attenuation.astype(np.float32), inside > 0.3)


def _texture(rng: np.random.Generator, view: View, cells: tuple[int, ...], falloff: float) -> _Map:
    return cloud(rng, height=view.height, width=view.width, cells=cells, falloff=falloff)


def _warped(rng: np.random.Generator, x: _Map, y: _Map) -> tuple[_Map, _Map]:
    """Bend the patient a little, so that no outline is a perfect curve and the sides differ."""
    height, width = x.shape
    bend_x, bend_y = (cloud(rng, height=height, width=width, cells=(4, 9), falloff=0.35) for _ in range(2))
    lean = np.float32(rng.uniform(-0.05, 0.05))
    return x * (1 + lean * np.sign(x)) + 0.28 * bend_x, y + 0.28 * bend_y


def _ramp(distance: _Map, width: float) -> _Map:
    """0 where the distance is negative, rising steeply at the edge and flat from ``width`` on to 1."""
    t = np.clip(distance / np.float32(width), 0, 1)
    ramp: _Map = np.sqrt(t * (2 - t))
    return ramp


def _step(distance: _Map, width: float) -> _Map:
    """Smooth step from 0 at ``-width`` to 1 at ``width``."""
    t = np.clip(distance / np.float32(2 * width) + np.float32(0.5), 0, 1)
    step: _Map = t * t * (3 - 2 * t)
    return step


def _body_depth(x: _Map, y: _Map, patient: Patient) -> _Map:
    """Thickness of the body along the beam: trunk with shoulders, and neck."""
    side = np.abs(x)
    half = patient.chest + patient.wall + 9.0 * _step(-6.0 - y, 5.0)
    shoulder_line = patient.apex - 2.2 + 0.009 * side**2 + 1.6 * _step(side - 5, 3)
    trunk = patient.depth * _ramp(half - side, 0.9 * patient.chest) * (1 + 0.1 * _step(y - 9, 6))
    trunk *= (y > shoulder_line) * (0.35 + 0.65 * _ramp(y - shoulder_line, 9))
    neck = 12.5 * _ramp(5.6 + 0.15 * np.clip(y - patient.apex + 5.5, 0, None) ** 2 - side, 6)
    depth: _Map = np.maximum(trunk, neck * _step(patient.apex + 1 - y, 4))
    return depth


def _cage(y: _Map, patient: Patient) -> _Map:
    """Half the inner width of the rib cage at height y; 0 above the lungs."""
    widest = 6.0
    t = np.clip((widest - y) / (widest - patient.apex), 0, 1)
    half: _Map = patient.chest * np.sqrt(1 - t**2.6) * (1 - 0.004 * np.clip(y - widest, 0, None) ** 1.5)
    return half


def _lung_depth(rng: np.random.Generator, x: _Map, y: _Map, cage: _Map, patient: Patient) -> _Map:
    """Thickness of aerated lung along the beam."""
    side = np.abs(x)
    peak = rng.uniform(6.0, 7.5)
    dome = np.where(x < 0, *map(np.float32, patient.domes)) + 0.055 * (side - peak) ** 2
    dome += 0.25 * np.clip(side - 10.5, 0, None) ** 2
    midline = 2.3 + 0.5 * _step(-7 - y, 3) + 0.012 * np.clip(y + 4, 0, None) ** 2
    depth = _ramp(cage - side, 5) * _ramp(side - midline, 1.6)
    depth *= 0.25 * _ramp(dome - y, 0.8) + 0.75 * _ramp(dome - y, 5)
    depth *= 1 - 0.92 * _heart(rng, x, y, patient)
    return patient.depth * rng.uniform(0.6, 0.72) * depth


def _heart(rng: np.random.Generator, x: _Map, y: _Map, patient: Patient) -> _Map:
    """The share of the lung's depth that the heart and the great vessels take, in [0, 1]."""
    angle, floor = rng.uniform(0.35, 0.7), patient.domes[1]
    dx, dy = x - 0.26 * patient.heart, y - (floor - 4.0)
    along, across = dx * math.cos(angle) + dy * math.sin(angle), dy * math.cos(angle) - dx * math.sin(angle)
    heart = 1 - (along / (1.18 * patient.heart)) ** 2 - (across / (0.86 * patient.heart)) ** 2
    knob = 1 - ((x - 2.0) ** 2 + (y + 5.5) ** 2) / rng.uniform(1.7, 2.5) ** 2
    hila = [
        rng.uniform(0.3, 0.6) * np.exp(-(((x - side * 3.6) / 1.7) ** 2) - ((y + 1.5 + side * 0.5) / 2.4) ** 2)
        for side in (-1, 1)
    ]
    solid = np.maximum(_ramp(heart, 0.6), 0.85 * _ramp(knob, 0.8))
    share: _Map = np.maximum(solid, hila[0] + hila[1])
    return share


def _bones(rng: np.random.Generator, x: _Map, y: _Map, cage: _Map, patient: Patient) -> _Map:
    bones = _ribs(rng, x, y, cage, patient) + _spine(rng, x, y)
    return bones + _clavicles(rng, x, y, patient) + _scapulae(rng, x, y)


def _tube(distance: _Map, radius: float | _Map) -> _Map:
    """Beam path through a hollow bone of unit radius, at a distance from its axis: bright at its edges."""
    t = np.clip(1 - (distance / radius) ** 2, 0, 1)
    path: _Map = np.sqrt(t) - 0.55 * np.sqrt(np.clip(t - 0.45, 0, 1))
    return path


def _ribs(rng: np.random.Generator, x: _Map, y: _Map, cage: _Map, patient: Patient) -> _Map:
    """Ribs as a periodic pattern: steep arcs in front, flatter ones behind."""
    side, cage = np.abs(x), cage + 0.9
    reach = _step(cage - side, 0.3) * _step(14.5 - y, 2)
    shift = np.where(x < 0, *rng.uniform(0, 0.5, 2).astype(np.float32))
    pitch, bow = np.float32(patient.rib_pitch), side / np.float32(patient.chest)

    def arcs(height: _Map, radius: float) -> _Map:
        phase = height / pitch
        return _tube((phase - np.round(phase)) * pitch, radius)

    behind = arcs(y + shift + 1.6 * bow * (1 - bow) * 2 - 3.2 * bow**3, rng.uniform(0.55, 0.7))
    front = arcs(y + shift + 0.8 + rng.uniform(6.5, 8.5) * (bow - 1) - 1.5 * bow**4, rng.uniform(0.6, 0.8))
    behind *= _step(side - 1.8, 0.4) * reach
    front *= _step(side - rng.uniform(4.0, 6.0), 1.0) * reach * _step(9 - y, 3)
    rim = np.exp(-(((cage - side - 0.4) / 0.5) ** 2)) * _step(13 - y, 3) * (cage > 3)
    ribs: _Map = 0.34 * behind + 0.24 * front + 0.12 * rim
    return ribs


def _spine(rng: np.random.Generator, x: _Map, y: _Map) -> _Map:
    pitch = rng.uniform(2.2, 2.6)
    phase = (y + rng.uniform(0, pitch)) / pitch
    within = np.abs(phase - np.round(phase))
    bodies = _step(1.9 - np.abs(x), 0.3) * (0.55 + 0.45 * _step(0.42 - within, 0.05))
    pedicles = np.exp(-(((np.abs(x) - 1.2) / 0.3) ** 2) - ((within - 0.1) / 0.13) ** 2)
    processes = np.exp(-((x / 0.25) ** 2) - ((within - 0.2) / 0.2) ** 2)
    spine: _Map = 0.55 * bodies + 0.22 * pedicles + 0.2 * processes
    return spine


def _clavicles(rng: np.random.Generator, x: _Map, y: _Map, patient: Patient) -> _Map:
    side = np.abs(x)
    axis = patient.apex + rng.uniform(2.2, 3.6) - rng.uniform(0.05, 0.22) * (side - 2)
    axis = axis + 0.55 * np.sin((side - 2) * 0.45)
    radius = 0.62 + 0.35 * np.exp(-(((side - 2) / 1.2) ** 2))
    return 0.5 * _tube(y - axis, radius) * _step(side - 1.7, 0.25) * _step(16 - side, 0.5)


def _scapulae(rng: np.random.Generator, x: _Map, y: _Map) -> _Map:
    side = np.abs(x)
    inner = rng.uniform(11.5, 14.5) + 0.16 * (y + 5)
    blade = _step(side - inner, 0.2) * _step(inner + 5.5 - side, 1.5)
    blade *= _step(y + 10.5, 1.0) * _step(3.0 - y, 1.5)
    border = np.exp(-(((side - inner - 0.2) / 0.3) ** 2)) * _step(y + 9.5, 1.0) * _step(3.0 - y, 1.0)
    head = 1 - ((side - 18.5) ** 2 + (y + 9.5) ** 2) / 2.5**2
    scapulae: _Map = 0.16 * blade + 0.14 * border + 0.5 * _ramp(head, 0.7)
    return scapulae


def _airways(rng: np.random.Generator, x: _Map, y: _Map) -> _Map:
    """The air in the windpipe and main bronchi, and a bubble in the stomach: attenuation to take away."""
    fork = rng.uniform(-4.5, -3.0)
    trachea = _ramp(0.85 - np.abs(x - rng.uniform(-0.4, 0.4)), 0.85) * _step(fork - y, 0.4)
    below = y - fork
    bronchi = _ramp(0.6 - np.abs(np.abs(x) - 0.9 * below - 0.2), 0.6) * _step(below, 0.3) * _step(3.5 - below, 1)
    air = 0.28 * trachea + 0.15 * bronchi
    if rng.random() < 0.5:
        left, top, wide = rng.uniform(5, 8), rng.uniform(13, 14.5), rng.uniform(1.8, 3.2)
        air += 0.8 * _ramp(1 - ((x - left) / wide) ** 2 - ((y - top) / 1.4) ** 2, 0.8)
    return air


def _vessels(rng: np.random.Generator, view: View, patient: Patient) -> _Map:
    """Pulmonary vessels that branch outwards from both hila."""
    wires: list[Wire] = []
    for side in (-1, 1):
        for angle in np.linspace(-1.25, 1.25, 6) + rng.uniform(-0.15, 0.15, 6):
            hilum = (side * 3.0, -1.5 + rng.uniform(-1, 1))
            wires += _branches(rng, hilum, float(angle), side=side, width=rng.uniform(0.5, 0.7), length=3.4)
    wires.sort(key=lambda wire: wire.width)
    strokes = [
        Wire(tuple(view.pixel(*point) for point in wire.points), wire.width * view.scale, wire.value) for wire in wires
    ]
    return rng.uniform(0.3, 1.5) * draw(strokes, height=view.height, width=view.width)


def _branches(
    rng: np.random.Generator, start: Point, angle: float, *, side: int, width: float, length: float
) -> Iterator[Wire]:
    if width < 0.14:
        return
    turn = rng.uniform(-0.25, 0.25)
    middle = _ahead(start, angle, side * length / 2)
    end = _ahead(middle, angle + turn, side * length / 2)
    yield Wire((start, middle, end), width, 0.55 * width)
    for spread in (rng.uniform(0.2, 0.6), -rng.uniform(0.2, 0.6)):
        yield from _branches(
            rng,
            end,
            angle + turn + spread,
            side=side,
            width=width * rng.uniform(0.55, 0.75),
            length=length * rng.uniform(0.65, 0.9),
        )


def _ahead(start: Point, angle: float, length: float) -> Point:
    return start[0] + length * math.cos(angle), start[1] + abs(length) * math.sin(angle)


def _granulomas(rng: np.random.Generator, view: View, patient: Patient) -> _Map:
    """Up to three small calcified nodules, which a normal radiograph may show too."""
    spots = []
    for _ in range(rng.choice(4, p=(0.5, 0.25, 0.15, 0.1))):
        x = rng.choice(_SIDES) * rng.uniform(4, patient.chest - 1)
        radius = view.scale * rng.uniform(0.15, 0.32)
        spots.append(Disc(view.pixel(x, rng.uniform(-10, 8)), radius, radius, rng.uniform(0.4, 1.2)))
    return draw(spots, height=view.height, width=view.width)
