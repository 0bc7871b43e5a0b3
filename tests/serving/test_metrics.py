"""The text of /metrics, read back by Prometheus's own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from cxrlens.serving.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """The value of each line, by its name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.text())
        for sample in family.samples
    }


def test_counts_are_kept_by_their_labels() -> None:
    metrics = Metrics()
    metrics.requests.labels("GET", "/health", "200").inc()
    metrics.requests.labels("GET", "/health", "200").inc()
    metrics.requests.labels("POST", '/a "b"\\', "422").inc()
    found = samples(metrics)
    assert found["cxrlens_requests_total", "GET", "/health", "200"] == 2
    assert found["cxrlens_requests_total", "POST", '/a "b"\\', "422"] == 1


def test_histograms_count_what_is_at_most_each_bound() -> None:
    metrics = Metrics()
    for size in (1, 2, 3, 100):
        metrics.batch_sizes.observe(size)
    found = samples(metrics)
    bounds = {key[1]: value for key, value in found.items() if key[0] == "cxrlens_batch_images_bucket"}
    assert bounds == {"1.0": 1, "2.0": 2, "4.0": 3, "8.0": 3, "16.0": 3, "32.0": 3, "64.0": 3, "+Inf": 4}
    assert (found["cxrlens_batch_images_count",], found["cxrlens_batch_images_sum",]) == (4, 106)


def test_servers_of_one_process_count_apart_and_ask_for_gauges_late() -> None:
    first, second = Metrics(), Metrics()
    waiting = 0
    first.gauge("cxrlens_checks", "Uploads in the making.", lambda: waiting)
    first.verdicts.labels("correct").inc()
    waiting = 3
    assert samples(first)["cxrlens_checks",] == 3
    assert samples(first)["cxrlens_verdicts_total", "correct"] == 1
    assert ("cxrlens_verdicts_total", "correct") not in samples(second)


def test_names_types_and_help_are_those_of_the_documentation() -> None:
    families = {family.name: family for family in text_string_to_metric_families(Metrics().text())}
    assert {name: family.type for name, family in families.items()} == {
        "cxrlens_requests": "counter",
        "cxrlens_check_seconds": "histogram",
        "cxrlens_batch_images": "histogram",
        "cxrlens_uploads_refused": "counter",
        "cxrlens_uploads_not_assessable": "counter",
        "cxrlens_verdicts": "counter",
    }
    assert families["cxrlens_batch_images"].documentation == "Images per pass through the network."
