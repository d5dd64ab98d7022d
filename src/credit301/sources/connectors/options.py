"""What a contract may say under ``pull`` for each connector.

Nothing heavy is imported here: a contract is held to these when it is loaded, wherever that is.
"""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Identifier = Annotated[str, Field(min_length=1, max_length=63)]
ConnectionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]


class Options(BaseModel):
    """Base of a connector's options: an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Patience(Options):
    """How a connector over the network tries again: each wait about twice as long as the one before."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 8
    first_wait_seconds: Annotated[float, Field(ge=0)] = 0.25
    timeout_seconds: Annotated[float, Field(gt=0)] = 30.0


class HttpExchangeOptions(Patience):
    """How an exchange is asked; ``path`` is the resource's, below the exchange's address.

    The token is the secret ``token_secret``, or the password of ``connection``, which then names the address too.
    """

    path: str
    token_secret: str = ""
    connection: ConnectionId | Literal[""] = ""
    page_size: Annotated[int, Field(ge=1, le=100_000)] = 5_000

    @model_validator(mode="after")
    def _one_way_in(self) -> HttpExchangeOptions:
        if bool(self.token_secret) == bool(self.connection):
            raise ValueError("give token_secret or connection, one of the two")
        return self


class FileOptions(Options):
    """How files are read; the format follows from the suffix.

    ``header_rows`` lines of a CSV or an Excel sheet come before the data; the last of them has the column names. Of a
    compressed file (``.gz``, ``.bz2``, ``.xz``, ``.zst``, or ``.zip`` with one member) at most ``maximum_unpacked_mb``
    megabytes are unpacked, in passing: nothing unpacked is kept on disk.
    """

    encoding: Literal["detect", "utf-8", "gb18030"] = "detect"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    sheet: str | int = 0
    header_rows: Annotated[int, Field(ge=1, le=20)] = 1
    maximum_unpacked_mb: Annotated[int, Field(ge=1)] = 50_000


class FileDropOptions(FileOptions):
    """Which files, relative to the data directory (a drop) or to the remote folder: a name or glob, or several.

    A contract column with the physical name ``_file`` takes the name of the file, without its suffix. With columns
    ``by_position`` the first column of the file is the first of the contract, whatever the header says. A file whose
    name says that it is being written (``.part``, ``.tmp``, ...; a leading dot) is left alone; with ``ready_suffix``
    (say ``.done``) a file is taken only once an empty file of its name and that suffix lies beside it.
    """

    path: str | Annotated[list[str], Field(min_length=1)]
    columns: Literal["by_name", "by_position"] = "by_name"
    unknown_columns: Literal["keep", "ignore"] = "keep"
    ready_suffix: Annotated[str, Field(pattern=r"^(\.[A-Za-z0-9]+)?$")] = ""

    @property
    def patterns(self) -> list[str]:
        """The names or globs."""
        return [self.path] if isinstance(self.path, str) else self.path


class SftpOptions(FileDropOptions, Patience):
    """A folder on an SFTP server.

    Host, login, password or key, and the server's host key are those of ``connection``; a host key is always checked.
    """

    connection: ConnectionId
    folder: str = "."


class DatabaseOptions(Patience):
    """A table or view of a PostgreSQL database, read in the order of ``cursor``.

    The columns of ``cursor`` together are unique and only grow for new and changed rows, say ``[available_at, id]``;
    an index on them makes a pull cost what is new. A transaction that commits late may add a row before the cursor:
    ``overlap`` (seconds, or units where the first column is a number) is read again by each pull, and what has landed
    already does not land twice. ``timezone`` is the city's: moments with a time zone become its wall clock.
    """

    connection: ConnectionId
    table: Identifier
    schema_name: Annotated[Identifier, Field(alias="schema")] = "public"
    cursor: Annotated[list[Identifier], Field(min_length=1, max_length=4)]
    overlap: Annotated[int, Field(ge=0)] = 0
    unknown_columns: Literal["keep", "ignore"] = "keep"
    page_size: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    timeout_seconds: Annotated[float, Field(gt=0)] = 300.0
    timezone: str = "Asia/Shanghai"

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("is no time zone")
        return ZoneInfo(value).key


class PostedOptions(Options):
    """The source comes by posting alone (``POST /v1/events/<source>``); its contract declares ``windows``."""


OPTIONS: dict[str, type[Options]] = {
    "http_exchange": HttpExchangeOptions,
    "file_drop": FileDropOptions,
    "sftp": SftpOptions,
    "database": DatabaseOptions,
    "posted": PostedOptions,
}
