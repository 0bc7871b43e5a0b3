"""The parts of an experiment of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from cxrlens.report.tables import Table
from cxrlens.study.results import Group, Results
from cxrlens.study.scores import MapScores, PairScores, SampleScores, VariantScores
from cxrlens.study.subjects import pairs_of


@dataclass(frozen=True)
class Drawn:
    """A figure, the name of its files, its title, and in words what it shows."""

    name: str
    title: str
    alt: str
    figure: Figure


def _always(_results: Results) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment of a study; any part may be left out.

    Attributes:
        name: its table is NAME, or its tables are NAME-...
        title: of its section of the page.
        text: a sentence under that.
        needs: False where the study's networks and plan do not allow it; the scores' own conditions count too.
        map_scores: made of every map.
        variant_scores: made of every map of a trained network under each of several fusions.
        sample_scores: made on a sample of the images.
        pair_scores: made of every two networks' maps.
        tables: those of all networks together; a table without rows is left out.
        group_tables: those of one group of trained networks, in place of `tables`.
        figures: drawn one after another, so that only one is in memory.
        findings: sentences on one group of networks, without its name.
        findings_on: the groups that these sentences are made of.
        findings_place: experiments with a higher number speak later.
    """

    name: str
    title: str
    text: str
    needs: Callable[[Results], bool] = _always
    map_scores: MapScores | None = None
    variant_scores: VariantScores | None = None
    sample_scores: SampleScores | None = None
    pair_scores: PairScores | None = None
    tables: Callable[[Results], Iterable[Table]] | None = None
    group_tables: Callable[[Results, Group], Iterable[Table]] | None = None
    figures: Callable[[Results], Iterator[Drawn]] | None = None
    findings: Callable[[Results, Group], Iterable[str]] | None = None
    findings_on: Literal["trained", "untrained"] = "trained"
    findings_place: int = 0

    def applies(self, results: Results) -> bool:
        """True where the study has all that the experiment needs."""
        plan = results.plan
        return (
            self.needs(results)
            and (self.map_scores is None or self.map_scores.wanted(plan))
            and (self.variant_scores is None or bool(self.variant_scores.fusions(plan) and results.trained))
            and (self.sample_scores is None or self.sample_scores.images(plan) > 0)
            and (self.pair_scores is None or (self.pair_scores.images(plan) > 0 and bool(pairs_of(results.subjects))))
        )
