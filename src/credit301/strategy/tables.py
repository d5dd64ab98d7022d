"""Decision tables, written as Python: rows from top to bottom, cells from left to right, as far as is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

from credit301.strategy import jdm
from credit301.strategy.cells import Place, Value, write_test, write_value
from credit301.strategy.engine import fields_in
from credit301.strategy.errors import StrategyError, ValueMissing
from credit301.strategy.nodes import CODE, Context, NodeWriter, Setting, Step, Tree, below, put
from credit301.strategy.paths import CONTEXT, Scope, lookup


class _Cell(NamedTuple):
    """An input cell that asks for something: the ``text`` of the column at ``place``, which is ``field``."""

    place: int
    field: str
    text: str
    where: Place


class _Row(NamedTuple):
    """A row: its id, what it asks, and the cells that say something, each with its field and where it stands."""

    name: str
    asks: tuple[_Cell, ...]
    says: tuple[tuple[str, str, str], ...]


def table(node: jdm.TableNode, setting: Setting, fixed: Mapping[str, Any]) -> Step:
    """A decision table.

    Raises:
        StrategyError: a cell is no expression, or belongs to no column.
    """
    return _Table(node, setting, fixed).compiled()


class _Table(NodeWriter):
    def __init__(self, node: jdm.TableNode, setting: Setting, fixed: Mapping[str, Any]) -> None:
        super().__init__(node, setting, fixed)
        self._content = node.content
        self._first = node.content.hit_policy == "first"
        rows = [self._row(number, row) for number, row in enumerate(node.content.rules, 1)]
        # A row that holds on a null says what not knowing means to the rows below that ask for the same.
        asked = Counter(cell.place for row in rows for cell in row.asks)
        self._shared = frozenset(() if self._first else (place for place, times in asked.items() if times > 1))
        with self.code.block("def step(context, tell)"):
            if not self._first:
                self.code.line("hits = []")
            for place in sorted(self._shared):
                self.code.line(f"{_answered(place)} = False")
            for column in self._content.inputs:
                self.scope.read(tuple(column.field.split(".")))
            for row in rows:
                self._write(row)
            none: Tree | str = "None" if self._content.output_path else {}
            self._place(none if self._first else "hits")

    def _row(self, number: int, row: Mapping[str, str]) -> _Row:
        """A row prepared; an empty cell asks for nothing, and so reads nothing."""
        content, file = self._content, self.setting.file
        known = {column.id for column in (*content.inputs, *content.outputs)}
        if unknown := sorted(key for key in row if key not in known and not key.startswith("_")):
            raise StrategyError(f"{file}: {self.name}, row {number}: there is no column {unknown[0]!r}.")
        name = row.get("_id") or str(number)

        def place(column: jdm.Column) -> Place:
            return Place(file, self.name, name, number, column.field, column.name or column.field)

        asks = (
            _Cell(index, column.field, row[column.id], place(column))
            for index, column in enumerate(content.inputs)
            if row.get(column.id, "").strip()
        )
        says = (
            (column.field, row[column.id], str(place(column)))
            for column in content.outputs
            if row.get(column.id, "").strip()
        )
        return _Row(name, tuple(asks), tuple(says))

    def _write(self, row: _Row) -> None:
        fields = [cell.field for cell in row.asks]
        if not row.asks:
            self._held(row, fields, self.scope.inner())
            return
        # A single cell is read in any case; of several, those that were come to.
        grows = self.setting.tells_all and len(fields) > 1
        may_lack = False
        for number, cell in enumerate(row.asks):
            with self.code.block("if held") if number else nullcontext():
                if grows:
                    name, value = self.code.value(cell.field), self._operand(cell)
                    self.code.line(f"read[{name}] = {value}" if number else f"read = {{{name}: {value}}}")
                may_lack = self._ask(row, cell, may_lack=may_lack)
        with self.code.block("if held"):
            if may_lack:
                with self.code.block("if missing is not None"):
                    self.code.line("raise missing(context)")
            self._held(row, fields, self.scope.inner())
        if self.setting.tells_all:
            with self.code.block("else"):
                operands = [self._operand(cell) for cell in row.asks]
                self.tell(row.name, self.plain("read", operands) if grows else self.read(self.scope, fields), "False")

    def _ask(self, row: _Row, cell: _Cell, *, may_lack: bool) -> bool:
        """Write one test; gives whether a value may lack by now, as it ``may_lack`` before."""
        code = self.code
        test = write_test(self.scope.inner(), cell.text, self._operand(cell), cell.where)
        code.line(f"held = {test.text}")
        if not test.open:
            return may_lack
        if not may_lack:
            code.line("missing = None")
        with code.block("if held is None"):
            # Another cell may still say no, so that the row needs nothing of what is not known.
            code.line(f"held = not {_answered(cell.place)}" if cell.place in self._shared else "held = True")
            code.line(f"missing = missing or {code.value(partial(_missing, self.name, row.name, cell))}")
        return True

    def _held(self, row: _Row, fields: list[str], scope: Scope) -> None:
        """Write what a row says."""
        said: Tree = {}
        values = []
        for field, cell, where in row.says:
            value = write_value(scope, cell, where)
            values.append(value)
            try:
                put(said, field.split("."), value)
            except (AttributeError, TypeError) as error:
                raise StrategyError(f"{where}: the row says {field}, and what that is a part of.") from error
        names = _mapped(said, lambda value: value.name)
        open_names = [value.told for value in values if not value.scalar]
        told = self.plain(self.literal(_mapped(said, lambda value: value.told)), open_names, self.literal(_flat(said)))
        code = said.get(CODE)
        self.tell(row.name, self.read(scope, fields), "True", told, code.name if isinstance(code, Value) else None)
        if self._first:
            self._place(names, values)
            return
        self.code.line(f"hits.append({self.literal(names)})")
        for ask in row.asks:
            if ask.place in self._shared:
                self.code.line(f"{_answered(ask.place)} = {_answered(ask.place)} or {self._operand(ask)} is None")

    def _operand(self, cell: _Cell) -> str:
        return self.scope.read(tuple(cell.field.split(".")))

    def _place(self, said: Tree | str, values: Iterable[Value] = ()) -> None:
        """Return what the node says, made of ``values``, with what it was given where it passes that on."""
        placed = below(self._content.output_path, said)
        # A list cannot be laid over anything.
        if not self._content.pass_through or isinstance(placed, str):
            self.code.line(f"return {placed if isinstance(placed, str) else self.literal(placed)}")
        else:
            self.lay_over(self.literal(placed), self.over(CONTEXT, placed), values)


def _answered(place: int) -> str:
    return f"answered{place}"


def _mapped(said: Tree, name: Callable[[Value], str]) -> Tree:
    return {key: _mapped(item, name) if isinstance(item, dict) else name(item) for key, item in said.items()}


def _flat(said: Tree, before: str = "") -> dict[str, str]:
    """Scalars by path."""
    found: dict[str, str] = {}
    for key, item in said.items():
        found |= _flat(item, f"{before}{key}.") if isinstance(item, dict) else {f"{before}{key}": item.told}
    return found


def _missing(table: str, row: str, cell: _Cell, context: Context) -> ValueMissing:
    """Which value a cell could not do without: its column's, or one that it names."""
    wanted = [cell.field, *fields_in(cell.text)]
    absent = (path for path in wanted if lookup(context, path.split(".")) is None)
    return ValueMissing(table, row, next(absent, cell.field))
