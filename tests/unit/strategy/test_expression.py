"""What is compiled here says what zen says, or leaves it to zen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import zen
from hypothesis import given, settings
from hypothesis import strategies as st

from credit301.strategy.engine import Expression
from credit301.strategy.errors import StrategyError
from credit301.strategy.expression import LONGEST
from tests.unit.strategy.graphs import cell_says, expression_says

CONTEXT: dict[str, Any] = {"a": 3, "b": {"c": 0.25, "d": 1_200_000.5}, "t": "x", "yes": True, "no": False, "gone": None}
numbers = st.sampled_from(["0", "2", "0.0005", "17.25", "a", "b.c", "b.d", "(a - 1)"])


@contextmanager
def without_zen() -> Iterator[None]:
    with patch.object(Expression, "_asked", side_effect=AssertionError("zen is asked")):
        yield


def combined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(parts, st.sampled_from(["+", "-", "*"]), parts).map(" ".join),
        st.tuples(parts, st.sampled_from(["/ 4", "/ a", "/ b.c"])).map(" ".join),
        parts.map(lambda text: f"-({text})"),
        st.tuples(st.sampled_from(["ceil", "floor", "abs"]), parts).map(lambda pair: f"{pair[0]}({pair[1]})"),
        st.tuples(st.sampled_from(["min", "max", "sum"]), st.lists(parts, min_size=1, max_size=3)).map(
            lambda pair: f"{pair[0]}([{', '.join(pair[1])}])"
        ),
        st.tuples(parts, st.sampled_from([">", ">=", "<", "<=", "==", "!="]), parts, parts, parts).map(
            lambda items: f"({items[0]} {items[1]} {items[2]} ? {items[3]} : {items[4]})"
        ),
    )


def short(text: str) -> bool:
    """Whether it is not left to zen for its length, also with what a test adds."""
    return len(re.findall(r"[\w.$']+|\S", text)) <= LONGEST - 4


calculations = st.recursive(numbers, combined, max_leaves=8).filter(short)
conditions = st.recursive(
    st.one_of(
        st.tuples(calculations, st.sampled_from([">", ">=", "<", "<=", "==", "!="]), calculations).map(" ".join),
        st.sampled_from(["yes", "no", "t == 'x'", 't != "y"', "gone == null", "gone != null", "a == null"]),
    ),
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from(["and", "or"]), parts).map(lambda items: f"({' '.join(items)})"),
        parts.map(lambda text: f"not ({text})"),
    ),
    max_leaves=4,
).filter(short)


@settings(max_examples=400)
@given(text=calculations)
def test_a_calculation_is_that_of_zen(text: str) -> None:
    with without_zen():
        said = expression_says(text, CONTEXT)
    assert float(said) == pytest.approx(float(zen.evaluate_expression(text, CONTEXT)), rel=1e-14, abs=1e-14)


@settings(max_examples=200)
@given(text=conditions)
def test_a_condition_is_that_of_zen(text: str) -> None:
    # An expression that speaks of null is not left out for want of a value.
    aware = f"{text} and gone == null"
    with without_zen():
        said = expression_says(aware, CONTEXT)
    assert said == zen.evaluate_expression(aware, CONTEXT)


@pytest.mark.parametrize("value", [None, 0, 3, 7, 7.5])
@pytest.mark.parametrize(
    "text", ["$ != null and $ > 5", "$ == null or $ > 5", "$ != null and $ != 'x'", "not ($ == 3)"]
)
def test_a_test_of_a_cell_is_that_of_zen(text: str, value: Any) -> None:
    said = cell_says(text, value)
    assert said is None or said == zen.evaluate_unary_expression(text, {"$": value})
    assert said is not None or value is None


def test_a_text_compared_with_a_number_is_an_error_as_it_is_in_zen() -> None:
    with pytest.raises(StrategyError, match="cannot be evaluated"):
        cell_says("$ != null and $ > 5", "x")


@pytest.mark.parametrize("text", ["t + '-1'", "len([1, 2])", "a % 2", "gone ?? 4", "map([1, 2], # + a)", "min(some)"])
def test_what_is_not_compiled_here_is_said_by_zen(text: str) -> None:
    context = {**CONTEXT, "some": [4.5, 3]}
    said, wanted = expression_says(text, context), zen.evaluate_expression(text, context)
    assert (list(map(float, said)) if isinstance(said, list) else said) == (
        wanted if isinstance(wanted, str | list) else pytest.approx(wanted)
    )


@pytest.mark.parametrize(
    "text", ["abs(yes)", "ceil(no)", "floor(yes) + 1", "max([yes, 1])", "-yes", "yes + 1", "t > 1"]
)
def test_what_is_no_number_for_zen_is_none_here(text: str) -> None:
    with pytest.raises(StrategyError, match="cannot be evaluated"):
        expression_says(text, CONTEXT)


def test_an_unknown_value_makes_the_result_unknown_unless_it_is_spoken_of() -> None:
    assert expression_says("a + gone", CONTEXT) is None
    assert expression_says("gone == null ? a : gone", CONTEXT) == 3


@pytest.mark.parametrize("times", [LONGEST // 4, LONGEST // 2, LONGEST, 4 * LONGEST])
def test_a_long_expression_is_evaluated_all_the_same(times: int) -> None:
    assert expression_says(" + ".join(["a"] * times), CONTEXT) == 3 * times
    assert expression_says("a == 2 ? a : " * (times // 4) + "7", CONTEXT) == 7


@pytest.mark.parametrize("times", [LONGEST // 6, LONGEST // 2 - 1, LONGEST])
@pytest.mark.parametrize(("before", "after"), [("(", ")"), ("abs(", ")"), ("(no ? 0 : ", ")"), ("max([a, ", "])")])
def test_a_deep_expression_is_evaluated_all_the_same(times: int, before: str, after: str) -> None:
    assert expression_says(before * times + "a" + after * times, CONTEXT) == 3


@pytest.mark.parametrize(
    "word", ["__import__('os').abort()", "exit()", "a.__class__", "import os", "a; b", "lambda: 1"]
)
def test_nothing_that_is_written_in_a_cell_is_read_as_python(word: str) -> None:
    try:
        said = expression_says(word, CONTEXT)
    except StrategyError:
        said = None
    assert said is None
    text = f"'{word}'" if "'" not in word else f'"{word}"'
    assert expression_says(text, CONTEXT) == word
    assert expression_says(f"t == 'x' ? {text} : 'y'", CONTEXT) == word
