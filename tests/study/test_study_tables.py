"""Cells of the tables against numbers made from the records in another way; the findings follow from them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from small_study import RecordedStudy

from cxrlens.report.tables import Score, Table
from cxrlens.saliency.explain import Row
from cxrlens.study.experiments.subgroups import size_groups
from cxrlens.study.report import all_findings, all_tables
from cxrlens.study.results import Results

ROWS = [Row("grad_cam", "last"), Row("normgrad_conv1x1", "combined"), Row("input_x_gradient", "input")]


@pytest.fixture(scope="module")
def results(made: RecordedStudy) -> Results:
    return made.results


@pytest.fixture(scope="module")
def tables(results: Results) -> dict[str, Table]:
    return {table.name: table for _, table in all_tables(results)}


def score(table: Table, row: int, column: int) -> Score:
    cell = table.rows[row][column]
    assert isinstance(cell, Score)
    return cell


def test_every_part_of_the_plan_has_its_tables(tables: dict[str, Table]) -> None:
    assert {
        *("classification", "pointing-game", "smoothing", "weights", "consistency"),
        *(f"{name}-resnet18" for name in ("tolerances", "localisation", "froc", "detection", "layers", "comparisons")),
        *(f"{name}-resnet18" for name in ("ranking", "randomisation", "perturbation", "faithfulness")),
    } <= set(tables)
    assert "architectures" not in tables  # there is but one


def test_pointing_game_cells(tables: dict[str, Table], results: Results) -> None:
    hits = results.hits(results.trained[0], ROWS)
    table = tables["pointing-game"]
    for number in range(len(ROWS)):
        cell = score(table, number, 2)
        assert cell.value == pytest.approx(hits[number].mean())
        assert cell.n == 7
        low, high = crossed_interval(hits[number])
        assert (cell.low, cell.high) == pytest.approx((low, high), abs=0.06)  # 100 resamples in the plan
    assert [column.key for column in table.columns] == ["method", "layers", "resnet18"]


def test_the_n_of_a_froc_counts_the_images_that_its_sensitivity_is_of(
    tables: dict[str, Table], results: Results
) -> None:
    normal = sum(not shapes for shapes in results.annotations)
    assert normal == len(results.annotations) - 7 > 0
    said = f"n counts the images with an object; false positives are also counted on {normal} images without one."
    found = {name: table for name, table in tables.items() if "froc" in name}
    assert {"froc-resnet18", "fusions-resnet18-froc", "subgroups-resnet18-froc"} <= set(found)
    sizes = [int(images.sum()) for images in size_groups(results).values()]
    for name, table in found.items():
        assert said in table.note
        counts = [[cell.n for cell in row if isinstance(cell, Score)] for row in table.rows]
        for row in counts:
            assert row[:3] == sizes if name.startswith("subgroups") else set(row) == {7}


def crossed_interval(hits: np.ndarray) -> tuple[float, float]:
    """That of as many images as have the variance of seeds and images drawn anew, crossed, one by one."""
    rng = np.random.default_rng(1)
    (seeds, n), share = hits.shape, hits.mean()
    draws = [hits[np.ix_(rng.integers(seeds, size=seeds), rng.integers(n, size=n))].mean() for _ in range(4000)]
    if 0 < share < 1:
        n = min(n, share * (1 - share) / np.var(draws))
    low = stats.beta.ppf(0.025, share * n, n - share * n + 1) if share else 0.0
    return float(low), float(stats.beta.ppf(0.975, share * n + 1, n - share * n)) if share < 1 else 1.0


def test_shares_of_images_have_no_interval_without_width(tables: dict[str, Table]) -> None:
    """Where all of n images are misses (or hits), 1 - 0.025^(1/n) is left open, whichever table shows it."""
    places = {
        "tolerances-resnet18": range(2, 5), "layers-resnet18": [3], "detection-resnet18": [2, 3], "smoothing": [2, 3],
        "localisation-resnet18": [2], "subgroups-resnet18-pointing_game": range(2, 5), "faithfulness-resnet18": [5],
        "weights": [2, 3],
    }  # fmt: skip
    for name, columns in places.items():
        table = tables[name]
        cells = [row[column] for row in table.rows for column in columns if "random" not in str(row[0])]
        seen = [cell for cell in cells if isinstance(cell, Score) and cell.value in (0, 1)]
        assert seen, name
        for cell in seen:
            assert cell.high - cell.low >= 1 - 0.025 ** (1 / cell.n) - 1e-12, name
            assert cell.low == 0 if cell.value == 0 else cell.high == 1


def test_rows_that_differ_on_no_image_may_differ_elsewhere(tables: dict[str, Table]) -> None:
    cells = [row[2] for row in tables["comparisons-resnet18"].rows if isinstance(row[2], Score)]
    assert all(cell.low < cell.high for cell in cells)


def test_size_groups_are_thirds_of_the_area(tables: dict[str, Table], results: Results) -> None:
    groups = size_groups(results)
    assert [int(chosen.sum()) for chosen in groups.values()] in ([3, 2, 2], [2, 2, 3], [2, 3, 2])
    hits = results.hits(results.trained[0], ROWS)
    table = tables["subgroups-resnet18-pointing_game"]
    for number in range(len(ROWS)):
        for column, chosen in enumerate(groups.values(), 2):
            assert score(table, number, column).value == pytest.approx(hits[number][:, chosen].mean())


def test_ranks_are_scipys(tables: dict[str, Table], results: Results) -> None:
    distances = np.minimum(results.scores(results.trained[0], ROWS, "distance"), 1e6).mean(axis=1)
    expected = np.sort(stats.rankdata(distances.T, axis=1).mean(axis=0))
    found = [row[2] for row in tables["ranking-resnet18"].rows]
    np.testing.assert_allclose(
        [cell.value if isinstance(cell, Score) else float(str(cell)) for cell in found], expected
    )


def test_comparisons_are_corrected_for_their_number(tables: dict[str, Table], results: Results) -> None:
    table = tables["comparisons-resnet18"]
    assert len(table.rows) == 3
    hits = results.hits(results.trained[0], ROWS).mean(axis=1)
    means = {f"{row}": hits[number].mean() for number, row in enumerate(ROWS)}
    for row in table.rows:
        difference = next(cell for cell in row if isinstance(cell, Score))
        assert difference.value in [
            pytest.approx(a - b) for one, a in means.items() for other, b in means.items() if one != other
        ]


def test_untrained_networks_beat_no_baseline(tables: dict[str, Table], results: Results) -> None:
    """With 7 images and maps of untrained networks, nothing may be said to beat the best baseline."""
    assert all(score(tables["pointing-game"], number, 2).marked for number in range(len(ROWS)))
    said = all_findings(results)
    assert not any(" beats the best baseline" in sentence and "no row" not in sentence for sentence in said)
