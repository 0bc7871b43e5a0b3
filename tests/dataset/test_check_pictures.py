"""Judging pictures: shapes, copies, polarity, size and the probe for shortcuts, each on data with a known answer."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import rotate
from sklearn.metrics import roc_auc_score

from cxrlens.dataset.check.annotations import annotation_findings
from cxrlens.dataset.check.contents import load_contents
from cxrlens.dataset.check.duplicates import SAME, describe, find_groups, near_links
from cxrlens.dataset.check.images import CheckedImage, CheckedImages, read_images
from cxrlens.dataset.check.outliers import density_contrast, is_flat, outlier_findings
from cxrlens.dataset.check.shortcuts import probe, probe_splits, shortcut_findings, strongest
from cxrlens.dataset.check.statistics import GLOBAL_STATISTICS, PERCENTILES, global_statistics, statistic
from cxrlens.dataset.phantom.dataset import make_phantom
from cxrlens.inputs.annotations.shapes import Polygon, Rectangle, Shape, parse_annotation
from cxrlens.inputs.dataset.dataset import Dataset
from cxrlens.inputs.dataset.layouts import AFFECTED, Item
from cxrlens.inputs.origin import FileOrigin
from cxrlens.inputs.preprocessing import Preprocessing

Grey = npt.NDArray[np.float32]


def thumbnail(pixels: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """As one look at a file makes it, but through Pillow."""
    values = np.asarray(pixels, dtype=np.float32)
    small = np.asarray(Image.fromarray(values).resize((64, 64), Image.Resampling.BILINEAR))
    return np.rint((small - small.min()) / np.ptp(small) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def radiographs() -> list[Grey]:
    """40 phantoms in [0, 1]."""
    return [make_phantom(seed, affected=seed % 2 == 0, size=160).image.astype(np.float32) / 255 for seed in range(40)]


# -- statistics -------------------------------------------------------------------------------------------------------


def test_statistics_against_numpy() -> None:
    rng = np.random.default_rng(0)
    pixels = (rng.integers(0, 256, (70, 110)) / 255).astype(np.float32)  # on the 256 levels
    pixels[:, 100:] = 0.2
    found = dict(zip(GLOBAL_STATISTICS, global_statistics(pixels), strict=True))
    assert found["mean"] == pytest.approx(pixels.mean(), abs=1e-6)
    assert found["standard deviation"] == pytest.approx(pixels.std(), abs=1e-6)
    assert (found["minimum"], found["maximum"]) == (pixels.min(), pixels.max())
    for percentile in PERCENTILES:
        expected = np.percentile(pixels, percentile, method="inverted_cdf")
        assert found[f"percentile {percentile:g}"] == pytest.approx(expected, abs=1e-6)
    frame = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])  # 2 % of 70 is 1
    assert found["border brightness"] == pytest.approx(frame.mean(), abs=1e-6)
    assert found["border standard deviation"] == pytest.approx(frame.std(), abs=1e-6)
    shares = [((pixels * 255).round() // 16 == number).mean() for number in range(16)]
    assert [found[f"share of values in bin {number} of 16"] for number in range(1, 17)] == pytest.approx(shares)


def test_edges_and_noise_by_hand() -> None:
    rows, columns = np.mgrid[:20, :30]
    board = (0.4 + 0.2 * ((rows + columns) % 2)).astype(np.float32)  # every neighbour differs by 0.2
    ramp = (0.001 * columns + 0.003 * rows).astype(np.float32)  # a pixel is the mean of its neighbours
    for pixels, noise, edges in ((board, 0.2, 0.2), (ramp, 0.0, 0.001)):
        found = dict(zip(GLOBAL_STATISTICS, global_statistics(pixels), strict=True))
        assert found["noise"] == pytest.approx(noise, abs=1e-6)
        assert found["edges"] == pytest.approx(edges, abs=1e-6)  # 570 steps down, 580 to the right


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (1, 300), (3, 3), (600, 2)])
def test_statistics_of_tiny_pictures_are_finite(shape: tuple[int, int]) -> None:
    values = global_statistics(np.full(shape, 0.5, dtype=np.float32))
    assert len(values) == len(GLOBAL_STATISTICS)
    assert np.isfinite(values).all()


def test_an_object_moves_mean_and_maximum_but_hardly_noise_and_edges(radiographs: list[Grey]) -> None:
    plain = radiographs[1]
    marked = plain.copy()
    marked[40:60, 70:75] = 1
    before, after = (dict(zip(GLOBAL_STATISTICS, global_statistics(p), strict=True)) for p in (plain, marked))
    assert after["maximum"] == 1
    assert after["mean"] > before["mean"]
    for name in ("noise", "edges"):
        assert after[name] == pytest.approx(before[name], rel=0.02)


# -- copies -----------------------------------------------------------------------------------------------------------


def as_jpeg(pixels: Grey, quality: int) -> Grey:
    file = io.BytesIO()
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), dtype=np.float32) / 255


def with_object(pixels: Grey) -> Grey:
    changed = pixels.copy()
    height, width = pixels.shape
    changed[height // 4 : height // 3, width // 3 : width // 2] = 1
    return changed


CHANGES = {
    "JPEG at quality 30": lambda p: as_jpeg(p, 30),
    "half the size": lambda p: np.asarray(Image.fromarray(p).resize((p.shape[1] // 2, p.shape[0] // 2))),
    "gamma": lambda p: p**1.6,
    "another window": lambda p: 0.2 + 0.5 * p,
    "an object": with_object,
    "noise": lambda p: np.clip(p + np.random.default_rng(1).normal(0, 0.03, p.shape), 0, 1),
    "one per cent cut off": lambda p: p[:, round(0.01 * p.shape[1]) :],
    "turned by half a degree": lambda p: rotate(p, 0.5, reshape=False, mode="nearest", order=1),
    "mirrored": lambda p: p[:, ::-1],
    "inverted": lambda p: 1 - p,
    "mirrored and inverted": lambda p: 1 - p[:, ::-1],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_no_other_pair(radiographs: list[Grey], change: str) -> None:
    originals = radiographs[::4]
    pictures = [thumbnail(p) for p in originals] + [thumbnail(CHANGES[change](p)) for p in originals]
    links = near_links(np.array(pictures))
    n = len(originals)
    assert {(int(link["first"]), int(link["second"])) for link in links} == {(i, n + i) for i in range(n)}
    assert (links["mirrored"] == ("mirrored" in change)).all()
    assert (links["inverted"] == ("inverted" in change)).all()
    assert links["similarity"].min() >= SAME


def test_different_radiographs_are_no_copies(radiographs: list[Grey]) -> None:
    thumbnails = np.array([thumbnail(p) for p in radiographs])
    assert len(near_links(thumbnails)) == 0
    vectors = describe(thumbnails / 255)
    mirrored = describe(thumbnails[:, :, ::-1] / 255)
    for others in (vectors, mirrored):
        assert np.abs(np.triu(vectors @ others.T, 1)).max() < SAME - 0.1


def test_description_has_length_one_and_a_flat_picture_none() -> None:
    pictures = np.random.default_rng(0).random((3, 20, 31))
    pictures[1] = 0.4
    lengths = np.linalg.norm(describe(pictures), axis=1)
    assert lengths[[0, 2]] == pytest.approx([1, 1], abs=1e-5)
    assert lengths[1] == pytest.approx(0, abs=1e-3)
    assert describe(pictures).sum(axis=1) == pytest.approx(np.zeros(3), abs=1e-3)


def item(name: str, label: int | None = None, shapes: tuple[Shape, ...] | None = None) -> Item:
    return Item(FileOrigin(Path(name)), label, shapes)


def looks_of(thumbnails: npt.NDArray[np.uint8], digests: list[str], splits: list[str] | None = None) -> CheckedImages:
    seen = tuple(
        CheckedImage(f"{i}.jpg", "a" if splits is None else splits[i], item(f"{i}.jpg"), 90, 80, 1000, digest)
        for i, digest in enumerate(digests)
    )
    return CheckedImages(seen, thumbnails, np.zeros((len(seen), len(GLOBAL_STATISTICS))), (), ())


def test_groups_join_same_files_and_same_looks(radiographs: list[Grey]) -> None:
    a, b, c = (thumbnail(p) for p in radiographs[:3])
    near_a = thumbnail(CHANGES["gamma"](radiographs[0]))
    flat = np.zeros((64, 64), dtype=np.uint8)
    thumbnails = np.array([a, b, near_a, a, c, b, flat, flat])
    checked = looks_of(thumbnails, ["a", "b", "a2", "a", "c", "b", "f", "f2"])
    groups = find_groups(checked, np.array([True] * 6 + [False] * 2))
    assert [group.members for group in groups] == [(0, 2, 3), (1, 5)]
    assert [group.similarity is None for group in groups] == [False, True]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=0, max_size=14))
def test_groups_are_those_of_equal_files(kinds: list[int]) -> None:
    checked = looks_of(np.zeros((len(kinds), 64, 64), dtype=np.uint8), [str(kind) for kind in kinds])
    groups = find_groups(checked, np.zeros(len(kinds), dtype=bool))
    expected = {tuple(i for i, k in enumerate(kinds) if k == kind) for kind in kinds if kinds.count(kind) > 1}
    assert {group.members for group in groups} == expected


def test_many_copies_need_few_links(radiographs: list[Grey], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrlens.dataset.check.duplicates._BLOCK", 150)  # two rows at once
    copies = [thumbnail(np.clip(radiographs[i % 2] + 0.01 * i, 0, 1)) for i in range(60)]
    links = near_links(np.array(copies))
    assert len(links) == 58
    groups = find_groups(looks_of(np.array(copies), [str(i) for i in range(60)]), np.ones(60, dtype=bool))
    assert [group.members for group in groups] == [tuple(range(0, 60, 2)), tuple(range(1, 60, 2))]


# -- polarity, contrast, size -----------------------------------------------------------------------------------------


def test_polarity_changes_the_sign(radiographs: list[Grey]) -> None:
    thumbnails = np.array([thumbnail(p) for p in radiographs])
    upright = density_contrast(thumbnails)
    assert upright.min() > 0.4
    assert density_contrast(255 - thumbnails) == pytest.approx(-upright)
    assert density_contrast(np.zeros((2, 64, 64), dtype=np.uint8)) == pytest.approx([0, 0])


def test_two_sizes_are_no_outliers_and_a_third_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = [(70, 80)] * 10 + [(280, 300)] * 10 + [(700, 700)]
    for number, (height, width) in enumerate(sizes):
        noise = rng.integers(0, 256, (height, width), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number:02d}.png")
    found = list(outlier_findings(read_images(load_contents(Dataset(tmp_path)))))
    assert [(finding.kind.id, finding.images) for finding in found] == [("size-outlier", ("20.png",))]


# -- one look ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_one_look_at_good_and_bad_files(tmp_path: Path, workers: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(30, 200, (90, 140), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    Image.fromarray(pixels[:, :70]).save(tmp_path / "c.png")
    calls: list[tuple[int, int]] = []
    checked = read_images(load_contents(Dataset(tmp_path)), workers=workers, progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert [(image.name, image.height, image.width) for image in checked.images] == [
        ("a.png", 90, 140),
        ("c.png", 90, 70),
    ]
    assert [image.file_size for image in checked.images] == [(tmp_path / n).stat().st_size for n in ("a.png", "c.png")]
    assert len(checked.thumbnails) == len(checked.statistics) == 2
    assert [(finding.images, finding.message) for finding in checked.findings] == [(("b.png",), checked.unreadable[0])]
    resized = Preprocessing(height=64, width=64).resized(pixels.astype(np.float32) / 255)[0]
    assert checked.thumbnails[0] == pytest.approx((resized - resized.min()) / np.ptp(resized) * 255, abs=0.51)
    assert statistic(checked.statistics, "mean") == pytest.approx([pixels.mean() / 255, pixels[:, :70].mean() / 255])
    assert not is_flat(checked).any()


# -- shapes -----------------------------------------------------------------------------------------------------------


def judged(annotation: str, height: int, width: int) -> list[str]:
    seen = CheckedImage("a.jpg", "dev", item("a.jpg", AFFECTED, parse_annotation(annotation)), height, width, 1, "")
    return [finding.kind.id for finding in annotation_findings([seen])]


def test_x_and_y_are_not_mixed_up_in_a_wide_picture() -> None:
    assert judged("0 900 10 950 60", height=200, width=1000) == []
    assert judged("0 10 900 60 950", height=200, width=1000) == ["outside"]
    assert judged("0 10 900 60 950", height=1000, width=200) == []
    assert judged("1 900 10 950 60", height=1000, width=200) == ["outside"]


def test_tiny_is_relative_to_the_longer_side() -> None:
    assert judged("0 100 50 104 54", height=200, width=1000) == ["tiny"]
    assert judged("0 100 50 106 52", height=200, width=1000) == []
    assert judged("0 100 50 104 54", height=200, width=700) == []


@settings(max_examples=100, deadline=None)
@given(*[st.integers(-150, 250)] * 4)
def test_outside_is_what_pixels_say(x1: int, y1: int, x2: int, y2: int) -> None:
    """A rectangle with whole corners covers the unit squares between them; count those in the 100 x 60 picture."""
    x1, x2 = min(x1, x2), max(x1, x2) + 2
    y1, y2 = min(y1, y2), max(y1, y2) + 2
    inside = sum(0 <= x < 100 for x in range(x1, x2)) * sum(0 <= y < 60 for y in range(y1, y2))
    kinds = judged(f"0 {x1} {y1} {x2} {y2}", height=60, width=100)
    assert ("outside" in kinds) == (inside < (x2 - x1) * (y2 - y1) / 2)
    assert len(kinds) <= 1


def test_polygons_without_area() -> None:
    bow_tie = Polygon(((10, 10), (30, 30), (30, 10), (10, 30)))
    seen = CheckedImage("a.jpg", "dev", item("a.jpg", AFFECTED, (bow_tie, Rectangle(1, 1, 9, 9))), 90, 90, 1, "")
    (finding,) = annotation_findings([seen])
    assert (finding.kind.id, finding.shapes) == ("degenerate", (bow_tie,))


# -- shortcuts --------------------------------------------------------------------------------------------------------


def planted(n: int, shift: float, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Twelve statistics, of which one is higher by `shift` standard deviations in affected images."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    table = rng.normal(size=(n, 12))
    table[:, 7] += shift * labels
    return table, labels


def test_a_planted_shortcut_is_found_with_its_auc() -> None:
    table, labels = planted(1000, 1.0, seed=1)
    auc, interval = probe(table, labels)
    assert auc == pytest.approx(0.760, abs=0.02)  # Phi(1 / sqrt 2), the AUC of two normals one deviation apart
    assert interval.low < 0.760 < interval.high
    names = [f"statistic {number}" for number in range(12)]
    (best, *_rest) = strongest(names, table, labels)
    assert best == ("statistic 7", pytest.approx(roc_auc_score(labels, table[:, 7])))
    assert strongest(names, -table, labels)[0] == ("statistic 7", pytest.approx(1 - best[1]))


def test_a_perfect_probe_is_no_certainty() -> None:
    """20 affected and 24 normal images, told apart in every fold, two of each affected one: 10 of 10 groups."""
    labels = np.repeat([1, 0], [20, 24])
    groups = np.concatenate([np.repeat(np.arange(10), 2), np.arange(10, 34)])
    table = labels[:, None] + np.random.default_rng(0).normal(scale=1e-3, size=(44, 2))
    auc, interval = probe(table, labels, groups)
    assert (auc, interval.high) == (1, 1)
    assert interval.low == pytest.approx(0.025 ** (1 / 10))


def test_without_a_shortcut_the_interval_holds_one_half_nearly_always() -> None:
    held = 0
    for seed in range(12):
        auc, interval = probe(*planted(80, 0.0, seed), seed=seed)
        assert interval.low <= auc <= interval.high
        held += interval.low <= 0.5 <= interval.high
    assert held >= 10


def test_copies_stay_in_one_fold() -> None:
    """Pairs of equal statistics and one label each: with the twin among the training images the labels are known."""
    rng = np.random.default_rng(0)
    table = np.repeat(rng.normal(size=(40, 100)), 2, axis=0)
    labels = np.repeat(np.arange(40) % 2, 2)
    apart, _ = probe(table, labels)
    together, _ = probe(table, labels, np.repeat(np.arange(40), 2))
    assert apart > 0.9
    assert together < 0.7


def test_splits_are_probed_by_themselves_from_twenty_images_a_class_on() -> None:
    rng = np.random.default_rng(0)
    splits = ["train"] * 60 + ["dev"] * 60 + ["test"] * 38
    labels = [index % 2 for index in range(len(splits))]
    seen = tuple(
        CheckedImage(
            f"{i}.jpg",
            split,
            item(f"{i}.{'png' if split == 'dev' and label else 'jpg'}", label),
            90,
            80,
            1,
            "",
        )
        for i, (split, label) in enumerate(zip(splits, labels, strict=True))
    )
    table = rng.normal(size=(len(seen), len(GLOBAL_STATISTICS)))
    checked = CheckedImages(seen, np.zeros((len(seen), 64, 64), dtype=np.uint8), table, (), ())
    probes = {found.split: found for found in probe_splits(checked, [])}
    assert set(probes) == {"train", "dev"}
    assert probes["dev"].auc > 0.95
    assert probes["dev"].strongest[0] == ("ending .png", 1.0)
    (finding,) = shortcut_findings(list(probes.values()))
    assert finding.kind.id == "shortcut"
    assert finding.message.startswith("dev: ")
    assert "ending .png (AUC 1.00, higher in affected)" in finding.message
