from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import uscc as reference

from credit301.identity.uscc import ALPHABET
from credit301.sources import uscc

codes = st.text(alphabet=ALPHABET, min_size=17, max_size=17)
digits = st.text(alphabet="0123456789", min_size=8, max_size=8)
tails = st.text(alphabet=ALPHABET, min_size=9, max_size=9)


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(uscc.macro())
    return connection


def is_valid(connection: duckdb.DuckDBPyConnection, code: str | None) -> bool | None:
    answer: bool | None = connection.execute("SELECT uscc_is_valid(?)", [code]).fetchall()[0][0]
    return answer


@given(head=digits, tail=tails, last=st.sampled_from(ALPHABET))
def test_sql_accepts_exactly_the_check_character_that_stdnum_computes(
    connection: duckdb.DuckDBPyConnection, head: str, tail: str, last: str
) -> None:
    code = head + tail
    assert is_valid(connection, code + last) is (last == reference.calc_check_digit(code))


@given(code=codes, last=st.sampled_from(ALPHABET))
def test_sql_agrees_with_stdnum_on_any_code_of_the_alphabet(
    connection: duckdb.DuckDBPyConnection, code: str, last: str
) -> None:
    assert is_valid(connection, code + last) is reference.is_valid(code + last)


@given(text=st.text(max_size=24))
def test_sql_accepts_no_text_that_stdnum_refuses(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    if "\x00" not in text and is_valid(connection, text):
        assert reference.is_valid(text)


def test_a_code_in_lower_case_or_with_separators_is_not_as_registers_write_it(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    assert is_valid(connection, "91110000600037341L") is True
    assert is_valid(connection, "91110000600037341l") is False
    assert is_valid(connection, "9111 0000 6000 37341L") is False


def test_no_code_is_neither_valid_nor_invalid(connection: duckdb.DuckDBPyConnection) -> None:
    assert is_valid(connection, None) is None
