"""What is compiled here says what zen says, or leaves it to zen."""

from __future__ import annotations

from typing import Any

import pytest
import zen
from hypothesis import given, settings
from hypothesis import strategies as st

from credit301.strategy import cells, expression
from credit301.strategy.errors import StrategyError

CONTEXT: dict[str, Any] = {"a": 3, "b": {"c": 0.25, "d": 1_200_000.5}, "t": "x", "yes": True, "no": False, "gone": None}
numbers = st.sampled_from(["0", "2", "0.0005", "17.25", "a", "b.c", "b.d", "(a - 1)"])


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


calculations = st.recursive(numbers, combined, max_leaves=8)
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
)


@settings(max_examples=400)
@given(text=calculations)
def test_a_calculation_is_that_of_zen(text: str) -> None:
    assert expression.compiled(text) is not None
    assert float(cells.value_of(text, "cell")(CONTEXT)) == pytest.approx(
        float(zen.evaluate_expression(text, CONTEXT)), rel=1e-14, abs=1e-14
    )


@settings(max_examples=200)
@given(text=conditions)
def test_a_condition_is_that_of_zen(text: str) -> None:
    compiled = expression.compiled(text)
    assert compiled is not None
    assert compiled(CONTEXT) == zen.evaluate_expression(text, CONTEXT)


@pytest.mark.parametrize("value", [None, 0, 3, 7, 7.5])
@pytest.mark.parametrize(
    "text", ["$ != null and $ > 5", "$ == null or $ > 5", "$ != null and $ != 'x'", "not ($ == 3)"]
)
def test_a_test_of_a_cell_is_that_of_zen(text: str, value: Any) -> None:
    said = cells.test_of(text, "cell")(value, {})
    assert said is None or said == zen.evaluate_unary_expression(text, {"$": value})
    assert said is not None or value is None


def test_a_text_compared_with_a_number_is_an_error_as_it_is_in_zen() -> None:
    with pytest.raises(StrategyError, match="cannot be evaluated"):
        cells.test_of("$ != null and $ > 5", "cell")("x", {})


@pytest.mark.parametrize("text", ["t + '-1'", "len([1, 2])", "a % 2", "gone ?? 4", "map([1, 2], # + a)", "min(some)"])
def test_what_is_not_compiled_here_is_said_by_zen(text: str) -> None:
    context = {**CONTEXT, "some": [4.5, 3]}
    said, wanted = cells.value_of(text, "cell")(context), zen.evaluate_expression(text, context)
    assert (list(map(float, said)) if isinstance(said, list) else said) == (
        wanted if isinstance(wanted, str | list) else pytest.approx(wanted)
    )


def test_an_unknown_value_makes_the_result_unknown_unless_it_is_spoken_of() -> None:
    assert cells.value_of("a + gone", "cell")(CONTEXT) is None
    assert cells.value_of("gone == null ? a : gone", "cell")(CONTEXT) == 3
