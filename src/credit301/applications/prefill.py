"""What government data say already of an enterprise that applies: nobody has to type it.

A contract marks the columns (``prefill: true``). Their newest values lie in the online store, in the entity's own hash
beside its features, one field a source, so that an erasure takes them, too. They are read by the enterprise's consent,
and each reading is on record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
from redis.exceptions import RedisError

from credit301.contracts.model import Column, Contract
from credit301.domain.text import Text
from credit301.errors import FeatureStoreError
from credit301.features.online_address import OnlineAddress
from credit301.features.packed_wire import entity_key
from credit301.sources.typed import quote
from credit301.warehouse.landing_views import landed_files, records

if TYPE_CHECKING:
    from credit301.workspace import Workspace

_BATCH = 2_000


class Prefilled(msgspec.Struct, frozen=True):
    """One value: what it is called, and by which source and since when it is so."""

    name: str
    label: Text
    value: Any
    unit: str
    source: str
    as_of: datetime | None


class _Stored(msgspec.Struct):
    at: datetime | None
    values: dict[str, Any]


_DECODER = msgspec.json.Decoder(_Stored)


def online_field(source: str) -> str:
    """The field of an entity's hash that has the values of ``source``."""
    return f"prefill.{source}"


def columns_of(contract: Contract) -> tuple[Column, ...]:
    """The columns of ``contract`` that an applicant finds filled in."""
    return tuple(column for column in contract.columns if column.prefill)


def sources_of(workspace: Workspace) -> tuple[Contract, ...]:
    """Contracts that mark such columns."""
    return tuple(contract for contract in workspace.sources.values() if columns_of(contract))


def fill(workspace: Workspace) -> dict[str, int]:
    """Write the newest landed values of every entity to the online store; how many entities by source.

    Raises:
        FeatureStoreError: the online store does not answer.
    """
    client: Any = OnlineAddress.parse(workspace.settings.redis_address()).client(socket_timeout=30)
    key, filled = workspace.entity.key, {}
    try:
        for contract in sources_of(workspace):
            filled[contract.name] = 0
            for rows in _newest(workspace, contract):
                pipeline = client.pipeline(transaction=False)
                for entity, data in rows:
                    pipeline.hset(entity_key(workspace.name, key, entity), online_field(contract.name), data)
                pipeline.execute()
                filled[contract.name] += len(rows)
    except RedisError as error:
        raise FeatureStoreError(
            f"The online store does not answer: {type(error).__name__}.", hint="Start it, then fill again."
        ) from error
    finally:
        client.close()
    return filled


def _newest(workspace: Workspace, contract: Contract) -> Iterator[list[tuple[str, str]]]:
    """Of each entity, in no order, its key and the values of its newest record as JSON; some entities at a time."""
    key = quote(workspace.entity.key)
    times = [quote(name) for name in (contract.time.event_time, contract.time.available_at) if name]
    values = ", ".join(f"{quote(column.name)} := {quote(column.name)}" for column in columns_of(contract))
    at = f"strftime(cast({times[0]} as timestamp), '%Y-%m-%dT%H:%M:%S')" if times else "null"
    row = f"to_json(struct_pack(at := {at}, values := struct_pack({values})))"
    # The record that was true last; of two versions of it, the one that was known last.
    newest = f"arg_max({row}, row({', '.join(times)}))" if times else f"any_value({row})"
    query = f"select {key}, {newest} from ({records(contract, landed_files(workspace, contract.name))}) group by all"
    with duckdb.connect() as connection:
        found = connection.execute(query)
        while rows := found.fetchmany(_BATCH):
            yield rows


def read_back(contracts: Mapping[str, Contract], replies: Sequence[bytes | None]) -> tuple[Prefilled, ...]:
    """The values in what the store has in the fields of ``contracts``, in order.

    Raises:
        FeatureStoreError: a field holds something else.
    """
    found: list[Prefilled] = []
    for (source, contract), data in zip(contracts.items(), replies, strict=True):
        if data is None:
            continue
        try:
            stored = _DECODER.decode(data)
        except msgspec.MsgspecError as error:
            raise FeatureStoreError(
                "The online store has values to fill in that cannot be read.", hint="credit301 applications prefill"
            ) from error
        found += [
            Prefilled(
                column.name,
                Text(zh=column.label.zh, en=column.label.en),
                stored.values.get(column.name),
                column.unit,
                source,
                stored.at,
            )
            for column in columns_of(contract)
        ]
    return tuple(found)
