"""Errors go from one process to another as they are."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from credit301.domain.text import Refusal, Text
from credit301.errors import Credit301Error, ModelError
from credit301.governance.consent.coverage import ConsentMissing, Denied

ERRORS = [
    ModelError("It does not fit.", hint="Train again."),
    Refusal(
        "amount_out_of_range",
        Text(zh="金额过大。", en="Too much."),
        field="amount",
        hint=Text(zh="少一些。", en="Ask for less."),
    ),
    ConsentMissing({"tax_declaration": Denied.EXPIRED}, {}),
]


def fail(number: int) -> None:
    """What a process does that answers for another one."""
    raise ERRORS[number]


@pytest.mark.parametrize("number", range(len(ERRORS)), ids=[type(error).__name__ for error in ERRORS])
def test_an_error_of_another_process_says_what_it_said_there(number: int) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool, pytest.raises(Credit301Error) as caught:
        pool.submit(fail, number).result()
    assert type(caught.value) is type(ERRORS[number])
    assert (str(caught.value), vars(caught.value)) == (str(ERRORS[number]), vars(ERRORS[number]))
