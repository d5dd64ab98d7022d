"""What every connector does: hand over pages of records, each with the cursor that follows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from credit301.contracts.model import Contract
from credit301.errors import ContractError


@dataclass(frozen=True)
class Page:
    """Some records and where the source stands after them.

    Attributes:
        records: mappings from the source's own column names to values, or a stream of Arrow batches of strings.
        cursor_after: asking with this cursor continues after the page.
        served_through: the source's clock, ISO 8601; empty where the source has none.
        has_more: whether the source has more now.
        origin: what the page was read from, for a person (a file's name); empty for an exchange.
    """

    records: Sequence[Mapping[str, Any]] | pa.RecordBatchReader
    cursor_after: str
    served_through: str = ""
    has_more: bool = False
    origin: str = field(default="")


class Connector(Protocol):
    """Reads a source from a cursor on; the empty cursor is the beginning."""

    def read(self, cursor: str) -> Iterator[Page]:
        """Pages after ``cursor``, in the source's order, until it has no more.

        Raises:
            SourceError: the source did not deliver; the message says what to do.
        """
        ...


class Options(BaseModel):
    """Base of a connector's options: an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


OptionsT = TypeVar("OptionsT", bound=Options)


def parse_options(model: type[OptionsT], contract: Contract) -> OptionsT:
    """The ``pull`` options of ``contract`` as ``model``.

    Raises:
        ContractError: an option is missing, unknown or out of range.
    """
    try:
        return model.model_validate(contract.pull.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ContractError(f"{contract.path / 'contract.yaml'}: pull option {where!r}: {first['msg']}.") from error


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
