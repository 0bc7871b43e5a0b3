"""The phantom: exact outlines, no global difference between the classes, reproducible files."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from cxrlens.dataset.check.shortcuts import probe
from cxrlens.dataset.check.statistics import global_statistics
from cxrlens.dataset.phantom import objects
from cxrlens.dataset.phantom.dataset import compose, make_phantom, write_phantom_dataset
from cxrlens.dataset.phantom.drawing import Disc, View, Wire, cloud, draw
from cxrlens.dataset.phantom.exposure import Technique, expose
from cxrlens.errors import UsageError
from cxrlens.inputs.annotations.shapes import Ellipse, Polygon, Rectangle, parse_annotation, rasterize

SQUARE = np.ones((3, 3), dtype=bool)
FIELD = np.ones((150, 201), dtype=bool)  # wider than high
PLAIN = Technique(blur=0.0, grain=0.0, photons=1e12, scatter=0.0, black=-1.0, window=5.0, gamma=1.0, enhancement=0.0)


def classes_told_apart(images: list[np.ndarray], labels: list[bool]) -> float:
    """AUC of telling the classes apart by statistics of whole pictures: brightness, noise, file size, size."""
    rows = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=95)
        rows.append([*global_statistics(image.astype(np.float32) / 255), len(file.getvalue()), *image.shape])
    auc, _ = probe(np.array(rows), np.array(labels, dtype=int))
    return auc


@pytest.fixture(scope="module")
def many():
    """600 phantoms, the classes in turn."""
    return [make_phantom(seed, affected=seed % 2 == 0, size=128) for seed in range(600)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "data"
    calls: list[tuple[int, int]] = []
    write_phantom_dataset(out, train=12, dev=4, size=64, progress=lambda *call: calls.append(call))
    return out, calls


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_global_statistics_do_not_tell_the_classes_apart(many):
    labels = [bool(phantom.shapes) for phantom in many]
    auc = classes_told_apart([phantom.image for phantom in many], labels)
    assert max(auc, 1 - auc) <= 0.6


def test_the_probe_finds_a_leaked_brightness_scale(many):
    labels = [bool(phantom.shapes) for phantom in many]
    leaked = [
        np.rint(phantom.image * (0.85 if affected else 1.0)).astype(np.uint8)
        for phantom, affected in zip(many, labels, strict=True)
    ]
    assert classes_told_apart(leaked, labels) > 0.9


def test_objects_are_spread_and_small(many):
    masks = []
    for phantom in many:
        if phantom.shapes:
            height, width = phantom.image.shape
            mask = rasterize(phantom.shapes, height=height, width=width)
            masks.append(np.asarray(Image.fromarray(mask).resize((100, 100), Image.Resampling.NEAREST)))
    heat = np.mean(masks, axis=0)
    assert heat.mean() < 0.03
    assert heat.max() < 0.15
    assert heat[48:52, 48:52].max() < 0.1
    assert min((heat[:, :50] > 0).mean(), (heat[:, 50:] > 0).mean()) > 0.2  # both lungs


def test_formats_vary_and_all_shapes_occur(many):
    ratios = np.array([phantom.image.shape[1] / phantom.image.shape[0] for phantom in many])
    assert 0.79 < ratios.min() < 0.85
    assert 1.1 < ratios.max() < 1.16
    assert all(max(phantom.image.shape) == 128 for phantom in many)
    assert {type(shape) for phantom in many for shape in phantom.shapes} == {Rectangle, Ellipse, Polygon}
    assert {len(phantom.shapes) for phantom in many} == {0, 1, 2, 3, 4}
    assert {name for phantom in many for name in phantom.objects} == set(objects.OBJECTS)
    assert all(len(phantom.objects) == len(phantom.shapes) for phantom in many)


@pytest.mark.parametrize("name", objects.OBJECTS)
@pytest.mark.parametrize("scale", [2.5, 6.5])
def test_outline_holds_the_object_and_fits_it(name, scale, monkeypatch):
    monkeypatch.setattr(objects, "OBJECTS", {name: objects.OBJECTS[name]})
    height, width = FIELD.shape
    for seed in range(8):
        placed = objects.place_objects(np.random.default_rng(seed), FIELD, scale=scale)
        assert placed.names == (name,) * len(placed.shapes)
        changed = placed.attenuation != 0
        inside = rasterize(placed.shapes, height=height, width=width)
        assert not (changed & ~binary_dilation(inside, SQUARE)).any()
        for shape in placed.shapes:
            own = rasterize([shape], height=height, width=width)
            assert (changed & own).sum() >= 0.15 * own.sum()
            y, x = np.nonzero(changed & binary_dilation(own, SQUARE))
            assert shape.bounds() == pytest.approx((x.min(), y.min(), x.max(), y.max()), abs=0.2 * scale + 1.5)


@pytest.mark.parametrize("seed", range(12))
def test_annotation_of_a_whole_phantom_is_exact(seed):
    scene, _ = compose((seed,), affected=True, size=160)
    without, _ = compose((seed,), affected=False, size=160)
    height, width = scene.patient.shape
    changed = scene.patient + scene.placed.attenuation != without.patient + without.placed.attenuation
    shapes = make_phantom(seed, affected=True, size=160).shapes
    inside = rasterize(shapes, height=height, width=width)
    assert not (changed & ~binary_dilation(inside, SQUARE)).any()
    assert all((changed & rasterize([shape], height=height, width=width)).any() for shape in shapes)


@pytest.mark.parametrize("seed", range(4))
def test_class_changes_only_what_the_objects_shadow(seed):
    affected = make_phantom(seed, affected=True)
    normal = make_phantom(seed, affected=False)
    assert (normal.shapes, normal.objects) == ((), ())
    height, width = normal.image.shape
    near = binary_dilation(rasterize(affected.shapes, height=height, width=width), SQUARE, iterations=9)
    differs = affected.image != normal.image
    assert differs.any()
    assert not (differs & ~near).any()


def test_same_seed_same_phantom_other_seed_another():
    first, again, other = (make_phantom(seed, affected=True, size=96) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert first.shapes == again.shapes
    assert first.shapes != other.shapes


def test_objects_lie_mostly_in_the_field():
    field = np.zeros((200, 150), dtype=bool)
    field[20:180, 80:140] = True
    placed = objects.place_objects(np.random.default_rng(3), field, scale=4.0)
    for shape in placed.shapes:
        own = rasterize([shape], height=200, width=150)
        assert (own & field).sum() >= 0.8 * own.sum()


def test_expose_shows_relative_attenuation_on_the_given_window():
    patient = np.full((64, 80), 2.0, dtype=np.float32)
    added = np.zeros_like(patient)
    added[20:30, 50:60] = 1.0
    image = expose(np.random.default_rng(0), patient, added, reference=1.0, technique=PLAIN)
    assert image[0, 0] == 255 * (2 - 1 + 1) / 5
    assert image[25, 55] == 255 * (3 - 1 + 1) / 5
    assert (image != image[0, 0]).sum() == 100


def test_quantum_noise_has_the_variance_of_the_photon_count():
    patient = np.full((200, 200), 1.0, dtype=np.float32)
    technique = replace(PLAIN, photons=400.0)  # -log I has a standard deviation of 1 / sqrt(400)
    image = expose(np.random.default_rng(0), patient, 0 * patient, reference=1.0, technique=technique)
    assert image.std() == pytest.approx(255 / 5 / 20, rel=0.03)


def test_view_maps_patient_to_pixels_and_back():
    view = View(height=30, width=50, scale=3.0, angle=0.3, origin=(21.0, 17.0))
    x, y = view.patient_grid()
    assert (x[17, 21], y[17, 21]) == (0, 0)
    assert view.pixel(float(x[5, 40]), float(y[5, 40])) == pytest.approx((40, 5), abs=1e-4)
    assert math.hypot(x[5, 40], y[5, 40]) == pytest.approx(math.hypot(19, 12) / 3)


def test_strokes_have_their_area_and_place():
    disc = draw([Disc((31.3, 12.6), 8.0, 5.0, 2.0)], height=30, width=50)
    assert disc.sum() == pytest.approx(2 * math.pi * 8 * 5, rel=0.05)
    y, x = np.mgrid[:30, :50]
    assert (disc * x).sum() / disc.sum() == pytest.approx(31.3, abs=0.15)
    assert (disc * y).sum() / disc.sum() == pytest.approx(12.6, abs=0.15)
    wire = draw([Wire(((5.0, 10.0), (45.0, 10.0)), 2.0, 1.0)], height=30, width=50)
    assert wire.sum() == pytest.approx(40 * 2 + math.pi, rel=0.1)
    assert (wire * y).sum() / wire.sum() == pytest.approx(10, abs=0.15)


def test_cloud_has_unit_spread():
    rng = np.random.default_rng(0)
    clouds = [cloud(rng, height=60, width=80, cells=(8, 16, 32), falloff=0.7) for _ in range(20)]
    assert np.std(clouds) == pytest.approx(1, abs=0.25)
    assert np.mean(clouds) == pytest.approx(0, abs=0.1)


def test_folder_layout_and_tables(written):
    out, calls = written
    assert calls == [(done, 16) for done in range(1, 17)]
    assert {path.name for path in out.iterdir()} == {
        *("train", "dev", "train.csv", "dev.csv", "objects.csv", "README.txt")
    }
    listed = rows(out / "objects.csv")
    for split, count in (("train", 12), ("dev", 4)):
        annotations = {row["image_name"]: row["annotation"] for row in rows(out / f"{split}.csv")}
        affected = {path.name for path in (out / split / "affected").iterdir()}
        normal = {path.name for path in (out / split / "normal").iterdir()}
        assert (len(affected), len(normal)) == (count // 2, count // 2)
        assert set(annotations) == affected | normal
        assert {name for name, text in annotations.items() if text} == affected
        for row in listed:
            if row["split"] == split:
                shapes = parse_annotation(annotations[row["image_name"]])
                assert (row["class"] == "affected") == bool(shapes)
                assert len(shapes) == len([name for name in row["objects"].split(";") if name])
    assert [row["image_name"] for row in listed] == [f"{number:05d}.jpg" for number in range(1, 17)]


def test_written_objects_are_where_the_table_says(written):
    out, _ = written
    for row in rows(out / "dev.csv"):
        for shape in parse_annotation(row["annotation"]):
            with Image.open(out / "dev" / "affected" / row["image_name"]) as image:
                assert image.mode == "L"
                assert max(image.size) == 64
                assert rasterize([shape], height=image.height, width=image.width).any()


def test_class_does_not_follow_from_the_order(written):
    classes = [row["class"] == "affected" for row in rows(written[0] / "objects.csv")]
    assert classes[:12] not in ([True] * 6 + [False] * 6, [False] * 6 + [True] * 6)
    assert len(set(classes[:12:2])) == 2


def test_same_bytes_for_any_number_of_workers_and_other_bytes_for_another_seed(written, tmp_path):
    write_phantom_dataset(tmp_path / "two", train=12, dev=4, size=64, workers=2)
    assert contents(tmp_path / "two") == contents(written[0])
    write_phantom_dataset(tmp_path / "other", train=2, dev=2, size=64, seed=1)
    pictures = [data for name, data in contents(tmp_path / "other").items() if name.endswith(".jpg")]
    assert not set(pictures) & set(contents(written[0]).values())
    assert len(set(pictures)) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_leaves_nothing(workers, tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom_dataset(tmp_path / "data", train=8, dev=2, size=64, workers=workers, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_a_used_one_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    write_phantom_dataset(tmp_path / "empty", train=2, dev=2, size=64)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="in use"):
        write_phantom_dataset(tmp_path / "empty", train=2, dev=2, size=64)
    with pytest.raises(UsageError, match="in use"):
        write_phantom_dataset(tmp_path / "empty" / "README.txt", train=2, dev=2, size=64)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "wrong", [{"train": 3}, {"train": 0}, {"dev": 5}, {"dev": -2}, {"size": 63}, {"seed": -1}, {"workers": 0}]
)
def test_unusable_numbers_are_refused(wrong, tmp_path):
    with pytest.raises(UsageError):
        write_phantom_dataset(tmp_path / "data", **{"train": 2, "dev": 2, "size": 64, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_make_phantom_refuses_unusable_numbers():
    with pytest.raises(UsageError, match="size"):
        make_phantom(0, affected=True, size=63)
    with pytest.raises(UsageError, match="seed"):
        make_phantom(-1, affected=True)
