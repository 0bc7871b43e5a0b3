"""What the numbers say, in plain sentences made from them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cxrlens.evaluation.bootstrap import Floats, row_means
from cxrlens.evaluation.comparison import Comparison, beats_best_baseline, compare_rows
from cxrlens.saliency.explain import Row
from cxrlens.saliency.methods import find_method
from cxrlens.study.records import key
from cxrlens.study.results import Group, Results
from cxrlens.study.stages import cascade_stages
from cxrlens.study.subjects import WEIGHTS_TITLES
from cxrlens.study.tables import depends_on_weights
from cxrlens.study.work import PLAIN, RANDOMISATION, SMOOTHED, TRAINED_PAIRS

_NORMGRAD = "normgrad"
_GRAD_CAM = Row("grad_cam", "last")


def findings(results: Results) -> list[str]:
    """One sentence each, for every group of networks."""
    said = [sentence for group in results.trained for sentence in _of_group(results, group)]
    return said + [_of_untrained(results, group) for group in results.groups if group.weights != "trained"]


def _of_group(results: Results, group: Group) -> Iterable[str]:
    rows = results.rows(group)
    hits = results.hits(group, rows)
    means = row_means(hits)
    name = group.architecture
    best = int(np.argmax(means))
    yield f"{name}: the best row is {_title(rows[best])} with a Pointing Game score of {means[best]:.3f}."
    normgrads = [place for place, row in enumerate(rows) if row.method.startswith(_NORMGRAD)]
    champion = max(normgrads, key=lambda place: means[place], default=None)
    if champion is not None:
        others = [place for place, row in enumerate(rows) if row == _GRAD_CAM or _same_layers(row, rows[champion])]
        for other in others:
            yield f"{name}: {_against(results, hits, rows, champion, other)}"
        baselines = results.baselines("hit")
        (found,) = beats_best_baseline(hits[[champion]], np.stack(list(baselines.values())), seed=results.plan.seed)
        label = list(baselines)[found.baseline].replace("_", " ")
        verdict = "beats" if found.beats else "does not beat"
        yield (
            f"{name}: {_title(rows[champion])} {verdict} the best baseline ({label}): difference "
            f"{found.difference:+.3f} ({found.interval.low:+.2f} to {found.interval.high:+.2f})."
        )
    if results.plan.randomisation.images:
        yield f"{name}: {_on_randomisation(results, group, rows)}"
    if results.plan.smoothing is not None:
        yield f"{name}: {_on_smoothing(results, group, rows)}"


def _of_untrained(results: Results, group: Group) -> str:
    """Which rows find the objects in a network that never saw the task: they show the image more than the network."""
    rows = results.rows(group)
    baselines = np.stack(list(results.baselines("hit").values()))
    found = beats_best_baseline(results.hits(group, rows), baselines, seed=results.plan.seed)
    beating = [_title(row) for row, each in zip(rows, found, strict=True) if each.beats]
    name = f"{group.architecture}, {WEIGHTS_TITLES[group.weights]} weights"
    if not beating:
        return f"{name}: no row beats the best baseline."
    return f"{name}: {', '.join(beating)} beat the best baseline without any training, so they show the image itself."


def _on_randomisation(results: Results, group: Group, rows: list[Row]) -> str:
    arrays = [results.check(RANDOMISATION, s, results.plan.randomisation.images) for s in group.subjects]
    failing = []
    for row in rows:
        names = [
            key(row.method, row.layers, stage, "ssim") for stage in (*cascade_stages(group.architecture), TRAINED_PAIRS)
        ]
        values = np.array([[each[name] for each in arrays] for name in names])
        if not depends_on_weights(values[:-1], values[-1:]):
            failing.append(_title(row))
    if not failing:
        return "every row passes the randomisation criterion."
    return f"{', '.join(failing)} fail the randomisation criterion: their maps change too little with the weights."


def _same_layers(row: Row, champion: Row) -> bool:
    """Rows that combine the same layers by another method: what is left when the combination is alike."""
    return row.layers == champion.layers and row.layers != "last" and not row.method.startswith(_NORMGRAD)


def _against(results: Results, hits: Floats, rows: list[Row], first: int, second: int) -> str:
    (found,) = compare_rows(hits, seed=results.plan.seed, pairs=[(first, second)])
    return (
        f"{_title(rows[first])} against {_title(rows[second])}: {_verdict(found)}, difference "
        f"{found.difference:+.3f} ({found.interval.low:+.2f} to {found.interval.high:+.2f}), p = {found.p_value:.4f}."
    )


def _verdict(found: Comparison) -> str:
    if found.p_value >= 0.05:
        return "cannot be told apart"
    return "better" if found.difference > 0 else "worse"


def _on_smoothing(results: Results, group: Group, rows: list[Row]) -> str:
    plain, smooth = (results.hits(group, rows, variant=variant) for variant in (PLAIN, SMOOTHED))
    pairs = [(place, len(rows) + place) for place in range(len(rows))]
    found = compare_rows(np.concatenate([smooth, plain]), seed=results.plan.seed, pairs=pairs)
    changed = [row for row, each in zip(rows, found, strict=True) if each.differs]
    largest = max(found, key=lambda each: abs(each.difference))
    size = f"the largest change of the Pointing Game is {largest.difference:+.3f} ({_title(rows[largest.first])})"
    if not changed:
        return f"smoothing helps no row once ties are drawn fairly; {size}."
    return f"smoothing changes {', '.join(map(_title, changed))}; {size}."


def _title(row: Row) -> str:
    return f"{find_method(row.method).title} {row.layers}"
