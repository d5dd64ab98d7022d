"""Boosters of small trees as tables: raw score and exact TreeSHAP contributions of one row by a few array operations.

What a tree says, and how its TreeSHAP values are shared among its features, depends on the answers to its questions
alone ("is this value at most that threshold?"). A tree of at most eight questions has at most 256 sets of answers, so
everything it can ever say is asked of LightGBM once, when the model is loaded, and looked up after that: a row is
compared with all thresholds of all trees at once, eight answers make a byte, and the byte is the line of the table.

The sums run in the order of LightGBM's own: raw scores are equal to its to the bit, contributions to rounding (1e-12).
The idea of tables over patterns of answers is that of Fast TreeSHAP v2 (Yang 2021, arXiv:2109.09847), which has them
by leaf.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from credit301.model.booster import FloatArray, TreeByTree

QUESTIONS = 8
"""Most questions of a tree that fits: their answers make one byte."""

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_SHIFT, _MISSING_NONE, _MISSING_NAN = 2, 0, 2
_ZERO = float(np.float32(1e-35))
"""LightGBM reads what is nearer to zero than this as zero (``kZeroThreshold``)."""
_WORD = 32


@dataclass(frozen=True)
class _Tree:
    """Questions of a tree, one entry each: the feature, and the threshold or the categories that go left."""

    features: tuple[int, ...]
    thresholds: tuple[float, ...]
    default_left: tuple[bool, ...]
    keeps_missing: tuple[bool, ...]
    categories: tuple[frozenset[int] | None, ...]

    def goes_left(self, question: int, value: float) -> bool:
        """LightGBM's answer for one value (``Tree::NumericalDecision`` and ``CategoricalDecision``)."""
        chosen = self.categories[question]
        if chosen is not None:
            return not np.isnan(value) and int(value) in chosen
        if np.isnan(value):
            return self.default_left[question] if self.keeps_missing[question] else self.thresholds[question] >= 0.0
        return value <= self.thresholds[question]


@dataclass(frozen=True)
class Member:
    """A booster in a forest: LightGBM's text, and the places of its features in the rows that the forest is given."""

    text: str
    columns: Sequence[int]


class Forest:
    """Several boosters evaluated together.

    Args:
        members: boosters whose trees all fit (:func:`fits`).
        width: length of the rows.
    """

    def __init__(self, members: Sequence[Member], width: int) -> None:
        self._width = width
        #: Slots of the sums: what each member says, then its features' contributions, then one that nobody reads.
        starts = np.cumsum([0, *(1 + len(member.columns) for member in members)])
        self._raw = [int(start) for start in starts[:-1]]
        self._shares = [
            slice(int(start) + 1, int(start) + 1 + len(member.columns))
            for start, member in zip(starts, members, strict=False)
        ]
        self._slots = int(starts[-1]) + 1
        tables: list[FloatArray] = []
        slots: list[list[int]] = []
        asked: list[_Questions] = []
        for member, start in zip(members, self._raw, strict=True):
            teacher = TreeByTree(member.text, len(member.columns))
            for number, tree in enumerate(_trees(member.text)):
                table, features = _table(teacher, tree, number)
                tables.append(table)
                slots.append([start, *(start + 1 + feature for feature in features)])
                asked.append(_Questions(tree, member.columns, width))
        widest = max(map(len, slots), default=1)
        self._table = np.zeros((sum(map(len, tables)), widest))
        self._lines = np.cumsum([0, *map(len, tables)])[:-1].astype(np.intp)
        for line, table in zip(self._lines, tables, strict=True):
            self._table[line : line + len(table), : table.shape[1]] = table
        unread = [self._slots - 1]
        self._slot_of = np.array([places + unread * (widest - len(places)) for places in slots], dtype=np.intp).ravel()
        self._source = np.concatenate([item.source for item in asked]) if asked else np.empty(0, dtype=np.intp)
        self._threshold = np.concatenate([item.threshold for item in asked]) if asked else np.empty(0)
        self._categorical = _Categories(asked)

    def sums(self, row: FloatArray) -> FloatArray:
        """Everything that the members say of ``row``, shape (width,): read it with :meth:`raw` and :meth:`shares`."""
        width = self._width
        extended = np.concatenate((row, row, row))
        missing = np.isnan(row)
        extended[:width][missing] = -np.inf
        extended[2 * width :][missing] = 0.0
        answers = extended.take(self._source) <= self._threshold
        self._categorical.answer(row, answers)
        lines = np.packbits(answers, bitorder="little") + self._lines
        said = self._table.take(lines, axis=0)
        return np.bincount(self._slot_of, said.ravel(), self._slots).astype(np.float64, copy=False)

    def raw(self, sums: FloatArray, member: int) -> float:
        """Raw score (log-odds) of a member, equal to :meth:`Booster.raw` to the bit."""
        return float(sums[self._raw[member]])

    def shares(self, member: int) -> slice:
        """Where in the sums a member's contributions are: of its features, in log-odds, without the expected value."""
        return self._shares[member]


def fits(text: str) -> bool:
    """Whether every tree of a LightGBM text model is small enough, and asks only what the tables know."""
    return all(tree is not None for tree in _parsed(text))


class _Questions:
    """A tree's questions against rows that are laid out three times.

    Unknown values are -inf in the first (at most any threshold), NaN in the second (at most none), 0 in the third.
    """

    def __init__(self, tree: _Tree, columns: Sequence[int], width: int) -> None:
        self.source = np.zeros(QUESTIONS, dtype=np.intp)
        # Nothing is at most NaN: a question that is not asked, or is asked elsewhere, is answered with "no" here.
        self.threshold = np.full(QUESTIONS, np.nan)
        self.categorical: list[tuple[int, int, frozenset[int]]] = []
        for number, feature in enumerate(tree.features):
            column = columns[feature]
            chosen = tree.categories[number]
            if chosen is not None:
                self.categorical.append((number, column, chosen))
                continue
            layout = (0 if tree.default_left[number] else 1) if tree.keeps_missing[number] else 2
            self.source[number] = layout * width + column
            self.threshold[number] = tree.thresholds[number]


class _Categories:
    """The questions about categories of all trees: one table of answers by question and code."""

    def __init__(self, asked: Sequence[_Questions]) -> None:
        found = [
            (tree * QUESTIONS + number, column, chosen)
            for tree, item in enumerate(asked)
            for number, column, chosen in item.categorical
        ]
        self._most = max((max(chosen, default=0) for _, _, chosen in found), default=-1) + 1
        self._places = np.array([place for place, _, _ in found], dtype=np.intp)
        self._columns = np.array([column for _, column, _ in found], dtype=np.intp)
        lines = self._most + 2
        self._lines = np.arange(len(found), dtype=np.intp) * lines + 1
        self._answers = np.zeros(len(found) * lines, dtype=np.bool_)
        for start, (_, _, chosen) in zip(self._lines, found, strict=True):
            self._answers[start + np.array(sorted(chosen), dtype=np.intp)] = True

    def answer(self, row: FloatArray, answers: NDArray[np.bool_]) -> None:
        """Write the answers; a code that no tree knows, and a missing one, is answered with "no"."""
        if not len(self._places):
            return
        # fmax: of NaN and -1, -1.
        codes = np.minimum(np.fmax(row.take(self._columns), -1.0), self._most).astype(np.intp)
        answers[self._places] = self._answers.take(self._lines + codes)


def _table(teacher: TreeByTree, tree: _Tree, number: int) -> tuple[FloatArray, tuple[int, ...]]:
    """What tree ``number`` says for each set of answers: its value, then each of its features' share; those features.

    LightGBM is asked about one row for every set of answers that any row can give.
    """
    features = tuple(sorted(set(tree.features)))
    choices = [_answers_by_value(tree, feature) for feature in features]
    rows = np.full((int(np.prod([len(choice) for choice in choices])), teacher.columns), np.nan)
    patterns = np.zeros(len(rows), dtype=np.intp)
    for index, chosen in enumerate(itertools.product(*choices)):
        for feature, (pattern, value) in zip(features, chosen, strict=True):
            rows[index, feature] = value
            patterns[index] |= pattern
    table = np.zeros((1 << len(tree.features), 1 + len(features)))
    table[patterns, 0] = teacher.raw_of(number, rows)
    table[patterns, 1 : 1 + len(features)] = teacher.contributions_of(number, rows)[:, features]
    return table, features


def _answers_by_value(tree: _Tree, feature: int) -> list[tuple[int, float]]:
    """The sets of answers that a value of ``feature`` can give, as bits, each with such a value."""
    mine = [number for number, asked in enumerate(tree.features) if asked == feature]
    values: list[float] = [np.nan]
    for number in mine:
        chosen = tree.categories[number]
        if chosen is None:
            values += [tree.thresholds[number], float(np.nextafter(tree.thresholds[number], np.inf))]
        else:
            values += [*map(float, sorted(chosen)), float(max(chosen, default=0) + 1)]
    found: dict[int, float] = {}
    for value in values:
        pattern = sum(1 << number for number in mine if tree.goes_left(number, value))
        found.setdefault(pattern, value)
    return list(found.items())


def _trees(text: str) -> list[_Tree]:
    return [tree for tree in _parsed(text) if tree is not None]


def _parsed(text: str) -> Iterator[_Tree | None]:
    """The trees of a LightGBM text model; ``None`` for one that does not fit."""
    for block in text.split("\nTree=")[1:]:
        yield _tree(dict(line.split("=", 1) for line in block.split("\n\n", 1)[0].splitlines()[1:] if "=" in line))


def _tree(fields: dict[str, str]) -> _Tree | None:
    questions = int(fields["num_leaves"]) - 1
    if questions > QUESTIONS or fields.get("is_linear", "0") != "0":
        return None
    if not questions:
        return _Tree((), (), (), (), ())
    kinds = [int(word) for word in fields["decision_type"].split()]
    missing = [kind >> _MISSING_SHIFT & 3 for kind in kinds]
    if any(kind not in {_MISSING_NONE, _MISSING_NAN} for kind in missing):
        return None
    thresholds = [_beyond_zero(float(word)) for word in fields["threshold"].split()]
    categories: list[frozenset[int] | None] = [None] * questions
    if any(kind & _CATEGORICAL for kind in kinds):
        bounds = [int(word) for word in fields["cat_boundaries"].split()]
        words = [int(word) for word in fields["cat_threshold"].split()]
        for number, kind in enumerate(kinds):
            if kind & _CATEGORICAL:
                index = int(thresholds[number])
                categories[number] = _members(words[bounds[index] : bounds[index + 1]])
    return _Tree(
        features=tuple(int(word) for word in fields["split_feature"].split()),
        thresholds=tuple(thresholds),
        default_left=tuple(bool(kind & _DEFAULT_LEFT) for kind in kinds),
        keeps_missing=tuple(kind == _MISSING_NAN for kind in missing),
        categories=tuple(categories),
    )


def _beyond_zero(threshold: float) -> float:
    """The threshold that answers for values as they are what ``threshold`` answers once the tiny ones are zero."""
    if -_ZERO <= threshold < 0:
        return float(np.nextafter(-_ZERO, -np.inf))
    return _ZERO if 0 <= threshold < _ZERO else threshold


def _members(words: Sequence[int]) -> frozenset[int]:
    return frozenset(index * _WORD + bit for index, word in enumerate(words) for bit in range(_WORD) if word >> bit & 1)
