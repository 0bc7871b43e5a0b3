"""A new kind of source needs nothing but the members of an origin: every reader of images takes it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO

import numpy as np
import pytest
from PIL import Image

from cxrlens.dataset.check.contents import Contents
from cxrlens.dataset.check.images import read_images as read_for_check
from cxrlens.dataset.check.outliers import outlier_findings
from cxrlens.dataset.prepare.record import Record
from cxrlens.dataset.prepare.write import Form, ImagePreparer, ImageToPrepare, PreparedOutcome
from cxrlens.errors import UnreadableImageError
from cxrlens.inputs.annotations.ground_truth import object_masks
from cxrlens.inputs.annotations.shapes import Rectangle
from cxrlens.inputs.cache.images import cache_images
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.dataset.layouts import AFFECTED, Item, Split
from cxrlens.inputs.decoding import BatchReader
from cxrlens.inputs.origin import ContentOrigin, FileOrigin, Origin, State, ZipMember
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import decode
from cxrlens.inputs.reading import Cause, Readers, Unreadable, attempt
from cxrlens.screening.reading import ImageToRead, Reading, read_images

PREPROCESSING = Preprocessing(height=24, width=40)


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 90), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


ARCHIVE = {"1.2.3": png(0), "1.2.4": b"no picture", "1.2.5": png(1)}


@dataclass(frozen=True)
class ObjectOfAnArchive:
    """As an archive of a hospital would give it: by a number, over a network, which may be down."""

    uid: str

    def __str__(self) -> str:
        return f"archive:{self.uid}"

    @property
    def place(self) -> PurePath:
        return PurePath("archive", self.uid)

    def below(self, root: Path) -> str:
        return self.uid

    def identity(self) -> str:
        return self.uid

    def state(self) -> State | None:
        return State((int(self.uid.replace(".", "")),), 0)

    def exists(self) -> bool:
        return self.uid in ARCHIVE

    def size(self) -> int:
        return len(ARCHIVE.get(self.uid, b""))

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        yield io.BytesIO(self.read())

    def read(self) -> bytes:
        if not self.exists():
            raise UnreadableImageError(f"{self}: the archive has no such object")
        return ARCHIVE[self.uid]


ORIGINS: list[Origin] = [ObjectOfAnArchive(uid) for uid in ("1.2.3", "1.2.4", "1.2.5", "1.2.6")]
ITEMS = [Item(origin, AFFECTED, (Rectangle(10, 10, 50, 40),)) for origin in ORIGINS]
REASONS = ["archive:1.2.4: ", "archive:1.2.6: the archive has no such object"]


def expected(uid: str) -> np.ndarray:
    return PREPROCESSING.resized(decode(ARCHIVE[uid], uid).pixels)


@pytest.mark.parametrize("workers", [0, 2])
def test_it_is_decoded_in_batches(workers: int) -> None:
    reader = BatchReader(ITEMS, PREPROCESSING, batch_size=2, workers=workers)
    (batch,) = reader
    assert [item.name for item in batch.items] == ["1.2.3", "1.2.5"]
    for grey, uid in zip(batch.grey, ("1.2.3", "1.2.5"), strict=True):
        np.testing.assert_array_equal(grey, expected(uid))
    assert all(said.startswith(reason) for said, reason in zip(reader.unreadable, REASONS, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_it_is_kept_decoded(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArrayStore(tmp_path, 10**8)
    with store.in_use():
        cached = cache_images(store, ORIGINS, PREPROCESSING, workers=workers)
        np.testing.assert_allclose(cached.image(2), expected("1.2.5"), atol=1 / 255)
        assert list(cached.unreadable) == [1, 3]
        monkeypatch.setattr(ObjectOfAnArchive, "read", lambda _: pytest.fail("its state says that it is unchanged"))
        again = cache_images(store, [ORIGINS[0], ORIGINS[2]], PREPROCESSING)
    assert again.digests == (cached.digests[0], cached.digests[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_it_is_screened(workers: int) -> None:
    tasks = [ImageToRead(origin, origin.below(Path())) for origin in ORIGINS]
    with Readers(Reading(PREPROCESSING), workers=workers) as readers:
        good, bad, other, gone = read_images(readers, tasks)
    np.testing.assert_array_equal(good.grey, expected("1.2.3"))
    assert (good.key, bad.key) == tuple(hashlib.sha256(ARCHIVE[uid]).hexdigest() for uid in ("1.2.3", "1.2.4"))
    assert other.preview[:2] == b"\xff\xd8"
    assert bad.reason
    assert "archive:" not in bad.reason
    assert (gone.key, gone.reason) == ("", "the archive has no such object")


@pytest.mark.parametrize("workers", [0, 2])
def test_it_is_checked(workers: int) -> None:
    contents = Contents(Path("/data"), (Split("dev", tuple(ITEMS)),), ())
    checked = read_for_check(contents, workers=workers)
    assert [(image.name, image.height, image.width) for image in checked.images] == [
        ("1.2.3", 60, 90),
        ("1.2.5", 60, 90),
    ]
    assert [(finding.kind.id, finding.images) for finding in checked.findings] == [
        ("not-assessable", ("1.2.3",)),  # 60 pixels high
        ("unreadable", ("1.2.4",)),
        ("not-assessable", ("1.2.5",)),
        ("unreadable", ("1.2.6",)),
    ]
    list(outlier_findings(checked))


def test_it_is_prepared_and_annotated(tmp_path: Path) -> None:
    outcome = attempt(ImagePreparer(Form(size=30), tmp_path), ImageToPrepare(Record("a.png", ORIGINS[0])))
    assert isinstance(outcome, PreparedOutcome)
    assert (outcome.image.source_height, outcome.image.width) == (60, 30)
    assert sum(mask.any() for mask in object_masks(ITEMS, PREPROCESSING)) == 2


def test_every_error_of_reading_becomes_one_kind_of_answer() -> None:
    def out_of_memory(_: Origin) -> None:
        raise MemoryError

    origin = ContentOrigin("the upload", b"abc")
    assert attempt(out_of_memory, origin) == Unreadable(
        "the upload: there is not enough memory to read it", Cause.NO_MEMORY
    )
    unknown = attempt(lambda each: decode(each.read(), str(each)), origin)
    assert isinstance(unknown, Unreadable)
    assert unknown.cause is Cause.UNKNOWN_FORMAT
    with pytest.raises(ZeroDivisionError):  # a fault of ours is no unreadable image
        attempt(lambda _: 1 // 0, origin)


def test_states_and_identities(tmp_path: Path) -> None:
    file = FileOrigin(tmp_path / "a.png")
    assert (file.exists(), file.state(), file.size()) == (False, None, 0)
    file.path.write_bytes(png(0))
    before = file.state(), file.identity()
    assert file.exists()
    file.path.write_bytes(png(1))
    assert file.state() != before[0]
    assert file.below(tmp_path) == "a.png"
    assert not ZipMember(tmp_path / "gone.zip", 0, "a.png", 1, 2).exists()
    assert ContentOrigin("a", b"1").identity() != ContentOrigin("a", b"2").identity()
