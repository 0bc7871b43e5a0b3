"""The job behind ``cxrlens node``: receive, screen, send on, until it is stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cxrlens.delivery.destinations import DeliverySettings, open_destination
from cxrlens.delivery.outbox import Outbox
from cxrlens.delivery.sending import Senders
from cxrlens.dicom_out import require_highdicom
from cxrlens.errors import UsageError
from cxrlens.node.arrivals import Arrivals
from cxrlens.node.counts import Counts
from cxrlens.node.ledger import Ledger
from cxrlens.node.receiving import Receiver, ReceivingSettings
from cxrlens.node.results import Results
from cxrlens.node.spool import Spool
from cxrlens.node.web import WebSettings, serving
from cxrlens.outputs import output_folder, own_names
from cxrlens.screening.beginning import opened_screening
from cxrlens.screening.engines import local_engine
from cxrlens.screening.folder import ScreenedFolder
from cxrlens.screening.local_engine import LocalWork
from cxrlens.screening.reasons import read_reasons
from cxrlens.screening.screen import Screening
from cxrlens.screening.settings import ScreeningSettings
from cxrlens.screening.store import postgresql
from cxrlens.screening.summary import PacedSummaries, write_summary

log = logging.getLogger(__name__)

IMAGES: Final = "images"
SCREENED: Final = "screened"
_NAMES: Final = (IMAGES, SCREENED, "outbox.sqlite", "node.sqlite")
_LOOK = 1.0  # seconds for which an image is waited for before anything else is looked after
_BATCHES = 2  # that are taken at once: the first of them need not wait for all that has come


@dataclass(frozen=True)
class NodeSettings:
    """The settings of a node.

    Attributes:
        screening: how images are screened.
        receiving: which are taken, from whom.
        delivery: how results are sent.
        destinations: addresses of those who get them.
        keep_free: bytes of the disk that images leave free.
        web: where the worklist is served; None for nowhere.
    """

    screening: ScreeningSettings
    receiving: ReceivingSettings = field(default_factory=ReceivingSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    destinations: tuple[str, ...] = ()
    keep_free: int = 1_000_000_000
    web: WebSettings | None = None


@dataclass(frozen=True)
class NodeAddress:
    """Where a node is.

    Attributes:
        ae_title: by which it is called; likewise ``host`` and ``port``.
        url: of its review page; None where none is served.
    """

    ae_title: str
    host: str
    port: int
    url: str | None


@dataclass(frozen=True)
class NodeResult:
    """What a node leaves when it ends.

    Attributes:
        received: images that were new to it in this run; ``screened`` those that were screened.
        unscreened: images that wait for the next run.
        undelivered: results that do.
        refused: results that a destination has refused.
    """

    received: int
    screened: int
    unscreened: int
    undelivered: int
    refused: int


def run_node(
    out: Path,
    settings: NodeSettings,
    *,
    reasons: Path | None = None,
    database: str | None = None,
    force: bool = False,
    stop: threading.Event,
    ready: Callable[[NodeAddress], None] = lambda address: None,
) -> NodeResult:
    """Take images, screen them and send their results on, until told to stop.

    What was acknowledged is on the disk; a run that was killed is gone on with by the next one.

    Args:
        out: folder of the node: images, results (a screened folder, ``screened``), outbox.
        reasons: a file of reasons for a retake, see `read_reasons`, which the folder keeps.
        database: address of the PostgreSQL database that holds results and verdicts, see `Store`.
        force: screen all images again, and send their results anew.
        stop: ends the node after the images at hand.
        ready: is told once images are taken.

    Raises:
        UsageError: when model, addresses, certificates or folder cannot be used.
        StoreError: when the store fails in the middle.
    """
    out = out.resolve()  # names of images rest on it, wherever the next run is started
    destinations = [open_destination(address, settings.delivery) for address in settings.destinations]
    if len({each.name for each in destinations}) < len(destinations):
        raise UsageError("a destination is named twice; leave one of the two out")
    if destinations:
        require_highdicom()
    chosen = None if reasons is None else read_reasons(reasons)
    server = None if database is None else postgresql.reached(database)
    engine = local_engine(settings.screening)
    counts, errors = Counts(), list[BaseException]()
    with ExitStack() as parts:
        parts.enter_context(output_folder(out, _NAMES, force=IMAGES in own_names(out)))
        spool = Spool(out / IMAGES, settings.keep_free)
        screening = parts.enter_context(
            opened_screening(
                ScreenedFolder(out / SCREENED),
                spool.folder.resolve(),
                settings.screening,
                engine,
                server=server,
                reasons=chosen,
                force=force,
            )
        )
        ledger = parts.enter_context(closing(Ledger(out / "node.sqlite")))
        outbox = parts.enter_context(closing(Outbox(out / "outbox.sqlite")))
        if force:
            ledger.clear()
        arrivals = Arrivals(ledger.unfinished(spool.files()))
        if arrivals:
            log.info("%d images of an earlier run are screened first", len(arrivals))
        outbox.try_refused()
        outbox.hasten()  # whoever starts a node need not wait for what failed before
        names = [destination.name for destination in destinations]
        results = Results(screening, screening.folder.info().model_facts(), outbox, names, counts)
        work = parts.enter_context(
            engine.at_work(screening.store, results.writing)
        )  # processes are started before threads

        def failed(error: BaseException) -> None:
            errors.append(error)
            stop.set()
            arrivals.close()

        running = parts.enter_context(ExitStack())
        senders = running.enter_context(
            Senders(outbox, destinations, delivered=lambda _: counts.add("delivered"), failed=failed)
        )
        url = None
        if settings.web is not None:
            from cxrlens.node.metrics import NodeMetrics
            from cxrlens.serving.run import load_model

            metrics = NodeMetrics(counts, arrivals, outbox, names)
            model = load_model(settings.screening)  # a copy of its own: uploads are checked while the node screens
            url = running.enter_context(serving(settings.web, model, screening.folder.path, server, metrics))
        receiver = running.enter_context(Receiver(settings.receiving, spool, counts, arrivals.put))
        ready(NodeAddress(settings.receiving.ae_title, settings.receiving.host, receiver.port, url))
        _Work(screening, settings.screening, work, arrivals, results, ledger, senders).until(stop)
        running.close()
        if errors:
            raise errors[0]
        tallies = outbox.tallies().values()
        return NodeResult(
            received=counts["new"] + counts["corrected"],
            screened=counts["screened"],
            unscreened=len(arrivals),
            undelivered=sum(tally.waiting for tally in tallies),
            refused=sum(tally.refused for tally in tallies),
        )


@dataclass(frozen=True)
class _Work:
    """What the node's main thread does."""

    screening: Screening
    settings: ScreeningSettings
    work: LocalWork
    arrivals: Arrivals
    results: Results
    ledger: Ledger
    senders: Senders

    def until(self, stop: threading.Event) -> None:
        """Screen what comes until told to stop, and write the worklist every now and then."""
        summaries = PacedSummaries(self.screening, self.settings)
        while not stop.is_set():
            files = self.arrivals.take(_BATCHES * self.settings.batch_size, _LOOK)
            if files:
                self._screen(files)
            summaries.write_when_due()
        write_summary(self.screening, self.settings)

    def _screen(self, files: Sequence[Path]) -> None:
        for _ in self.screening.run(files, work=self.work):
            pass
        self.ledger.finish(self.results.hand_over(files, self.work.readers))
        self.senders.look()
