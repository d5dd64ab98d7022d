"""What a strategist relies on: every rule tells what it read, nothing is decided on what is not known, errors name the cell."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit301.domain.text import Text
from credit301.domain.verdict import RuleResult
from credit301.strategy import jdm
from credit301.strategy.errors import StrategyError, ValueMissing
from credit301.strategy.graph import Graph
from credit301.strategy.told import rounded
from tests.unit.strategy.graphs import Json, Row, chain, expressions, graph, node, switch, table

ADMISSION = table(
    "admission",
    ["firm.status", "judicial.listings"],
    ["admit", "code"],
    [
        (["in ['revoked', 'suspended']", ""], ["false", "'not_in_operation'"]),
        (["", "> 0"], ["false", "'dishonest_debtor'"]),
        (["", ""], ["true", "'ok'"]),
    ],
)

WORDS = {
    code: Text(zh=code, en=code) for code in ("ok", "not_in_operation", "dishonest_debtor", "unknown", "many", "some")
}


def compiled(document: Json) -> Graph:
    return Graph(jdm.parse(document, "admission.json"), "admission.json", words=WORDS)


def test_every_rule_up_to_the_one_that_held_tells_what_it_read_and_said() -> None:
    answer = compiled(chain(ADMISSION)).ask({"firm": {"status": "active"}, "judicial": {"listings": 2}})
    assert answer.result == {"admit": False, "code": "dishonest_debtor"}
    assert answer.rules == [
        RuleResult("admission", "admission", "r0", {"firm.status": "active"}, False),
        RuleResult(
            "admission",
            "admission",
            "r1",
            {"judicial.listings": 2},
            True,
            {"admit": False, "code": "dishonest_debtor"},
            WORDS["dishonest_debtor"],
        ),
    ]


def test_what_is_not_known_never_passes_by_itself() -> None:
    with pytest.raises(ValueMissing) as raised:
        compiled(chain(ADMISSION)).ask({"firm": {"status": "active"}})
    assert (raised.value.node, raised.value.rule, raised.value.field) == ("admission", "r1", "judicial.listings")


def test_a_row_for_null_says_what_not_knowing_means() -> None:
    rows = [(["null"], ["'unknown'"]), (["> 0"], ["'bad'"]), ([""], ["'good'"])]
    said = compiled(chain(table("t", ["listings"], ["x"], rows)))
    assert [said.ask(context).result["x"] for context in ({}, {"listings": 1}, {"listings": 0})] == [
        "unknown",
        "bad",
        "good",
    ]


def test_a_cell_that_is_not_needed_may_be_unknown() -> None:
    rows = [(["'closed'", "> 0"], ["1"]), (["", ""], ["2"])]
    said = compiled(chain(table("t", ["status", "debts"], ["x"], rows)))
    assert said.ask({"status": "open"}).result == {"x": 2}


def test_a_fork_does_not_guess() -> None:
    document = graph([switch("s", "pd > 0.5", "")], [("in", "s"), ("s", "out", "s0"), ("s", "out", "s1")])
    with pytest.raises(ValueMissing, match=r"s, pd > 0\.5: pd is not known"):
        compiled(document).ask({})


def test_money_stays_exact() -> None:
    limit = expressions("limit", most="sales * 0.1", least="0.1 + 0.2")
    said = compiled(chain(limit)).ask({"sales": Decimal("1234567.89")}).result
    assert said == {"most": Decimal("123456.789"), "least": Decimal("0.3")}
    above = table("t", ["amount"], ["x"], [(["> 0.1"], ["1"]), ([""], ["2"])])
    assert compiled(chain(above)).ask({"amount": Decimal("0.1")}).result == {"x": 2}
    assert compiled(chain(above)).ask({"amount": Decimal("0.1000000000000000001")}).result == {"x": 1}


@pytest.mark.parametrize("cell", ["> 'a' >", "-", "[1..", "in [1", "> 0 and < 2"])
def test_a_cell_that_cannot_be_read_is_named(cell: str) -> None:
    document = chain(table("bands", ["pd"], ["x"], [(["> 1"], ["1"]), ([cell], ["2"])]))
    with pytest.raises(StrategyError, match=r"admission\.json: bands, row 2, column pd: "):
        compiled(document)


def test_an_output_that_cannot_be_read_is_named() -> None:
    with pytest.raises(StrategyError, match=r"bands, row 1, column x: 'sales \*'"):
        compiled(chain(table("bands", ["pd"], ["x"], [(["> 1"], ["sales *"])])))


def test_a_text_where_a_number_belongs_is_an_error_not_a_no() -> None:
    with pytest.raises(StrategyError, match=r"admission, r1: judicial\.listings is str"):
        compiled(chain(ADMISSION)).ask({"firm": {"status": "active"}, "judicial": {"listings": "two"}})


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (graph([], [("in", "nowhere")]), "leads to 'nowhere'"),
        (graph([expressions("a", x="1"), expressions("b", x="1")], [("a", "b"), ("b", "a")]), "circle"),
        ({"nodes": [], "edges": []}, "one output node"),
        (graph([node("f", "functionNode", source="x")], []), "functionNode"),
        (chain(table("t", ["a"], ["x"], [([""], ["1"])]) | {"name": ""}), "name"),
    ],
)
def test_a_graph_that_cannot_be_is_refused_when_it_is_loaded(document: Json, problem: str) -> None:
    with pytest.raises(StrategyError, match=problem):
        compiled(document)


def test_a_cell_of_no_column_is_not_lost_silently() -> None:
    wrong = table("t", ["a"], ["x"], [([""], ["1"])])
    wrong["content"]["rules"][0]["i7"] = "> 1"
    with pytest.raises(StrategyError, match="row 1: there is no column 'i7'"):
        compiled(chain(wrong))


def test_what_a_graph_reads_is_known_before_it_is_asked() -> None:
    limit = expressions("limit", most="min([tax.sales * 0.3, 'firm.x'])")
    document = graph(
        [ADMISSION, limit, switch("s", "pd > 0.1")],
        [("in", "s"), ("s", "admission", "s0"), ("admission", "limit"), ("limit", "out")],
    )
    made = compiled(document)
    assert [read.path for read in made.reads()] == ["pd", "firm.status", "judicial.listings", "tax.sales"]
    assert ("limit", "most", "most", "min([tax.sales * 0.3, 'firm.x'])") in list(made.makes())


def test_a_file_of_the_editor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "admission.json"
    path.write_text(json.dumps(chain(ADMISSION)), encoding="utf-8")
    assert compiled(jdm.read(path)).ask({"firm": {"status": "revoked"}, "judicial": {}}).result["admit"] is False
    path.write_text("{", encoding="utf-8")
    with pytest.raises(StrategyError, match="cannot be read"):
        jdm.read(path)


@pytest.mark.parametrize("wish", [{"inputField": "firm"}, {"executionMode": "loop"}])
def test_what_the_editor_can_wish_for_and_is_not_done_here_is_refused(wish: Json) -> None:
    wishing = {**ADMISSION, "content": {**ADMISSION["content"], **wish}}
    with pytest.raises(StrategyError, match=next(iter(wish))):
        compiled(chain(wishing))


def test_in_a_table_that_collects_a_row_above_says_what_not_knowing_means() -> None:
    rules: list[Row] = [(["null"], ["'unknown'"]), (["> 3"], ["'many'"]), (["> 0"], ["'some'"])]
    made = compiled(chain(table("t", ["n"], ["code"], rules, hit="collect")))
    assert made.ask({"n": None}).result == [{"code": "unknown"}]
    assert made.ask({"n": 5}).result == [{"code": "many"}, {"code": "some"}]
    silent = compiled(chain(table("t", ["n"], ["code"], rules[1:], hit="collect")))
    with pytest.raises(ValueMissing):
        silent.ask({"n": None})


def test_what_follows_no_fork_is_what_the_walk_says() -> None:
    """A straight line of nodes is asked without looking at edges; a node after the output forbids it."""
    rows: list[Row] = [(["<= 0.01"], ["'A'"]), (["<= 0.05"], ["'B'"])]
    nodes = [table("bands", ["pd"], ["band"], rows, passes=True), expressions("limit", passes=True, most="sales * 0.3")]
    edges: list[tuple[str, ...]] = [("in", "bands"), ("bands", "limit"), ("limit", "out")]
    context = {"pd": 0.03, "sales": 1000}
    straight = compiled(graph(nodes, edges))
    assert straight._line is not None
    assert straight.ask(context) == straight._walked(context)
    alone = compiled(graph([*nodes, expressions("alone", x="1")], edges))
    assert alone.ask(context) == straight.ask(context) == alone._walked(context)
    after = compiled(graph([*nodes, expressions("after", x="1")], [*edges, ("out", "after")]))
    assert after._line is None
    assert [rule.table for rule in after.ask(context).rules] == ["bands", "bands", "limit", "after"]


def test_what_is_fixed_is_what_is_read_until_something_else_is_said_there() -> None:
    fixed = {"parameters": {"rate": Decimal("0.5"), "on": True}}
    first = expressions("first", passes=True, a="parameters.rate * 2", b="parameters.on")
    over = table("over", ["a"], ["parameters.rate"], [([""], ["7"])], passes=True)
    alone = expressions("alone", a="1")
    last = expressions("last", rate="parameters.rate", twice="parameters.rate * 2")
    for between, rate in (([], Decimal("0.5")), ([over], Decimal(7)), ([alone], None)):
        document = jdm.parse(chain(first, *between, last), "policy.json")
        answer = Graph(document, "policy.json", fixed=fixed).ask(fixed)
        assert answer.result == {"rate": rate, "twice": None if rate is None else rate * 2}
        told = [rule for rule in answer.rules if rule.table == "last"]
        assert told[0].read == {"parameters.rate": None if rate is None else str(rate)}
        assert answer.rules[0].read == {"parameters.rate": "0.5"}


def test_what_has_parts_is_told_by_its_parts_and_laid_over_by_them() -> None:
    rows: list[Row] = [([""], ["{rate: n / 4, list: [n]}", "n > 0 and firm", "n * 2"])]
    made = compiled(chain(table("t", ["n"], ["offer", "whole", "firm.twice"], rows, passes=True)))
    answer = made.ask({"n": 3, "firm": {"name": "x"}, "offer": {"kept": 1}})
    assert answer.rules[0].said == {"offer.rate": "0.75", "whole.name": "x", "firm.twice": "6.0"}
    assert answer.result["offer"] == {"kept": 1, "rate": Decimal("0.75"), "list": [3]}
    assert answer.result["firm"] == {"name": "x", "twice": Decimal(6)}


def test_a_row_cannot_say_a_value_and_a_part_of_it() -> None:
    for part in ("x.y", "x.y.z"):
        with pytest.raises(StrategyError, match=rf"row 1, column {part}: the row says {part}"):
            compiled(chain(table("t", ["n"], ["x", part], [([""], ["1", "2"])])))


@given(number=st.one_of(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(0, 10**9, places=4)))
def test_what_was_calculated_is_told_and_goes_on_as_the_float_that_it_is_nearest_to(number: Decimal) -> None:
    nearest = Decimal(repr(float(number)))
    value, told = rounded(number)
    assert (value.as_tuple(), told) == (nearest.as_tuple(), f"{nearest:f}")
