"""A table or view of a PostgreSQL database, read in the order of a cursor that only grows.

Each page is a transaction of its own, read-only and limited in time, so that a long pull holds no old snapshot; the
next page starts after the last row of the one before (keyset pagination), also after the connection was lost.
PostgreSQL turns every value into text itself, exactly and in one way; moments with a time zone become the city's wall
clock.

The cursor is the last row's values of the cursor columns. With an overlap it also says whether the last pull came to
the end, since only then the next one goes back, and how many pages were read, since the same rows may come again.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.engine import Connection as SqlConnection
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from credit301.contracts.model import Contract
from credit301.errors import ConfigError, SourceError
from credit301.settings import Settings
from credit301.sources.connectors.base import Page, parse_options
from credit301.sources.connectors.connections import connection
from credit301.sources.connectors.options import DatabaseOptions
from credit301.sources.connectors.retry import Again, persistently

FETCHED_ROWS = 5_000
KIND = "postgres"
# SQLSTATE: the connection, a deadlock or serialization failure, too little of something, a restart.
_PASSING = ("08", "40", "53", "57P", "58")
_REFUSED = ("28", "3D")
_TIMED_OUT = "57014"
# A refused login comes without an SQLSTATE.
_REFUSALS = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")
T = TypeVar("T")


@dataclass(frozen=True)
class _Position:
    """Where reading stands: after the row with these values of the cursor columns, as text."""

    after: tuple[str, ...] = ()
    ended: bool = False
    pages: int = 0

    @classmethod
    def parse(cls, text: str) -> _Position:
        if not text:
            return cls()
        values = json.loads(text)
        return cls(tuple(values["after"]), values.get("ended", False), values.get("pages", 0))

    def text(self, *, overlapping: bool) -> str:
        values: dict[str, Any] = {"after": list(self.after)}
        if overlapping:
            values |= {"ended": self.ended, "pages": self.pages}
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


class Database:
    """Reads one table of a database."""

    def __init__(self, contract: Contract, settings: Settings) -> None:  # noqa: ARG002 - as every connector is made
        self.options = parse_options(DatabaseOptions, contract)
        self.name = contract.name
        self.wanted = [column.physical_name for column in contract.columns]
        self.connection = connection(self.options.connection)
        self.table_name = f"{self.options.schema_name}.{self.options.table}"

    def read(self, cursor: str) -> Iterator[Page]:
        """Pages after ``cursor`` until there is no further row.

        Raises:
            SourceError: login, table or cursor column is refused, a page took too long, or a fault outlasted the
                attempts.
        """
        position = _Position.parse(cursor)
        engine = self._engine()
        try:
            table = self._persistently(lambda: self._reflect(engine))
            back = position.ended and self.options.overlap > 0
            more = True
            while more:
                rows = self._persistently(partial(self._page, engine, table, position, back=back))
                if rows.last is None:
                    return
                more, back = rows.more, False
                position = _Position(rows.last, ended=not more, pages=position.pages + 1)
                yield Page(
                    pa.RecordBatchReader.from_batches(rows.schema, iter(rows.batches)),
                    position.text(overlapping=self.options.overlap > 0),
                    has_more=more,
                )
        finally:
            engine.dispose()

    def _engine(self) -> Engine:
        found = self.connection
        if found.kind != KIND:
            raise ConfigError(
                f"The connection {found.id!r} is of kind {found.kind!r}; {self.name} needs one of kind {KIND!r}."
            )
        options = {name: value for name in ("sslmode", "sslrootcert") if (value := found.option(name))}
        return sa.create_engine(
            URL.create(
                "postgresql+psycopg",
                found.login or None,
                found.password.get_secret_value() or None,
                found.host or None,
                found.port,
                found.schema_name or None,
            ),
            # Nothing of a row in a message or a log.
            hide_parameters=True,
            pool_size=1,
            max_overflow=0,
            connect_args={
                "connect_timeout": max(2, int(min(self.options.timeout_seconds, 30))),
                "application_name": f"credit301 {self.name}",
                # A pooler between may not know what another session prepared.
                "prepare_threshold": None,
                **options,
            },
        )

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[SqlConnection]:
        """A transaction that reads only, for a bounded time, with values written in one way.

        Raises:
            Again: the database went away; a new connection may do.
            SourceError: trying again would not help.
        """
        milliseconds = int(self.options.timeout_seconds * 1000)
        local = {
            "statement_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
            "TimeZone": self.options.timezone,
            "DateStyle": "ISO",
            "IntervalStyle": "iso_8601",
            "extra_float_digits": 1,
        }
        try:
            with engine.connect().execution_options(postgresql_readonly=True) as opened:
                opened.execute(
                    sa.select(*(sa.func.set_config(name, str(value), True) for name, value in local.items()))
                )
                yield opened
        except DBAPIError as error:
            raise self._fault(error) from error

    def _fault(self, error: DBAPIError) -> Exception:
        """What a fault of the database means for the pull; its own text may quote a row and is told only of a login."""
        state = getattr(error.orig, "sqlstate", None) or ""
        kind = f"{type(error.orig).__name__}{f' ({state})' if state else ''}"
        said = str(error.orig).strip().splitlines()[-1] if not state else ""
        if state == _TIMED_OUT:
            return SourceError(
                f"{self.name}: {self.table_name}: a page of {self.options.page_size:,} rows took longer than "
                f"{self.options.timeout_seconds:g} s.",
                hint=f"An index on ({', '.join(self.options.cursor)}) makes it fast; or lower page_size, or raise "
                "timeout_seconds in the contract's pull options.",
            )
        if any(text in said for text in _REFUSALS) or state.startswith(_REFUSED):
            return SourceError(
                f"{self.name}: the database refused the login: {said or kind}.",
                hint=f"Check login, password and database of the connection {self.connection.id!r}.",
            )
        if error.connection_invalidated or not state or state.startswith(_PASSING):
            return Again(kind)
        return SourceError(
            f"{self.name}: the database refused to read {self.table_name}: {kind}.",
            hint="May the login of the connection select from it? Is the table as the contract says?",
        )

    def _persistently(self, ask: Callable[[], T]) -> T:
        try:
            return persistently(self.name, self.options, ask)
        except Again as error:
            raise SourceError(
                f"{self.name}: the database of the connection {self.connection.id!r} did not deliver in "
                f"{self.options.attempts} attempts; the last fault: {error}.",
                hint="Does it run, are host and port right? Pull again: it goes on where it stopped.",
            ) from error

    def _reflect(self, engine: Engine) -> sa.Table:
        """The table as it is now.

        Raises:
            SourceError: it is not there, or cannot be read in the order of the cursor without losing a row.
        """
        options = self.options
        with self._transaction(engine) as opened:
            try:
                table = sa.Table(
                    options.table,
                    sa.MetaData(),
                    schema=options.schema_name,
                    autoload_with=opened,
                    resolve_fks=False,
                )
            except NoSuchTableError as error:
                raise SourceError(
                    f"{self.name}: the database has no table or view {self.table_name}, or the login may not see it.",
                    hint="Check `schema` and `table` in the contract's pull options.",
                ) from error
            absent = [name for name in options.cursor if name not in table.c]
            if absent:
                raise SourceError(
                    f"{self.name}: {self.table_name} has no column {', '.join(absent)}, which is its cursor.",
                    hint="Did the source rename it? Change `cursor` in the contract's pull options.",
                )
            keys = [table.c[name] for name in options.cursor]
            empty = sa.or_(*(key.is_(None) for key in keys if key.nullable))
            if any(key.nullable for key in keys) and opened.execute(sa.select(1).where(empty).limit(1)).first():
                raise SourceError(
                    f"{self.name}: {self.table_name} has rows without a value of its cursor "
                    f"({', '.join(options.cursor)}); they would never be read.",
                    hint="Choose columns that are never NULL, or have the source fill them.",
                )
        return table

    def _page(self, engine: Engine, table: sa.Table, start: _Position, *, back: bool) -> _Rows:
        """The rows after ``start``, at most ``page_size``; with ``back`` the overlap before it, too."""
        names = [name for name in table.c.keys() if self.options.unknown_columns == "keep" or name in self.wanted]  # noqa: SIM118 - columns, not names
        keys = [table.c[name] for name in self.options.cursor]
        query = (
            sa.select(*(_text(table.c[name]).label(f"value_{at}") for at, name in enumerate(names)))
            .add_columns(*(sa.cast(key, sa.Text).label(f"key_{at}") for at, key in enumerate(keys)))
            .order_by(*keys)
            .limit(self.options.page_size + 1)
        )
        if start.after:
            bound = [_bound(key, value) for key, value in zip(keys, start.after, strict=True)]
            if back:
                query = query.where(keys[0] >= bound[0] - self._overlap(keys[0]))
            else:
                query = query.where(sa.tuple_(*keys) > sa.tuple_(*bound))
        rows = _Rows(names)
        with self._transaction(engine) as opened:
            streamed = opened.execution_options(stream_results=True, max_row_buffer=FETCHED_ROWS)
            for part in streamed.execute(query).partitions(FETCHED_ROWS):
                rows.add(part, room=self.options.page_size)
        if rows.repeated:
            raise SourceError(
                f"{self.name}: {self.table_name} has several rows with the same {', '.join(self.options.cursor)}; "
                "at the edge of a page some would be lost.",
                hint="Add a unique column, say the id, at the end of `cursor` in the contract's pull options.",
            )
        return rows

    def _overlap(self, key: sa.Column[Any]) -> Any:
        if isinstance(key.type, sa.DateTime | sa.Date):
            return sa.literal(dt.timedelta(seconds=self.options.overlap), sa.Interval)
        if isinstance(key.type, sa.Numeric | sa.Integer):
            return sa.literal(self.options.overlap)
        raise SourceError(
            f"{self.name}: `overlap` needs a first cursor column that is a time or a number; "
            f"{key.name} is {type(key.type).__name__}."
        )


class _Rows:
    """The rows of one page as Arrow batches of text, and where it ends."""

    def __init__(self, names: list[str]) -> None:
        self.schema = pa.schema([(name, pa.string()) for name in names])
        self.batches: list[pa.RecordBatch] = []
        self.last: tuple[str, ...] | None = None
        self.more = False
        self.repeated = False
        self._count = 0

    def add(self, rows: Sequence[sa.Row[Any]], room: int) -> None:
        """Append ``rows``, of which what is beyond ``room`` only says that there is more."""
        width = len(self.schema)
        keys = [tuple(row[width:]) for row in rows]
        self.repeated |= len(set(keys)) < len(keys) or keys[0] == self.last
        kept = rows[: room - self._count]
        self.more = len(kept) < len(rows)
        self._count += len(kept)
        if kept:
            self.last = keys[len(kept) - 1]
            columns = list(zip(*kept, strict=True))[:width]
            arrays = [pa.array(column, pa.string()) for column in columns]
            self.batches.append(pa.RecordBatch.from_arrays(arrays, schema=self.schema))


def _text(column: sa.Column[Any]) -> sa.Cast[str]:
    """``column`` as text; a moment with a time zone as the wall clock of the session's."""
    if isinstance(column.type, sa.DateTime) and column.type.timezone:
        return sa.cast(sa.cast(column, sa.DateTime(timezone=False)), sa.Text)
    return sa.cast(column, sa.Text)


def _bound(key: sa.Column[Any], value: str) -> sa.Cast[Any]:
    return sa.cast(sa.literal(value, sa.Text), key.type)
