"""Trees of expressions, written as Python over exact decimals; differential tests hold them to zen.

What is written raises one of :data:`CANNOT_TELL` where values are of another kind than is expected here: then zen must
be asked. A name of a number holds ``None`` where there is none, at which Python's operators raise by themselves.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from decimal import Decimal
from functools import partial, reduce
from typing import Any, Literal

from credit301.domain.money import exact
from credit301.strategy.expression import (
    Arithmetic,
    Call,
    Condition,
    Constant,
    Equal,
    Items,
    Joined,
    Named,
    Negative,
    Not,
    Ordered,
    Tree,
)
from credit301.strategy.paths import Scope, number

CANNOT_TELL = (TypeError, ArithmeticError)
Kind = Literal["number", "truth", "other"]
_NATIVE = frozenset({float, int})


def kind(tree: Tree) -> Kind:
    """What ``tree`` says wherever it says something; ``other`` where that depends on values."""
    match tree:
        case Arithmetic() | Negative() | Call():
            return "number"
        case Ordered() | Equal() | Not() | Joined():
            return "truth"
        case Constant(value=bool()):
            return "truth"
        case Constant(value=Decimal()):
            return "number"
        case Condition(yes=yes, no=no):
            one = kind(yes)
            return one if one == kind(no) else "other"
    return "other"


def anything(tree: Tree, scope: Scope) -> str:
    """``tree`` as an expression of Python: a decimal, truth value, text, list or ``None``."""
    of_kind = kind(tree)
    match tree:
        case Constant(value=value):
            return scope.code.value(value)
        case Named(path=path):
            return f"{scope.code.value(_plain_number)}({scope.read(path)})"
        case Items(items=items):
            return f"[{', '.join(anything(item, scope) for item in items)}]"
        case Condition() if of_kind == "other":
            return _condition(tree, scope, anything)
    return _number(tree, scope) if of_kind == "number" else truth(tree, scope)


def truth(tree: Tree, scope: Scope) -> str:
    """``tree`` as an expression of Python that is true or false, or raises."""
    match tree:
        case Ordered():
            text = _ordered(tree, scope)
        case Equal():
            text = _equal(tree, scope)
        case Not(inner=inner):
            text = f"(not {truth(inner, scope)})"
        case Joined(word=word, left=left, right=right):
            text = f"({truth(left, scope)} {word} {truth(right, scope)})"
        case Condition():
            text = _condition(tree, scope, truth)
        case Constant(value=bool(value)):
            text = str(value)
        case _:
            text = f"{scope.code.value(_checked_truth)}({anything(tree, scope)})"
    return text


def _number(tree: Tree, scope: Scope) -> str:
    """``tree`` as an expression of Python that is a decimal, or ``None``, or raises."""
    match tree:
        case Constant(value=Decimal() as value):
            text = scope.code.value(value)
        case Named(path=path):
            text = scope.number(path)
        case Arithmetic(sign=sign, left=left, right=right):
            text = f"({_number(left, scope)} {sign} {_number(right, scope)})"
        case Negative(inner=inner):
            text = f"(-{_number(inner, scope)})"
        case Call():
            text = _call(tree, scope)
        case Condition():
            text = _condition(tree, scope, _number)
        case _:
            text = f"{scope.code.value(_checked_number)}({anything(tree, scope)})"
    return text


def _condition(tree: Condition, scope: Scope, write: Callable[[Tree, Scope], str]) -> str:
    return f"({write(tree.yes, scope)} if {truth(tree.test, scope)} else {write(tree.no, scope)})"


def _call(call: Call, scope: Scope) -> str:
    value = scope.code.value
    match call.function, call.argument:
        case "ceil" | "floor", argument:
            rounding = math.ceil if call.function == "ceil" else math.floor
            return f"{value(Decimal)}({value(rounding)}({_number(argument, scope)}))"
        case "abs", argument:
            return f"{value(abs)}({_number(argument, scope)})"
        case "sum", Items(items=items):
            return f"({' + '.join([value(_ZERO), *(_number(item, scope) for item in items)])})"
        case "min" | "max", Items(items=items) if len(items) > 1:
            sign = "<" if call.function == "min" else ">"
            return reduce(partial(_extreme, scope, sign), [_number(item, scope) for item in items])
    return f"{value(_OF_LISTS[call.function])}({anything(call.argument, scope)})"


def _extreme(scope: Scope, sign: str, one: str, other: str) -> str:
    """The lower or higher of two numbers, the first of them where they are equal."""
    first, second = scope.code.fresh(), scope.code.fresh()
    return f"({second} if ({second} := {other}) {sign} ({first} := {one}) else {first})"


def _ordered(tree: Ordered, scope: Scope) -> str:
    value, sign = scope.code.value, tree.sign
    asked = value(_ORDERED[sign])
    match tree.left, tree.right:
        case Named(path=path), Constant(value=Decimal() as constant) if constant == exact(float(constant)):
            # A float is above or below the constant as the decimal that it stands for is. NaN is for zen to refuse.
            name, bound = scope.read(path), value(_shortest(constant))
            native = f"type({name}) in {value(_NATIVE)} and {name} == {name}"
            return f"({name} {sign} {bound} if {native} else {asked}({name}, {value(constant)}))"
        case left, right if kind(left) == kind(right) == "number":
            return f"({_number(left, scope)} {sign} {_number(right, scope)})"
    return f"{asked}({anything(tree.left, scope)}, {anything(tree.right, scope)})"


def _equal(tree: Equal, scope: Scope) -> str:
    match tree.left, tree.right:
        case (Named(path=path), Constant(value=None)) | (Constant(value=None), Named(path=path)):
            return f"({scope.read(path)} {'is' if tree.wanted else 'is not'} None)"
        case (Named(path=path), Constant(value=str(text))) | (Constant(value=str(text)), Named(path=path)):
            return f"({scope.read(path)} {'==' if tree.wanted else '!='} {scope.code.value(text)})"
    same = f"{scope.code.value(_same)}({anything(tree.left, scope)}, {anything(tree.right, scope)})"
    return same if tree.wanted else f"(not {same})"


def _shortest(constant: Decimal) -> int | float:
    return int(constant) if constant == constant.to_integral_value() else float(constant)


def _plain_number(value: Any) -> Any:
    """Numbers as decimals, everything else as it is."""
    converted = number(value)
    return value if converted is None else converted


def _checked_number(value: Any) -> Decimal:
    if not isinstance(value, Decimal):
        raise TypeError(f"{value!r} is no number")
    return value


def _checked_truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _ordering(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(one: Any, other: Any) -> bool:
        # Only an expression that speaks of null comes here without a value; zen says no, too.
        if one is None or other is None:
            return False
        return compare(_checked_number(_plain_number(one)), _checked_number(_plain_number(other)))

    return holds


def _all_numbers(values: Any) -> list[Decimal]:
    if not values or not all(isinstance(value, Decimal) for value in values):
        raise TypeError("a function of numbers is given something else")
    return list(values)


_ZERO = Decimal(0)
_ORDERED = {
    ">": _ordering(operator.gt),
    ">=": _ordering(operator.ge),
    "<": _ordering(operator.lt),
    "<=": _ordering(operator.le),
}
_OF_LISTS: dict[str, Callable[[Any], Decimal]] = {
    "min": lambda values: min(_all_numbers(values)),
    "max": lambda values: max(_all_numbers(values)),
    "sum": lambda values: sum(_all_numbers(values), _ZERO),
}
