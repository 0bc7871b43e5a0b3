"""What the routes of a server share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrlens.files import sha256_of
from cxrlens.inspection.quality_model import DEFAULT_LAYERS, DEFAULT_METHOD, QualityModel, load
from cxrlens.models.card import ModelCard
from cxrlens.models.location import model_path
from cxrlens.saliency.explain import make_row
from cxrlens.serving.batching import Explainer, Eyes, Question
from cxrlens.serving.decoding import Decode, Decoders
from cxrlens.serving.metrics import Metrics
from cxrlens.serving.review import Review
from cxrlens.serving.settings import ServerSettings


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model with the name of its file and the SHA-256 of its content."""

    model: QualityModel
    name: str
    sha256: str

    @property
    def card(self) -> ModelCard:
        return self.model.card

    def warm_up(self) -> None:
        """Run the network once, so that no request pays for its first pass.

        Raises:
            UsageError: when one image does not fit into the device's memory.
        """
        size = self.card.preprocessing.height, self.card.preprocessing.width
        question = Question(make_row(DEFAULT_METHOD, DEFAULT_LAYERS))
        Eyes(self.model, batch_size=1).see([np.zeros((1, *size), np.float32)], [size], question)


def load_served(path: Path, device: str = "auto") -> ServedModel:
    """Load a model file, or the best model of a run folder.

    Raises:
        UsageError: as `cxrlens.load` does.
    """
    model = load(path, device=device)
    file = model_path(path).resolve()
    return ServedModel(model, file.name, sha256_of(file))


class Served:
    """A running server's parts; `running` starts and ends those that need it.

    Attributes:
        review: the screened folder, None where none is served.
        checks: uploads in the making.
    """

    def __init__(self, settings: ServerSettings, model: ServedModel, review: Review | None) -> None:
        self.settings = settings
        self.served_model = model
        self.review = review
        self.metrics = Metrics()
        self.checks = 0
        self.metrics.gauge("cxrlens_checks", "Uploads in the making.", lambda: self.checks)
        self._explainer: Explainer | None = None
        self._decoders: Decoders | None = None

    @property
    def model(self) -> QualityModel:
        return self.served_model.model

    @property
    def explainer(self) -> Explainer:
        assert self._explainer is not None, "the server does not run"
        return self._explainer

    @property
    def decoders(self) -> Decoders:
        assert self._decoders is not None, "the server does not run"
        return self._decoders

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Decoders and explainer run inside the block."""
        settings, preprocessing = self.settings, self.model.preprocessing
        async with Decoders(Decode(preprocessing, settings.max_pixels), settings) as self._decoders:
            self._explainer = Explainer(
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
