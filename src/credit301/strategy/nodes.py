"""The nodes of a decision graph, written as Python: from what is given to what they say, and what they looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

from credit301.domain.text import Text
from credit301.domain.verdict import RuleResult, Stage
from credit301.strategy import jdm
from credit301.strategy.cells import Value, constant, write_value
from credit301.strategy.engine import fields_in
from credit301.strategy.errors import ValueMissing
from credit301.strategy.paths import CONTEXT, Scope, lookup, settled
from credit301.strategy.source import Source
from credit301.strategy.told import NESTED, scalar, scalars
from credit301.strategy.wording import worded

Context = Mapping[str, Any]
Tell = Callable[[RuleResult], None]
Step = Callable[[Context, Tell], Any]
"""From what a node is given to what it says, of a switch the ways that are open; each rule is told on the way."""
Tree = dict[str, Any]
"""The keys that a node says something at, nested, down to the name of each value in the source."""
CODE = "code"


class Setting(NamedTuple):
    """What holds for all nodes of a graph: its ``file`` for messages, its ``stage``, and the ``words`` of codes."""

    file: str
    stage: Stage
    words: Mapping[str, Text]

    @property
    def tells_all(self) -> bool:
        """Whether rules that did not hold are told, too: of a policy they are not."""
        return self.stage != "policy"


class NodeWriter:
    """What the nodes have in common: a function of the context and of where rules are told.

    Args:
        node: the node.
        setting: that of its graph.
        fixed: the parts of the context that are the same whenever it is asked.
        dollar: the name of what ``$`` stands for.
    """

    def __init__(self, node: jdm.Node, setting: Setting, fixed: Mapping[str, Any], dollar: str | None = None) -> None:
        self.setting, self.name = setting, node.name
        self.code = Source()
        self.scope = Scope(self.code, fixed, dollar)
        self._worded = partial(worded, setting.words)

    def compiled(self) -> Step:
        """The function that was written."""
        return self.code.function("step", f"{self.setting.file}: {self.name}")

    def tell(self, rule: str, read: str, held: str, said: str = "", code: str | None = None) -> None:
        """Tell of a rule; ``read``, ``held``, ``said`` and the ``code`` that it says are Python."""
        value = self.code.value
        parts = [value(self.setting.stage), value(self.name), value(rule), read, held]
        if said:
            parts.append(said)
        if code is not None:
            parts.append(f"{value(self._worded)}({code}) if {code} else None")
        self.code.line(f"tell({value(RuleResult)}({', '.join(parts)}))")

    def read(self, scope: Scope, paths: Iterable[str]) -> str:
        """A dictionary of what is at ``paths``, for a report, as Python."""
        values, read = {}, []
        for path in paths:
            steps = tuple(path.split("."))
            known = settled(scope.fixed, steps)
            if known is None:
                read.append(scope.read(steps))
            values[path] = read[-1] if known is None else self.code.value(scalar(known))
        return self.plain(self.literal(values), read)

    def plain(self, values: str, names: Iterable[str], flat: str = "") -> str:
        """A dictionary for a report, as Python, where ``values`` may be nested or no scalars.

        It is ``flat`` (the same as ``values`` by default) if none of these ``names`` is.
        """
        odd = " or ".join(f"type({name}) in {self.code.value(NESTED)}" for name in dict.fromkeys(names))
        return f"({self.code.value(scalars)}({values}) if {odd} else {flat or values})" if odd else flat or values

    def literal(self, tree: Mapping[str, Any]) -> str:
        """A nested dictionary, as Python."""
        items = (
            f"{self.code.value(key)}: {self.literal(item) if isinstance(item, dict) else item}"
            for key, item in tree.items()
        )
        return f"{{{', '.join(items)}}}"

    def lay_over(self, said: str, plainly: str | None, values: Iterable[Value]) -> None:
        """Return what the node was given with ``said`` laid over it, ``plainly`` where none of ``values`` is nested."""
        within = " or ".join(f"type({value.name}) is dict" for value in values if not value.scalar)
        if within or plainly is None:
            with self.code.block(f"if {within}") if plainly else nullcontext():
                self.code.line(f"return {self.code.value(overlaid)}(context, {said})")
        if plainly:
            self.code.line(f"return {plainly}")

    def over(self, under: str, said: Tree) -> str:
        """``said`` laid over the dictionary ``under``, and so on inside what both have, as Python.

        No value in ``said`` may be a dictionary itself.
        """
        items = [f"**{under}"]
        for key, item in said.items():
            name = self.code.value(key)
            if not isinstance(item, dict):
                items.append(f"{name}: {item}")
                continue
            inside, there = self.code.fresh(), f"{under}.get({name})"
            self.code.line(
                f"{inside} = {there if under == CONTEXT else f'{there} if isinstance({under}, dict) else None'}"
            )
            merged = f"{self.over(inside, item)} if isinstance({inside}, dict) else {self.literal(item)}"
            items.append(f"{name}: ({merged})")
        return f"{{{', '.join(items)}}}"


def overlaid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``under``, and so on inside what both have."""
    both = {
        key: overlaid(under[key], value)
        for key, value in over.items()
        if isinstance(value, dict) and isinstance(under.get(key), dict)
    }
    return {**under, **over, **both}


def put(result: dict[str, Any], path: Iterable[str], value: Any) -> None:
    """Put ``value`` at ``path``, making the dictionaries on the way."""
    *before, last = path
    for step in before:
        result = result.setdefault(step, {})
    result[last] = value


def below(path: str | None, tree: Any) -> Any:
    """``tree`` at ``path`` of another one."""
    for step in reversed(path.split(".") if path else ()):
        tree = {step: tree}
    return tree


def expressions(node: jdm.ExpressionNode, setting: Setting, fixed: Mapping[str, Any]) -> Step:
    """Named expressions; one that needs a value that is not known says ``None``.

    Raises:
        StrategyError: one is none.
    """
    writer = NodeWriter(node, setting, fixed, dollar="result")
    code, scope, content = writer.code, writer.scope, node.content
    values = []
    with code.block("def step(context, tell)"):
        code.line("result = {}")
        for item in content.expressions:
            value = write_value(scope, item.value, f"{setting.file}: {node.name}, {item.key}")
            steps = item.key.split(".")
            values.append(value)
            if len(steps) == 1:
                code.line(f"result[{code.value(item.key)}] = {value.name}")
            else:
                code.line(f"{code.value(put)}(result, {code.value(tuple(steps))}, {value.name})")
            scope.forget_dollar()
            writer.tell(
                item.key,
                writer.read(scope, dict.fromkeys(fields_in(item.value))),
                "True",
                writer.plain(writer.literal({item.key: value.told}), [] if value.scalar else [value.told]),
                value.name if item.key == CODE else None,
            )
        placed = below(content.output_path, "result")
        said = placed if isinstance(placed, str) else writer.literal(placed)
        if content.pass_through:
            is_flat = not content.output_path and not any("." in item.key for item in content.expressions)
            writer.lay_over(said, "{**context, **result}" if is_flat else None, values)
        else:
            code.line(f"return {said}")
    return writer.compiled()


def switch(node: jdm.SwitchNode, setting: Setting, fixed: Mapping[str, Any]) -> Step:
    """A fork: what comes in goes out by the ways whose condition holds.

    Raises:
        StrategyError: a condition is none.
    """
    writer = NodeWriter(node, setting, fixed)
    code, scope = writer.code, writer.scope
    with code.block("def step(context, tell)"):
        code.line("ways = []")
        for way in node.content.statements:
            text = way.condition
            value = constant(scope, True)
            if text.strip():
                value = write_value(scope, text, f"{setting.file}: {node.name}, {text!r}")
            with code.block(f"if {value.name} is None"):
                code.line(f"raise {code.value(partial(_undecided, node.name, text))}(context)")
            read = writer.read(scope, dict.fromkeys(fields_in(text)))
            if setting.tells_all:
                writer.tell(text, read, f"bool({value.name})")
            with code.block(f"if {value.name}"):
                if not setting.tells_all:
                    writer.tell(text, read, "True")
                code.line(f"ways.append({code.value(way.id)})")
                if node.content.hit_policy == "first":
                    code.line("return ways")
        code.line("return ways")
    return writer.compiled()


def _undecided(node: str, condition: str, context: Context) -> ValueMissing:
    absent = (path for path in fields_in(condition) if lookup(context, path.split(".")) is None)
    return ValueMissing(node, condition, next(absent, condition))
