"""Whatever zen says of a graph is said here, too, except where it decides on a value that is not there."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import zen
from hypothesis import given, settings
from hypothesis import strategies as st

from credit301.strategy import jdm
from credit301.strategy.errors import StrategyError, ValueMissing
from credit301.strategy.graph import Graph
from credit301.strategy.paths import lookup
from tests.unit.strategy.graphs import Json, Row, chain, expressions, graph, switch, table

ENGINE = zen.ZenEngine()
FIELDS = ("pd", "sales", "firm.status", "firm.listed")

numbers = st.one_of(st.integers(-5, 5), st.decimals(-2, 2, places=2).map(float))
texts = st.sampled_from(["a", "b", "c", ""])
values = st.one_of(st.none(), numbers, texts, st.booleans())
literals = st.one_of(numbers.map(repr), texts.map(lambda text: f"'{text}'"), st.sampled_from(["true", "false"]))
intervals = st.tuples(st.sampled_from("[("), numbers, numbers, st.sampled_from("])")).map(
    lambda parts: f"{parts[0]}{min(parts[1:3])!r}..{max(parts[1:3])!r}{parts[3]}"
)
lists = st.lists(literals, min_size=1, max_size=3)
cells = st.one_of(
    st.sampled_from(["", "null", "== null", "!= null"]),
    st.tuples(st.sampled_from([">", ">=", "<", "<="]), numbers).map(lambda pair: f"{pair[0]} {pair[1]!r}"),
    st.tuples(st.sampled_from(["==", "!=", "== ", "!= "]), literals).map("".join),
    intervals,
    lists.map(", ".join),
    lists.map(lambda items: f"in [{', '.join(items)}]"),
    lists.map(lambda items: f"not in [{', '.join(items)}]"),
    st.sampled_from(["$ > 0 and $ < 2", "$ == sales", "contains(['a', 'b'], $)", "$ == null or $ > -1"]),
)
outputs = st.sampled_from(["1", "'x'", "true", "null", "", "sales", "firm.status", "pd ?? 7", "-0.25"])
rows: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(st.lists(cells, min_size=4, max_size=4), st.lists(outputs, min_size=2, max_size=2)),
    min_size=1,
    max_size=4,
)


@st.composite
def contexts(draw: st.DrawFn) -> Json:
    context: Json = {"firm": {}}
    for field in FIELDS:
        value = draw(st.one_of(st.just(...), values))
        if value is not ...:
            *into, last = field.split(".")
            (context["firm"] if into else context)[last] = value
    return context


def peer(document: Json, context: Json) -> Any:
    return ENGINE.create_decision(json.dumps(document)).evaluate(context)["result"]


def ours(document: Json, context: Json) -> Any:
    return plain(Graph(jdm.parse(document, "test.json"), "test.json").ask(context).result)


def plain(value: Any) -> Any:
    """Values by what they are worth: 1, 1.0 and Decimal("1.00") are one; zen leaves some fields that are null out."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


@settings(max_examples=300)
@given(
    rows=rows,
    context=contexts(),
    hit=st.sampled_from(["first", "collect"]),
    passes=st.booleans(),
    under=st.sampled_from([None, "", "hits", "firm.said"]),
)
def test_a_table_says_what_zen_says(rows: list[Row], context: Json, hit: str, passes: bool, under: str | None) -> None:
    passes = passes and (hit == "first" or bool(under))
    document = chain(table("t", list(FIELDS), ["x", "y.z"], rows, hit=hit, passes=passes, under=under))
    try:
        said = ours(document, context)
    except ValueMissing as missing:
        said, absent = None, lookup(context, missing.field.split("."))
    except StrategyError:
        # A text compared with a number: zen takes it for a "no", here the strategy is told to be wrong.
        return
    else:
        absent = None
    assert absent is None
    assert said is None or said == plain(peer(document, context))


CONTEXT = {"pd": 0.03, "sales": 1_200_000, "firm": {"status": "a", "age": 5}, "debts": [1, 2, 3]}
LIMIT = expressions(
    "limit", passes=True, most="sales * 0.3 - sum(debts)", cut="min([$.most, 50000])", big="$.most > 10"
)
BANDS = table("bands", ["pd"], ["band", "share"], [(["<= 0.01"], ["'A'", "0.3"]), (["<= 0.05"], ["'B'", "0.2"])])
GRAPHS = {
    "expressions build on one another": chain(LIMIT),
    "a table after expressions": chain(
        LIMIT, table("t", ["cut"], ["ok"], [(["> 40000"], ["true"]), ([""], ["false"])])
    ),
    "expressions put elsewhere": chain(
        expressions("e", under="firm.limit", passes=True, most="sales * 0.3", cut="min([$.most, 50000])"),
        expressions("f", said="firm.limit.cut + firm.age"),
    ),
    "no row holds": chain(table("t", ["pd"], ["x"], [(["> 1"], ["1"])])),
    "two tables, one result": graph(
        [BANDS, table("u", ["sales"], ["size", "band"], [(["> 1000000"], ["'small'", "'Z'"])])],
        [("in", "bands"), ("in", "u"), ("bands", "out"), ("u", "out")],
    ),
    "a fork": graph(
        [switch("s", "pd > 0.5", "sales > 10"), BANDS, LIMIT],
        [("in", "s"), ("s", "bands", "s0"), ("s", "limit", "s1"), ("bands", "out"), ("limit", "out")],
    ),
    "a fork with an else": graph(
        [switch("s", "pd > 0.5", ""), BANDS, LIMIT],
        [("in", "s"), ("s", "bands", "s0"), ("s", "limit", "s1"), ("bands", "out"), ("limit", "out")],
    ),
    "a fork into several": graph(
        [switch("s", "pd > 0.01", "sales > 10", hit="collect"), BANDS, LIMIT],
        [("in", "s"), ("s", "bands", "s0"), ("s", "limit", "s1"), ("bands", "out"), ("limit", "out")],
    ),
    "text, dates, conditions": chain(
        expressions("e", a="firm.status + '-1'", b="pd > 0.01 ? 'high' : 'low'", c="len(debts)", d="firm.age + 1")
    ),
}


@pytest.mark.parametrize("document", GRAPHS.values(), ids=GRAPHS)
def test_a_graph_says_what_zen_says(document: Json) -> None:
    assert ours(document, CONTEXT) == plain(peer(document, CONTEXT))


@pytest.mark.parametrize("document", GRAPHS.values(), ids=GRAPHS)
def test_what_never_changes_says_the_same(document: Json) -> None:
    """Numbers that are known when a graph is loaded are written into it."""
    known = decimals(CONTEXT)
    said = Graph(jdm.parse(document, "test.json"), "test.json", fixed=known).ask(known).result
    assert plain(said) == plain(peer(document, CONTEXT))


def decimals(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: decimals(item) for key, item in value.items()}
    return Decimal(str(value)) if isinstance(value, int | float) else value
