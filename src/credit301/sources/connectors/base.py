"""What every connector does: hand over pages of records, each with the cursor that follows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import ValidationError

from credit301.sources.connectors.options import Options
from credit301.yaml_file import YamlFile

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from credit301.contracts.model import Contract


@dataclass(frozen=True)
class WholeFile:
    """A Parquet file that the inbox may take over as it is.

    Attributes:
        path: where it is now.
        digest: SHA-256 of its content.
        unknown_columns: whether columns that the contract does not know are kept.
    """

    path: Path
    digest: str
    unknown_columns: bool = True


@dataclass(frozen=True)
class Page:
    """Some records and where the source stands after them.

    Attributes:
        records: mappings from the source's own column names to values, or a stream of Arrow batches
            of strings or of types that are to be kept.
        cursor_after: asking with this cursor continues after the page.
        served_through: the source's clock, ISO 8601; empty where the source has none.
        has_more: whether the source has more now.
        origin: what the page was read from, for a person (a file's name); empty for an exchange.
        file: the Parquet file that has just these records, where there is one; then the stream need not be read.
        singly: each record was delivered by itself, not with the others.
    """

    records: Sequence[Mapping[str, Any]] | pa.RecordBatchReader
    cursor_after: str
    served_through: str = ""
    has_more: bool = False
    origin: str = field(default="")
    file: WholeFile | None = None
    singly: bool = False


class Connector(Protocol):
    """Reads a source from a cursor on; the empty cursor is the beginning."""

    def read(self, cursor: str) -> Iterator[Page]:
        """Pages after ``cursor``, in the source's order, until it has no more.

        Raises:
            SourceError: the source did not deliver; the message says what to do.
        """
        ...


OptionsT = TypeVar("OptionsT", bound=Options)


def parse_options(model: type[OptionsT], contract: Contract) -> OptionsT:
    """The ``pull`` options of ``contract`` as ``model``.

    Raises:
        ContractError: an option is missing, unknown or out of range.
    """
    try:
        return model.model_validate(contract.pull.options)
    except ValidationError as error:
        # Not above: the loader itself holds contracts to these options.
        from credit301.contracts.loader import FILE_NAME
        from credit301.contracts.properties import place_of_property

        file = YamlFile(contract.path / FILE_NAME)
        raise file.invalid(error, (*place_of_property(file, "pull"), "options")) from error


def as_text(value: Any) -> str | None:
    """``value`` as the shortest text that denotes it; lists and mappings as compact JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value)
