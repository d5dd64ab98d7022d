"""Batches and where they stand: pulled into the inbox, judged, landed. All of it is in files that appear atomically."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from credit301.contracts.model import Contract, Severity
from credit301.errors import SourceError
from credit301.files import write_atomically
from credit301.sources import uscc
from credit301.workspace import Workspace

METADATA_KEY = b"credit301"
SUFFIX = ".parquet"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(_Record):
    """A Parquet file that the batch took over as it is; it lies in the folder beside the inbox file.

    Attributes:
        digest: SHA-256 of its content, and its name.
        before: rows of the batch that come before those of the file.
        rows: rows of the file.
        unknown: columns that are kept although the contract did not know them at the time of the pull.
        padded: columns of text with at least one value that is empty or has white space around it.
        finite: columns of days and moments none of which is infinite.
    """

    digest: str
    before: int
    rows: int
    unknown: list[str] = Field(default_factory=list)
    padded: list[str] = Field(default_factory=list)
    finite: list[str] = Field(default_factory=list)


class Batch(_Record):
    """What one pull brought; kept in the inbox file's own metadata, so that data and cursor are one file.

    Rows that did not come as a whole Parquet file are in the inbox file itself.

    Attributes:
        drift: columns that are not in the contract, with the number of rows that have a value there.
        absent: optional columns of the contract that no row had.
        origins: names of the files the rows came from.
        parts: files that were taken over as they are.
        singly: each row came by itself, so that none is refused for the others.
    """

    source: str
    pull_id: str
    cursor: str
    cursor_after: str
    served_through: str = ""
    has_more: bool = False
    rows: int
    drift: dict[str, int] = Field(default_factory=dict)
    absent: list[str] = Field(default_factory=list)
    origins: list[str] = Field(default_factory=list)
    parts: list[Part] = Field(default_factory=list)
    singly: bool = False


class CheckResult(_Record):
    """How one check came out on one batch; ``tolerance`` is the largest share of ``rows`` that may violate it."""

    severity: Severity
    unexpected: int
    share: float
    tolerance: float
    success: bool


class Verdict(_Record):
    """What validation decided on a batch.

    ``contract`` is the fingerprint of the contract that it was held to. ``distinct`` says that validation looked and
    found no record twice.
    """

    source: str
    pull_id: str
    contract: str
    accepted: bool
    rows: int
    passed: int
    quarantined: int
    duplicates: int
    warned: int
    distinct: bool = False
    checks: dict[str, CheckResult]

    def failed(self) -> list[str]:
        """Ids of the checks for which the batch was refused."""
        return [name for name, check in self.checks.items() if check.severity is Severity.FAIL and not check.success]


class Watermark(_Record):
    """Where the next pull goes on, and up to what time the source had served."""

    source: str
    cursor: str = ""
    served_through: str = ""
    pull_id: str = ""


def pull_id(source: str, cursor: str) -> str:
    """Identity of the pull that starts at ``cursor``: 16 hex digits, the same for the same start."""
    return hashlib.sha256(f"{source}\n{cursor}".encode()).hexdigest()[:16]


def fingerprint(contract: Contract) -> str:
    """SHA-256 of everything in the contract that decides whether and how a row lands."""
    content = contract.model_dump_json(include={"name", "columns", "checks", "time"})
    return hashlib.sha256(content.encode()).hexdigest()


class Store:
    """The files of one source in a workspace."""

    def __init__(self, workspace: Workspace, source: str) -> None:
        self.workspace = workspace
        self.contract = workspace.source(source)
        self.source = source
        paths = workspace.paths
        self.inbox = paths.inbox / source
        self.landing = paths.landing / source
        self.quarantine = paths.quarantine / source
        self._typed = paths.state / "typed" / source
        self._verdicts = paths.state / "validations" / source
        self._watermark = paths.state / "watermarks" / f"{source}.json"
        self._lock = paths.state / "locks" / f"{source}.lock"

    def inbox_file(self, identity: str) -> Path:
        """Where the batch's rows are as they arrived."""
        return self.inbox / f"{identity}{SUFFIX}"

    def part_file(self, identity: str, part: Part) -> Path:
        """Where a file is that the batch took over as it is."""
        return self.inbox / identity / f"{part.digest}{SUFFIX}"

    def typed_file(self, identity: str, number: int) -> Path:
        """Where texts of the batch are once they are typed by the contract as it is now; needed until it has landed."""
        return self._typed / f"{identity}-{fingerprint(self.contract)[:16]}-{number}{SUFFIX}"

    def landing_file(self, identity: str) -> Path:
        """Where the batch's typed rows are; the file exists once the batch has landed."""
        return self.landing / f"{identity}{SUFFIX}"

    def quarantine_file(self, identity: str) -> Path:
        """Where the batch's refused rows are; absent when there are none."""
        return self.quarantine / f"{identity}{SUFFIX}"

    def batch(self, identity: str) -> Batch:
        """What the inbox file says about itself.

        Raises:
            SourceError: the file is no inbox batch.
        """
        path = self.inbox_file(identity)
        metadata = pq.read_metadata(path).metadata or {}
        if METADATA_KEY not in metadata:
            raise SourceError(f"{path} was not written by a pull.", hint="Remove it from the inbox.")
        return Batch.model_validate_json(metadata[METADATA_KEY])

    def pending(self) -> Batch | None:
        """The batch that waits in the inbox to be validated and landed: the one that starts at the watermark."""
        identity = pull_id(self.source, self.watermark().cursor)
        if self.inbox_file(identity).exists() and not self.landing_file(identity).exists():
            return self.batch(identity)
        return None

    def settle(self) -> Watermark:
        """Move the watermark past every batch that has landed, also past one whose process was killed in between.

        Raises:
            SourceError: what would be pulled next has landed, but nothing tells any more how far it went.
        """
        while True:
            mark = self.watermark()
            identity = pull_id(self.source, mark.cursor)
            if not self.landing_file(identity).exists():
                return mark
            if not self.inbox_file(identity).exists():
                raise SourceError(
                    f"{self.source}: batch {identity} has landed, but its inbox file and the watermark are gone.",
                    hint=f"Restore {self.inbox} and {self._watermark} from the backup that {self.landing} is of, or "
                    f"remove {self.landing}: the source is then read again from its beginning.",
                )
            batch = self.batch(identity)
            moved = Watermark(
                source=self.source, cursor=batch.cursor_after, served_through=batch.served_through, pull_id=identity
            )
            write_atomically(self._watermark, moved.model_dump(mode="json"))

    def verdict(self, identity: str) -> Verdict | None:
        """What validation said about the batch, if it was asked."""
        path = self._verdicts / f"{identity}.json"
        return Verdict.model_validate_json(path.read_bytes()) if path.exists() else None

    def verdicts(self) -> list[Verdict]:
        """Everything that validation has said about batches of this source, oldest first."""
        files = sorted(self._verdicts.glob("*.json"), key=lambda path: path.stat().st_mtime)
        return [Verdict.model_validate_json(path.read_bytes()) for path in files]

    def save_verdict(self, verdict: Verdict) -> None:
        """Keep ``verdict``."""
        write_atomically(self._verdicts / f"{verdict.pull_id}.json", verdict.model_dump(mode="json"))

    def forget_typed(self) -> None:
        """Drop typed values that were kept for landing; they can be made again from the inbox."""
        shutil.rmtree(self._typed, ignore_errors=True)

    def forget(self, identity: str) -> None:
        """Drop what was decided about a batch that is about to be pulled again."""
        self.forget_typed()
        (self._verdicts / f"{identity}.json").unlink(missing_ok=True)
        self.quarantine_file(identity).unlink(missing_ok=True)

    def watermark(self) -> Watermark:
        """Where the next pull goes on; the beginning where nothing landed yet."""
        if not self._watermark.exists():
            return Watermark(source=self.source)
        return Watermark.model_validate_json(self._watermark.read_bytes())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from pulling, landing or replaying this source meanwhile."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def prepare(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Give a DuckDB connection the platform's macros, threads, and a place to spill to."""
    spill = workspace.paths.state / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    connection.execute("SET temp_directory = ?", [str(spill)])
    connection.execute("SET threads = ?", [workspace.settings.cpu_threads])
    connection.execute("SET memory_limit = ?", [f"{workspace.settings.ingest_memory:.2f}GiB"])
    connection.execute(uscc.macro())


@contextmanager
def database(workspace: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty in-memory DuckDB, prepared."""
    with duckdb.connect() as connection:
        prepare(connection, workspace)
        yield connection
