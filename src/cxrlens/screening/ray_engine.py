"""The engine on a Ray cluster: workers read, see and draw; everything is written here."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from cxrlens.cluster.ray_cluster import ClusterSettings, RayCluster
from cxrlens.cluster.ray_pool import RayPool
from cxrlens.errors import UsageError
from cxrlens.inspection.inspector import Inspector, MapChoice
from cxrlens.inspection.model_facts import ModelIdentity
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.ray_worker import MakeScreener, ModelAtWork, SeenImage, contents_of
from cxrlens.screening.reading import ImageToRead, ReadImage
from cxrlens.screening.record import ScreenedImage
from cxrlens.screening.recording import Recording
from cxrlens.screening.store.store import Store

_MOST_CONTENTS = 50_000_000
"""Contents of which workers are told that they are known, 8 bytes each; those of more are seen again, in vain."""


class RayEngine:
    """An `Engine` of a cluster; a context manager.

    Args:
        cluster: which one.
        open_model: gives the inspector of a model file on the ``device`` of that name; picklable.
        file: of the model, read here and sent to the workers.
        out: folder of the results, which workers need not find.
        folders: of the images, which they have to.
        readers: processes of a worker that read and draw; None for one a processor.
        maps: see `LocalEngine`; likewise ``keep_tags``, ``assess_any``.
        batch_size: files of a block, and images per pass.

    Raises:
        UsageError: when Ray is not installed, the cluster cannot be reached, or no worker can run the model.
    """

    def __init__(
        self,
        cluster: ClusterSettings,
        open_model: Callable[..., Inspector],
        file: Path,
        out: Path,
        folders: Iterable[Path] = (),
        *,
        readers: int | None = None,
        maps: MapChoice,
        keep_tags: tuple[str, ...] = (),
        assess_any: bool = False,
        batch_size: int = 8,
    ) -> None:
        self.batch_size = batch_size
        self._known: Any = None
        with ExitStack() as opened:
            self._cluster = opened.enter_context(RayCluster(cluster))
            share = self._cluster.share
            identity = ModelIdentity.of_file(file)
            make = MakeScreener(
                partial(open_model, device=share.device),
                identity.name,
                _content(file),
                tuple(folders),
                ScreenedFolder(out),
                share.cpus if readers is None else max(readers, 1),
                maps,
                keep_tags,
                assess_any,
            )
            self._pool: RayPool[ImageToRead, SeenImage] = opened.enter_context(RayPool(self._cluster, make, _lost))
            self.model: ModelAtWork = replace(self._pool.facts(), identity=identity)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @contextmanager
    def at_work(self, store: Store) -> Iterator[_AtWork]:
        """See `Engine.at_work`."""
        if self._known is None:  # what comes later is in the store, which is asked of each content
            contents = contents_of(itertools.islice(store.results.contents(), _MOST_CONTENTS))
            self._known = self._cluster.ray.put(contents)
        yield _AtWork(self._pool, Recording(store.folder), self.batch_size, self._known)


class _AtWork:
    def __init__(
        self, pool: RayPool[ImageToRead, SeenImage], recording: Recording, batch_size: int, known: Any
    ) -> None:
        self._pool = pool
        self._recording = recording
        self._batch_size = batch_size
        self._known = known

    def read(self, tasks: Iterable[ImageToRead]) -> Iterator[ReadImage]:
        for image in self._pool.in_order(tasks, self._batch_size, self._known):
            if image.missing_on and image.task.origin.exists():
                reason = (
                    f"the Ray worker on {image.missing_on} does not find this file; put the images where all computers "
                    "of the cluster find them under the same path"
                )
                yield replace(image, reason=reason)
            else:
                yield image

    def inspect(self, images: Sequence[ReadImage]) -> list[SeenImage]:
        found = [image for image in images if isinstance(image, SeenImage)]
        spared = [image for image in found if image.drawn is None]
        seen = {image.key: image for image in self._seen(spared)}
        return [seen.get(image.key, image) for image in found]

    def record(self, seen: Sequence[SeenImage]) -> Iterator[ScreenedImage]:
        for image in seen:
            if image.drawn is not None:
                yield self._recording.write(image.drawn)
            else:  # its file has changed since, or gone: the next run looks at it again
                reason = image.reason or "the file was changed while it was screened"
                yield ScreenedImage(name=image.task.name, key=image.key, status="unreadable", reason=reason)

    def files(self, image: ReadImage, *, with_map: bool) -> tuple[bytes, bytes]:
        assert isinstance(image, SeenImage)
        if image.drawn is None:
            again = replace(image.task, key=image.key, again=True)
            (image,) = self._pool.in_order([again], 1, self._known)
        return (image.drawn.picture, image.drawn.map) if image.drawn else (b"", b"")

    def _seen(self, spared: Sequence[SeenImage]) -> list[SeenImage]:
        """Images that only seemed to be known, with their results."""
        if not spared:
            return []
        nothing = contents_of(())
        tasks = [image.task for image in spared]
        return [image for image in self._pool.in_order(tasks, self._batch_size, nothing) if image.drawn]


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read ({error.strerror or error}); check the file and its rights"
        ) from error


def _lost(task: ImageToRead, reason: str) -> SeenImage:
    return SeenImage(task, reason=reason)
