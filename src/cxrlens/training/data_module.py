"""The images of a training run, as Lightning wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from cxrlens.errors import UsageError
from cxrlens.inputs.cache.images import CachedImages, cache_images
from cxrlens.inputs.cache.store import ArrayStore
from cxrlens.inputs.dataset.layouts import CLASS_NAMES, Split
from cxrlens.inputs.preprocessing import Preprocessing
from cxrlens.inputs.readers import Pixels
from cxrlens.inputs.remarked import remarked
from cxrlens.training.augmentation import build_transform
from cxrlens.training.recipe import Recipe, derived_seed

Sample = tuple[Tensor, int, int]  # image [1, h, w] in [0, 1], label, index


class TrainingImages(Dataset[Sample]):
    """Cached images with labels. The key (epoch, index) seeds the augmentation, so a resumed run repeats nothing."""

    def __init__(
        self, cached: CachedImages, rows: list[int], labels: list[int], transform: nn.Module | None, seed: int
    ) -> None:
        self.cached = cached
        self.rows = rows
        self.labels = labels
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        image = self.cached.image(self.rows[index])
        if self.transform is not None:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(derived_seed(self.seed, epoch, index))
                image = self.transform(image)
        return image, self.labels[index], index


class EpochSampler(DistributedSampler[Sample]):
    """Gives (epoch, index) pairs, shuffled by (seed, epoch) and split over the ranks."""

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        for index in super().__iter__():
            yield self.epoch, int(index)  # type: ignore[call-overload]


class QualityData(lightning.LightningDataModule):
    """Train and dev images of a data set; files that cannot be read are left out and listed.

    Args:
        train: images to learn from.
        dev: images to choose the best epoch on, never augmented.
        recipe: gives batch size, augmentation and seed.
        preprocessing: gives the size.
        store: where decoded images are kept; all of this runs within its `ArrayStore.in_use`.
        workers: loader processes.
        progress: called as progress(split name, done, total) while images are decoded.
    """

    def __init__(
        self,
        train: Split,
        dev: Split,
        recipe: Recipe,
        preprocessing: Preprocessing,
        store: ArrayStore,
        *,
        workers: int,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        super().__init__()
        self.splits = {"train": train, "dev": dev}
        self.recipe = recipe
        self.preprocessing = preprocessing
        self.store = store
        self.workers = workers
        self.progress = progress
        self.unreadable: list[str] = []
        self.remarked: list[str] = []
        self._cached: dict[str, CachedImages] = {}
        self._images: dict[str, TrainingImages] = {}

    def prepare_data(self) -> None:
        """Decode what is not yet decoded; Lightning calls this on one process of a machine."""
        if self._cached:
            return
        for name, split in self.splits.items():
            self._cached[name] = cache_images(
                self.store,
                [item.origin for item in split.items],
                self.preprocessing,
                workers=self.workers,
                progress=(lambda done, total, name=name: self.progress(name, done, total))  # type: ignore[misc]
                if self.progress
                else None,
            )

    def setup(self, stage: str | None = None) -> None:
        """Take the decoded images, in every process those that the first one found.

        Raises:
            UsageError: when a split has no readable image of a class.
        """
        if self.trainer:
            first = self.trainer.strategy.broadcast(self._cached)
            self._cached = {name: replace(cached, store=self.store) for name, cached in first.items()}
        self.unreadable, self.remarked = [], []
        for name, split in self.splits.items():
            cached = self._cached[name]
            self.unreadable += cached.unreadable.values()
            self.remarked += [remarked(split.items[i].origin, remarks) for i, remarks in cached.remarks.items()]
            rows = [i for i, item in enumerate(split.items) if i not in cached.unreadable and item.label is not None]
            labels = [int(split.items[i].label or 0) for i in rows]
            for label, class_name in enumerate(CLASS_NAMES):
                if label not in labels:
                    lost = next(iter(cached.unreadable.values()), "none is unreadable")
                    raise UsageError(
                        f"{name}: no readable image is {class_name}, training needs both classes "
                        f"({len(cached.unreadable)} of {len(split.items)} cannot be read: {lost})"
                    )
            transform = build_transform(self.recipe.augmentation) if name == "train" else None
            self._images[name] = TrainingImages(cached, rows, labels, transform, self.recipe.seed)

    def counts(self, name: str) -> dict[str, int]:
        """Number of readable images per class name."""
        labels = self._images[name].labels
        return {class_name: labels.count(label) for label, class_name in enumerate(CLASS_NAMES)}

    def some(self, name: str, most: int) -> Iterator[Pixels]:
        """At most so many images [h, w] of a split, evenly taken from all of it, as they are without augmentation."""
        rows = self._images[name].rows
        for place in np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)):
            yield self._cached[name].image(rows[place])[0].numpy()

    def train_dataloader(self) -> DataLoader[Sample]:
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        return self._loader("dev", shuffle=False)

    def _loader(self, name: str, *, shuffle: bool) -> DataLoader[Sample]:
        images = self._images[name]
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        sampler = EpochSampler(images, num_replicas=world, rank=rank, shuffle=shuffle, seed=self.recipe.seed)
        return DataLoader(
            images,
            batch_size=self.recipe.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            # A last batch of one image has no batch statistics to normalise with.
            drop_last=shuffle and len(sampler) % self.recipe.batch_size == 1 and len(sampler) > 1,
        )
