"""Transactions, and what a user reads when one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from cxrlens.errors import EXIT_USAGE, CxrlensError


class StoreError(CxrlensError):
    """The store cannot be read or written at the moment; nothing is changed."""

    exit_code = EXIT_USAGE


class Database:
    """Transactions of an engine; threads may share it.

    Attributes:
        place: where it is, for error texts.

    Args:
        sentence: what has failed and the user's remedy, by the error of the driver; None of a defect of the program.
    """

    def __init__(self, engine: Engine, place: str, sentence: Callable[[DBAPIError], str | None]) -> None:
        self.place = place
        self._engine = engine
        self._sentence = sentence

    def close(self) -> None:
        """Close the connections that are kept."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the store.

        Raises:
            StoreError: when it cannot be read.
        """
        with self._said(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: all that is written within is kept when the block ends, or nothing.

        Raises:
            StoreError: when it cannot be kept.
        """
        with self._said(), self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            sentence = self._sentence(error)
            if sentence is None:
                raise
            raise StoreError(f"{self.place}: {sentence}") from error
