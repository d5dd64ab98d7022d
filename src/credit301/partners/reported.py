"""What banks report flows back as records of the bank sources, so that labels and features see it.

A message's record is written with the change that it causes, in the history of the application, and is known by the
number of its line. A pull of such a source reads the source itself first and then the lines after the last one that it
read: the cursor of the batch names both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import tuple_row

from credit301 import console
from credit301.applications.migrate import DATABASE
from credit301.errors import ConfigError
from credit301.partners.bank import load_banks
from credit301.partners.inbound import LOANS, RECORDS, REPAYMENTS
from credit301.sources.connectors import Connector, Page, connector_for

if TYPE_CHECKING:
    from credit301.workspace import Workspace

SOURCES = (LOANS, REPAYMENTS)
# A line may be written under a lower number than one that is there already; no statement takes this long.
SETTLED = timedelta(seconds=15)
_PAGE = 5_000
_MARK = " reported:"
_LINES = """
    select line.number, line.at, line.detail -> %(records)s -> %(source)s
    from applications.application_event as line
    inner join applications.application as its on its.id = line.application_id
    where its.workspace = %(workspace)s and line.number > %(after)s and line.at <= %(until)s
        and line.detail -> %(records)s ? %(source)s
    order by line.number
    limit %(most)s
"""


def beside(workspace: Workspace, source: str) -> Connector | None:
    """The connector of ``source`` with what banks reported after it; ``None`` where banks report nothing for it."""
    if source not in SOURCES or not load_banks(workspace):
        return None
    return Reported(workspace, source, connector_for(workspace.source(source), workspace.settings))


class Reported:
    """Reads a source, then what banks reported.

    Args:
        workspace: whose applications.
        source: the source that the records are of.
        itself: the source's own connector.
    """

    def __init__(self, workspace: Workspace, source: str, itself: Connector) -> None:
        self._workspace = workspace
        self._source = source
        self._itself = itself

    def read(self, cursor: str) -> Iterator[Page]:
        """Pages of the source after ``cursor``, then of reports.

        Raises:
            SourceError: the source itself did not deliver.
        """
        own, after, served = *_parted(cursor), ""
        for page in self._itself.read(own):
            own, served = page.cursor_after, page.served_through
            yield replace(page, cursor_after=_joined(own, after))
        for rows in self._reports(after):
            after = rows[-1][0]
            yield Page(
                [self._record(at, record) for _, at, record in rows],
                _joined(own, after),
                served_through=served,
                has_more=len(rows) == _PAGE,
            )

    def _reports(self, after: int) -> Iterator[list[tuple[int, datetime, dict[str, Any]]]]:
        asked = {"workspace": self._workspace.name, "source": self._source, "records": RECORDS, "most": _PAGE}
        until = datetime.now(UTC) - SETTLED
        try:
            address = self._workspace.settings.postgres_address(DATABASE)
            with psycopg.connect(address, connect_timeout=3, row_factory=tuple_row) as connection:
                rows = connection.execute(_LINES, {**asked, "after": after, "until": until}).fetchall()
                while rows:
                    yield rows
                    following = {**asked, "after": rows[-1][0], "until": until}
                    rows = connection.execute(_LINES, following).fetchall() if len(rows) == _PAGE else []
        except (psycopg.Error, ConfigError) as error:
            # The source itself goes on without; what is not read now is read by the next pull.
            console.say(
                f"{self._source}: reports of banks are not read now ({type(error).__name__}); the next pull reads them"
            )

    def _record(self, at: datetime, record: dict[str, Any]) -> dict[str, Any]:
        contract = self._workspace.source(self._source)
        known = contract.time.available_at
        if known:
            record = record | {known: at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")}
        return {column.physical_name: record.get(column.name) for column in contract.columns}


def _parted(cursor: str) -> tuple[str, int]:
    own, mark, number = cursor.rpartition(_MARK)
    return (own, int(number)) if mark else (cursor, 0)


def _joined(own: str, after: int) -> str:
    return f"{own}{_MARK}{after}" if after else own
