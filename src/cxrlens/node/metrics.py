"""What a node says of itself on ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cxrlens.delivery.outbox import Outbox, Tally
from cxrlens.node.arrivals import Arrivals
from cxrlens.node.counts import Counts, Event

_RECEIVED: tuple[Event, ...] = ("new", "repeated", "corrected", "refused", "no_space", "failed")
_SCREENED: tuple[tuple[Event, str], ...] = (
    ("screened", "Images screened."),
    ("unreadable", "Received images that could not be read."),
    ("left_out", "Images without DICOM results: not assessable, or nothing can refer to them."),
)


class NodeMetrics(Collector):
    """Counts of a node since it began, and what waits."""

    def __init__(self, counts: Counts, arrivals: Arrivals, outbox: Outbox, destinations: Sequence[str]) -> None:
        self._counts = counts
        self._arrivals = arrivals
        self._outbox = outbox
        self._destinations = destinations

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        received = CounterMetricFamily("cxrlens_node_received", "Images sent to the node.", labels=["outcome"])
        for event in _RECEIVED:
            received.add_metric([event], self._counts[event])
        yield received
        for event, words in _SCREENED:
            yield CounterMetricFamily(f"cxrlens_node_{event}", words, value=self._counts[event])
        yield GaugeMetricFamily("cxrlens_node_waiting", "Images that wait to be screened.", value=len(self._arrivals))
        yield from self._deliveries()

    def _deliveries(self) -> Iterator[Metric]:
        tallies = self._outbox.tallies() if self._destinations else {}
        waiting = GaugeMetricFamily("cxrlens_node_undelivered", "Results still to be sent.", labels=["destination"])
        refused = GaugeMetricFamily("cxrlens_node_refused_results", "Results refused there.", labels=["destination"])
        delivered = GaugeMetricFamily("cxrlens_node_delivered_results", "Results there.", labels=["destination"])
        for name in self._destinations:
            tally = tallies.get(name, Tally())
            waiting.add_metric([name], tally.waiting)
            refused.add_metric([name], tally.refused)
            delivered.add_metric([name], tally.delivered)
        yield from (waiting, refused, delivered)
