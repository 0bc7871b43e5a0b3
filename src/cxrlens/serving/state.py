"""The state of a server, which its routes share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np

from cxrlens.saliency.fusion import Fusion
from cxrlens.serving.batching import BatchedExplainer, RequestInspector
from cxrlens.serving.decoding import Decode, Decoders
from cxrlens.serving.metrics import Metrics
from cxrlens.serving.review import Review
from cxrlens.serving.served_model import ExplanationRequest, ServedModel
from cxrlens.serving.settings import ServerSettings
from cxrlens.serving.slots import Slots
from cxrlens.serving.threads import Threads
from cxrlens.serving.uploads import Uploads


class ServerState:
    """A running server's parts; `running` starts and ends those that need it.

    Attributes:
        maps: what it offers of them.
        review: the screened folder, None where none is served.
        uploads: those in the making.
        writing: threads that give verdicts; one that waits for the store's lock holds up no other request.
        reading: threads that read the store.
        pictures: slots of images that are read anew from their files, or given at full depth; each holds one.
    """

    def __init__(self, settings: ServerSettings, model: ServedModel, review: Review | None) -> None:
        self.settings = settings
        self.model = model
        self.maps = model.maps(settings.fusion, slow_methods=settings.slow_methods)
        self.review = review
        self.metrics = Metrics()
        self.uploads = Uploads()
        self.metrics.gauge("cxrlens_checks", "Uploads in the making.", lambda: self.uploads.count)
        self.writing = Threads("verdicts", 2, waiting=settings.queue)
        self.reading = Threads("store", 8, waiting=settings.queue)
        self.pictures = Slots(settings.decoders + 1, waiting=settings.queue, seconds=settings.decode_seconds)
        self._explainer: BatchedExplainer | None = None
        self._decoders: Decoders | None = None

    @property
    def explainer(self) -> BatchedExplainer:
        assert self._explainer is not None, "the server does not run"
        return self._explainer

    @property
    def decoders(self) -> Decoders:
        assert self._decoders is not None, "the server does not run"
        return self._decoders

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Decoders and explainer run inside the block."""
        settings, preprocessing = self.settings, self.model.card.preprocessing
        async with Decoders(Decode(preprocessing, settings.max_pixels), settings) as self._decoders:
            self._explainer = BatchedExplainer(
                self.model,
                batch_size=settings.batch_size,
                wait=settings.batch_wait,
                queue=settings.queue,
                observe=self.metrics.batch_sizes.observe,
            )
            try:
                yield
            finally:
                await asyncio.to_thread(self._explainer.close)
                self.writing.close()
                self.reading.close()
                if self.review is not None:
                    await asyncio.to_thread(self.review.store.database.close)


def warm_up(model: ServedModel, fusion: Fusion) -> None:
    """Run the network once, so that no request pays for its first pass.

    Raises:
        UsageError: when one image does not fit into the device's memory.
    """
    size = model.card.preprocessing.height, model.card.preprocessing.width
    request = ExplanationRequest(model.maps(fusion, slow_methods=False).default, fusion)
    RequestInspector(model, batch_size=1).inspect([np.zeros((1, *size), np.float32)], [size], request)
