"""The same image more than once: the same file, or one that looks the same; within a split, across, or in two classes.

Chest radiographs look alike, so images are compared after local normalisation, which leaves ribs, vessels and
edges and takes away what all chests share. Candidates are pairs of 32 x 32 images that correlate by `CANDIDATE`;
they count when their 64 x 64 images correlate by `SAME`. docs/data-check.md has the measurements behind these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from cxrlens.dataset.check.findings import Finding, Severity, new_kind
from cxrlens.dataset.check.images import THUMBNAIL, CheckedImage, CheckedImages
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, some

Vectors = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Links = npt.NDArray[np.void]  # pairs of images that look the same: the fields of `LINK`

LINK = np.dtype(
    [("first", np.intp), ("second", np.intp), ("similarity", float), ("mirrored", bool), ("inverted", bool)]
)  # two indices, the absolute correlation, and how the images differ

CANDIDATE = 0.7
SAME = 0.75
_SMALL = 32
_SIGMA = 1.5  # pixels of the local mean and deviation
_FLOOR = 1e-4  # variance below which structure counts as noise; values run from 0 to 1
_BLOCK = 1 << 23  # correlations held at once
_VERIFIED = 2048  # pairs compared at full size at once

_ALIKE = f"the same SHA-256, or correlation of the locally normalised thumbnails at least {SAME:g}, as it is, mirrored \
or inverted"

LEAK = new_kind("leak", Severity.problem, "Same image in several splits", f"Two images of different splits: {_ALIKE}.")
CONTRADICTING = new_kind(
    "contradicting-duplicates",
    Severity.problem,
    "Same image in both classes",
    f"A normal and an affected image: {_ALIKE}.",
)
DUPLICATES = new_kind(
    "duplicates", Severity.note, "Same image several times", f"Images of one split and one class: {_ALIKE}."
)


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are the same, directly or by way of each other: sorted indices, and the weakest link's correlation.

    A similarity of None means that all files are identical.
    """

    members: tuple[int, ...]
    similarity: float | None
    mirrored: bool = False
    inverted: bool = False


def find_groups(checked: CheckedImages, usable: npt.NDArray[np.bool_]) -> list[DuplicateGroup]:
    """The groups of equal images; only usable [n] ones are compared by their looks, all by their files."""
    if not checked.images:
        return []
    _, first, file_of = np.unique([image.digest for image in checked.images], return_index=True, return_inverse=True)
    chosen = first[usable[first]]  # one image of each file
    links = near_links(checked.thumbnails[chosen])
    ends = [file_of[chosen[links[end]]] for end in ("first", "second")]
    edges = coo_array((np.ones(len(links)), tuple(ends)), shape=(len(first), len(first)))
    _, group_of = connected_components(edges, directed=False)
    groups = []
    for number in np.flatnonzero(np.bincount(group_of[file_of]) > 1):
        members = tuple(np.flatnonzero(group_of[file_of] == number).tolist())
        own = links[group_of[ends[0]] == number]
        if len(own) == 0:
            groups.append(DuplicateGroup(members, None))
        else:
            differs = bool(own["mirrored"].any()), bool(own["inverted"].any())
            groups.append(DuplicateGroup(members, float(own["similarity"].min()), *differs))
    return sorted(groups, key=lambda group: group.members)


def near_links(thumbnails: npt.NDArray[np.uint8]) -> Links:
    """Pairs that look the same, as many as join all images that are connected by such pairs: fewer than n.

    All pairs are compared by matrix products, block by block: n * n / 2 correlations of 1024 numbers, twice.

    Args:
        thumbnails: uint8 [n, 64, 64].
    """
    n = len(thumbnails)
    if n < 2:
        return np.zeros(0, LINK)
    small = describe(_halved(thumbnails))
    mirror = small.reshape(n, _SMALL, _SMALL)[:, :, ::-1].reshape(n, -1)
    links = np.zeros(0, LINK)
    rows = max(1, _BLOCK // max(n, 1))
    for start in range(0, n, rows):
        for mirrored, others in ((False, small), (True, mirror)):
            correlation = small[start : start + rows] @ others[start:].T
            first, second = np.nonzero(np.triu(np.abs(correlation) >= CANDIDATE, k=1))
            for found in _verified(thumbnails, first + start, second + start, mirrored=mirrored):
                links = _spanning(np.concatenate([links, found]), n)
    return links


def describe(pictures: npt.NDArray[np.floating]) -> Vectors:
    """Images [n, h, w] in [0, 1] as vectors [n, h * w] whose dot product is the correlation of their structure.

    (x - local mean) / sqrt(local variance + floor), under a Gaussian of 1.5 pixels, then mean 0 and length 1. A flat
    image gives zeros.
    """
    values = np.asarray(pictures, dtype=np.float32)
    over_pixels = (0.0, _SIGMA, _SIGMA)
    local = values - gaussian_filter(values, over_pixels)
    local /= np.sqrt(gaussian_filter(local * local, over_pixels) + np.float32(_FLOOR))
    flat = local.reshape(len(values), values.shape[1] * values.shape[2])
    flat = flat - flat.mean(axis=1, keepdims=True)
    vectors: Vectors = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.float32(1e-3))
    return vectors


def duplicate_findings(seen: Sequence[CheckedImage], groups: Sequence[DuplicateGroup]) -> Iterator[Finding]:
    """A finding per group and reason: it crosses splits, it crosses classes; or, with neither, that it is there."""
    for group in groups:
        images = [seen[index] for index in group.members]
        splits = list(dict.fromkeys(image.split for image in images))
        labels = list(dict.fromkeys(image.item.label for image in images if image.item.label is not None))
        names = tuple(image.name for image in images)
        message = f"{_listed(names)} {_sameness(group)}"
        values = {} if group.similarity is None else {"similarity": round(group.similarity, 3)}
        if len(splits) > 1:
            yield Finding(LEAK, f"{message}, in {_listed(splits)}", names, values=values)
        if len(labels) > 1:
            classes = _listed([CLASS_NAMES[label] for label in labels])
            yield Finding(CONTRADICTING, f"{message}, labelled {classes}", names, values=values)
        if len(splits) == 1 and len(labels) < 2:
            yield Finding(DUPLICATES, message, names, values=values)


def _verified(thumbnails: npt.NDArray[np.uint8], first: Indices, second: Indices, *, mirrored: bool) -> Iterator[Links]:
    """Those candidates that correlate at full size, in portions."""
    for start in range(0, len(first), _VERIFIED):
        a, b = (indices[start : start + _VERIFIED] for indices in (first, second))
        others = thumbnails[b][:, :, ::-1] if mirrored else thumbnails[b]
        correlation = (describe(thumbnails[a] / 255) * describe(others / 255)).sum(axis=1)
        links = np.zeros(len(a), LINK)
        links["first"], links["second"], links["mirrored"], links["inverted"] = a, b, mirrored, correlation < 0
        links["similarity"] = np.minimum(np.abs(correlation), 1)
        yield links[links["similarity"] >= SAME]


def _spanning(links: Links, n: int) -> Links:
    """The strongest links between n images that still join what all of them join."""
    links = links[np.argsort(-links["similarity"], kind="stable")]
    _, once = np.unique(links["first"] * n + links["second"], return_index=True)  # as it is, or mirrored
    links = links[once]
    edges = coo_array((2 - links["similarity"], (links["first"], links["second"])), shape=(n, n))
    tree = minimum_spanning_tree(edges.tocsr()).tocoo()
    return links[np.isin(links["first"] * n + links["second"], tree.row.astype(np.intp) * n + tree.col)]


def _halved(thumbnails: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    blocks = thumbnails.reshape(len(thumbnails), _SMALL, THUMBNAIL // _SMALL, _SMALL, THUMBNAIL // _SMALL)
    means: npt.NDArray[np.float32] = blocks.mean(axis=(2, 4), dtype=np.float32) / np.float32(255)
    return means


def _listed(names: Sequence[str]) -> str:
    """ "a and b", "a, b and c", or the first five and how many more there are."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) <= 5 else some(names)


def _sameness(group: DuplicateGroup) -> str:
    if group.similarity is None:
        return "are the same file"
    how = [word for word, holds in (("mirrored", group.mirrored), ("inverted", group.inverted)) if holds]
    return f"look the same{' but for being ' + ' and '.join(how) if how else ''} (correlation {group.similarity:.2f})"
