"""What an applicant finds filled in is what a contract marks, and never a person's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from credit301.applications.prefill import columns_of, read_back, sources_of
from credit301.errors import ContractError, FeatureStoreError

if TYPE_CHECKING:
    from tests.conftest import TinyWorkspace

COLUMN = "{name: amount, "


def marked(tiny: TinyWorkspace, value: str, more: str = "") -> TinyWorkspace:
    return tiny.replace(COLUMN, f"{{name: amount, {more}customProperties: [{{property: prefill, value: {value}}}], ")


def test_a_marked_column_is_filled_in_and_no_other(tiny: TinyWorkspace) -> None:
    workspace = marked(tiny, "true").load()
    (contract,) = sources_of(workspace)
    assert [column.name for column in columns_of(contract)] == ["amount"]
    stored = json.dumps({"at": "2024-05-31T00:00:00", "values": {"amount": 12.5}}).encode()
    (found,) = read_back({"sales": contract}, [stored])
    assert (found.name, found.value, found.source) == ("amount", 12.5, "sales")
    assert found.as_of is not None
    assert read_back({"sales": contract}, [None]) == ()
    with pytest.raises(FeatureStoreError, match="cannot be read"):
        read_back({"sales": contract}, [b"\xff"])


def test_nothing_is_filled_in_where_nothing_is_marked(tiny: TinyWorkspace) -> None:
    assert sources_of(tiny.load()) == ()
    assert sources_of(marked(tiny, "false").load()) == ()


def test_what_is_neither_true_nor_false_is_refused(tiny: TinyWorkspace) -> None:
    with pytest.raises(ContractError, match=r"contract\.yaml.*must be true or false"):
        marked(tiny, "often").load()


def test_a_persons_column_cannot_be_marked(tiny: TinyWorkspace) -> None:
    told = marked(tiny, "true").replace(
        "{minimum: 0}, classification: internal", "{minimum: 0}, classification: personal"
    )
    with pytest.raises(ContractError, match=r"contract\.yaml.*a personal column is not shown"):
        told.load()
