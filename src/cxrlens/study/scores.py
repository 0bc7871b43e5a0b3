"""The kinds of scores that go into a study's records, and the maps that they are made of.

`MapScores` are made of every map while it is in memory, `VariantScores` of the same layers' maps made full-size in
other ways, `SampleScores` of one trained network on a sample of the
images, `PairScores` of the maps of two trained networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from cxrlens.inputs.decoding import Batch
from cxrlens.inspection.quality_model import QualityModel
from cxrlens.saliency.explain import Row, RowMaps
from cxrlens.saliency.fusion import Fusion
from cxrlens.study.image_groups import ImageGroup, Truth, in_block_order
from cxrlens.study.plan import StudyPlan
from cxrlens.study.records import Arrays, key
from cxrlens.study.rows import PlannedRow
from cxrlens.study.subjects import Subject, explained


@dataclass(frozen=True)
class GroupMaps:
    """The maps of one row, or of a baseline, of a group of images.

    Attributes:
        plan: of the study.
        maps: [n, h, w] in [0, 1], without padding.
        flat: of each map that is constant, True, bool [n].
        whole: [n, H, W], with the padding that the network sees.
        whole_flat: as `flat`, of `whole`.
        truth: where the objects lie.
        seeds: of the draw among the pixels that share a map's highest value, one for each image.
    """

    plan: StudyPlan
    maps: Tensor
    flat: Tensor
    whole: Tensor
    whole_flat: Tensor
    truth: Truth
    seeds: Sequence[tuple[int, ...]]


def _always(_plan: StudyPlan) -> bool:
    return True


@dataclass(frozen=True)
class MapScores:
    """Scores of every map of all networks.

    Attributes:
        arrays: their names in the records, behind the row's.
        score: gives those arrays, an entry for each image first.
        wanted: False leaves them out of a study.
        single_layers: also of the curves' rows.
        normal_images: also of blocks in which no image has an object.
        baselines: also of the maps of the baselines.
    """

    arrays: tuple[str, ...]
    score: Callable[[GroupMaps], Arrays]
    wanted: Callable[[StudyPlan], bool] = _always
    single_layers: bool = False
    normal_images: bool = False
    baselines: bool = False

    def are_made(self, plan: StudyPlan, row: PlannedRow, *, annotated: bool) -> bool:
        """True where a row of a block has these scores; ``annotated``: an image of the block has an object."""
        return self.wanted(plan) and (annotated or self.normal_images) and (self.single_layers or not row.each)


@dataclass(frozen=True)
class VariantScores:
    """Scores of the maps of trained networks that are made full-size in other ways than the plan's, a variant each.

    Attributes:
        fusions: these ways, by the variant's name in the records; none leaves them out of a study.
        arrays: their names in the records, behind the row's and the variant's.
        score: gives those of a variant's maps, behind the variant's name, an entry for each image first.
    """

    fusions: Callable[[StudyPlan], Mapping[str, Fusion]]
    arrays: Callable[[StudyPlan], tuple[str, ...]]
    score: Callable[[GroupMaps, str], Arrays]

    def names(self, plan: StudyPlan, row: PlannedRow) -> set[str]:
        """All arrays of a row in the records."""
        if row.each:
            return set()
        return {key(row.key, variant, name) for variant in self.fusions(plan) for name in self.arrays(plan)}


@dataclass(frozen=True)
class SampleBlock:
    """A block of a sample's images, seen by a trained network.

    Attributes:
        plan: of the study.
        subject: the network.
        model: the same, loaded.
        batch: the images.
        groups: of the images.
        before: the rows' maps.
        target: the classes that these explain, which later maps explain too.
    """

    plan: StudyPlan
    subject: Subject
    model: QualityModel
    batch: Batch
    groups: list[ImageGroup]
    before: RowMaps
    target: str | Tensor

    def explained(self, grey: Tensor, model: QualityModel | None = None) -> RowMaps:
        """The rows' maps of changed images [N, 1, H, W], or of a changed network."""
        return explained(self.plan, model or self.model, grey, list(self.before.maps), self.target)

    def maps(self, result: RowMaps, row: Row, number: int) -> Tensor:
        """A row's maps [n, h, w] of the group of that number."""
        return self.groups[number].maps(result.maps[row], result.flat[row])[0]

    def by_row(self, score: Callable[[Row, int], Arrays]) -> Arrays:
        """The arrays of all rows from those that ``score`` gives of a row and the group of a number."""
        arrays: Arrays = {}
        for row in self.before.maps:
            parts = [score(row, number) for number in range(len(self.groups))]
            found = in_block_order(self.groups, parts)
            arrays |= {key(row.method, row.layers, name): values for name, values in found.items()}
        return arrays


@dataclass(frozen=True)
class SampleScores:
    """Scores of each trained network on annotated images that are evenly spread over all of them.

    Attributes:
        part: of the records.
        images: their number by the plan; 0 leaves them out.
        score: gives the arrays of all rows of a block.
        settings: what else of the plan the scores depend on.
    """

    part: str
    images: Callable[[StudyPlan], int]
    score: Callable[[SampleBlock], Arrays]
    settings: Callable[[StudyPlan], object] = lambda _plan: ""


@dataclass(frozen=True)
class PairScores:
    """Scores of the maps that two trained networks make of annotated images, evenly spread over all of them.

    Attributes:
        part: of the records.
        images: their number by the plan; 0 leaves them out.
        arrays: their names in the records, behind the row's.
        score: gives these, float [n], of two networks' maps [n, h, w] of the same images.
    """

    part: str
    images: Callable[[StudyPlan], int]
    arrays: tuple[str, ...]
    score: Callable[[Tensor, Tensor], Arrays]
