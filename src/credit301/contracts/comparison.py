"""What changed between two versions of a contract, and whether those who rely on it can go on as before.

Breaking: what was delivered, kept or learnt by the old version no longer fits. Compatible: more is offered, or less is
asked. Documentation: only words. A field that no rule below knows is breaking when it changes: silence is not consent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from textwrap import shorten
from typing import Any

from pydantic import BaseModel

from credit301.contracts.check_comparison import stricter
from credit301.contracts.model import Check, CheckKind, Classification, Column, Contract, Feature, Severity, Text
from credit301.contracts.types import widened


class Level(IntEnum):
    """How much of a new version number a change asks for: patch, minor, major."""

    DOCUMENTATION = 1
    COMPATIBLE = 2
    BREAKING = 3


LEVEL_NAMES = {
    Level.DOCUMENTATION: Text(zh="文字", en="documentation"),
    Level.COMPATIBLE: Text(zh="兼容", en="compatible"),
    Level.BREAKING: Text(zh="不兼容", en="breaking"),
}


@dataclass(frozen=True)
class Subject:
    """What changed: ``kind`` is source, column, check, feature, submodel or reason; ``name`` empty for the source.

    ``column`` is the column that a check judges; empty where it judges rows or batches.
    """

    kind: str
    name: str = ""
    column: str = ""


@dataclass(frozen=True)
class Change:
    """One difference between two versions, in both languages."""

    level: Level
    subject: Subject
    what: Text


SOURCE = Subject("source")
CONTRACT_LEVELS = {
    "title": Level.DOCUMENTATION,
    "limitations": Level.DOCUMENTATION,
    "owner": Level.COMPATIBLE,
    "purpose": Level.COMPATIBLE,
    "legal_basis": Level.COMPATIBLE,
    "pull": Level.COMPATIBLE,
    "freshness": Level.COMPATIBLE,
    "online": Level.COMPATIBLE,
    "windows": Level.COMPATIBLE,
}
# Compared by rules of their own, or not at all.
CONTRACT_APART = {"version", "path", "columns", "checks", "features", "submodel", "status", "retention"}
COLUMN_LEVELS = {"label": Level.DOCUMENTATION, "prefill": Level.COMPATIBLE}
COLUMN_APART = {"name", "sql_type", "classification", "unit", "required", "primary_key"}
FEATURE_LEVELS = {"label": Level.DOCUMENTATION}
FEATURE_APART = {"name", "adverse", "favourable"}
SUBMODEL_LEVELS = {"label": Level.DOCUMENTATION}
SENSITIVITY = list(Classification)
GONE = {"deprecated", "retired"}


def compare(released: Contract, current: Contract) -> tuple[Change, ...]:
    """All differences from ``released`` to ``current``, the gravest first; empty where both say the same."""
    changes = [*_contract(released, current), *_columns(released, current), *_checks(released, current)]
    changes += [*_features(released, current), *_submodel(released, current)]
    return tuple(sorted(changes, key=lambda change: -change.level))


def _change(level: Level, subject: Subject, zh: str, en: str) -> Change:
    return Change(level, subject, Text(zh=zh, en=en))


def _fields(
    old: BaseModel, new: BaseModel, levels: Mapping[str, Level], apart: set[str]
) -> Iterator[tuple[str, Level]]:
    for name in type(old).model_fields:
        if name not in apart and getattr(old, name) != getattr(new, name):
            yield name, levels.get(name, Level.BREAKING)


def _said(value: Any) -> str:
    text = value.zh if isinstance(value, Text) else str(value)
    return shorten(text, 60, placeholder=" ...")


def _contract(old: Contract, new: Contract) -> Iterator[Change]:
    for name, level in _fields(old, new, CONTRACT_LEVELS, CONTRACT_APART):
        yield _change(level, SOURCE, f"{name} 已修改", f"{name} changed")
    if old.primary_key != new.primary_key:
        before, after = ", ".join(old.primary_key), ", ".join(new.primary_key)
        yield _change(Level.BREAKING, SOURCE, f"主键由 {before} 改为 {after}", f"key changed from {before} to {after}")
    if old.status != new.status:
        level = Level.BREAKING if new.status in GONE else Level.COMPATIBLE
        yield _change(
            level, SOURCE, f"状态由 {old.status} 改为 {new.status}", f"status changed from {old.status} to {new.status}"
        )
    if old.retention != new.retention:
        yield from _retention(old, new)


def _retention(old: Contract, new: Contract) -> Iterator[Change]:
    said = f"{old.retention or '-'} → {new.retention or '-'}"
    if new.retention is None or (old.retention is not None and new.retention >= old.retention):
        yield _change(Level.COMPATIBLE, SOURCE, f"保存期限（天）{said}", f"retention in days {said}")
        return
    short = [f for f in new.features if _window_days(f) > new.retention]
    for feature in short:
        yield _change(
            Level.BREAKING,
            Subject("feature", feature.name),
            f"保存期限（天）{said}，短于其 {_window_days(feature)} 天窗口",
            f"retention in days {said}, shorter than its window of {_window_days(feature)} days",
        )
    if not short:
        yield _change(Level.COMPATIBLE, SOURCE, f"保存期限缩短（天）{said}", f"shorter retention in days {said}")


def _window_days(feature: Feature) -> int:
    """The window in days, a month taken as the longest there is; 0 where it looks at all records."""
    return (feature.window_months or 0) * 31 or feature.window_days or 0


# -- columns


def _columns(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = ({column.name: column for column in contract.columns} for contract in (old, new))
    added = [column for name, column in after.items() if name not in before]
    for name, column in before.items():
        if name in after:
            yield from _column(column, after[name])
            continue
        successor = next((c for c in added if c.physical_name == column.physical_name or c.label == column.label), None)
        if successor is None:
            yield _change(Level.BREAKING, Subject("column", name), "列已删除", "column removed")
        else:
            to = successor.name
            yield _change(Level.BREAKING, Subject("column", name), f"列改名为 {to}", f"column renamed to {to}")
    for column in added:
        if column.required:
            yield _change(
                Level.BREAKING,
                Subject("column", column.name),
                "新增必填列",
                "required column added: it must be delivered",
            )
        else:
            yield _change(Level.COMPATIBLE, Subject("column", column.name), "新增可选列", "optional column added")
    yield from _order(old, new, before.keys() & after.keys())


def _order(old: Contract, new: Contract, common: set[str]) -> Iterator[Change]:
    orders = [[column.name for column in contract.columns if column.name in common] for contract in (old, new)]
    if orders[0] != orders[1]:
        by_position = "by_position" in (old.pull.options.get("columns"), new.pull.options.get("columns"))
        level = Level.BREAKING if by_position else Level.DOCUMENTATION
        yield _change(level, SOURCE, "列顺序改变", "order of columns changed")


def _column(old: Column, new: Column) -> Iterator[Change]:
    subject = Subject("column", old.name)
    for name, level in _fields(old, new, COLUMN_LEVELS, COLUMN_APART):
        before, after = _said(getattr(old, name)), _said(getattr(new, name))
        yield _change(level, subject, f"{name} 由 {before} 改为 {after}", f"{name} changed from {before} to {after}")
    if old.sql_type != new.sql_type:
        said = f"{old.sql_type} → {new.sql_type}"
        if widened(old.sql_type, new.sql_type):
            yield _change(Level.COMPATIBLE, subject, f"类型放宽 {said}", f"type widened {said}")
        elif widened(new.sql_type, old.sql_type):
            yield _change(Level.BREAKING, subject, f"类型收窄 {said}", f"type narrowed {said}")
        else:
            yield _change(Level.BREAKING, subject, f"类型改变 {said}", f"type changed {said}")
    if old.classification != new.classification:
        more = SENSITIVITY.index(new.classification) > SENSITIVITY.index(old.classification)
        said = f"{old.classification} → {new.classification}"
        level = Level.BREAKING if more else Level.COMPATIBLE
        yield _change(level, subject, f"敏感等级 {said}", f"sensitivity class {said}")
    if old.unit != new.unit:
        level = Level.BREAKING if old.unit else Level.COMPATIBLE
        said = f"{old.unit or '-'} → {new.unit or '-'}"
        yield _change(level, subject, f"单位 {said}", f"unit {said}")
    if old.required and not new.required:
        yield _change(Level.COMPATIBLE, subject, "不再必填", "no longer required")
    elif new.required and not old.required:
        yield _change(Level.BREAKING, subject, "改为必填", "now required")


# -- checks


def _checks(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = ({check.id: check for check in contract.checks} for contract in (old, new))
    columns = {column.name: column for column in old.columns}
    kept = {column.name for column in new.columns} & columns.keys()
    for identity, check in before.items():
        if identity not in after and not _follows(check, old, new, kept):
            yield _change(Level.COMPATIBLE, _subject(check), "校验已删除", "check removed")
    for identity, check in after.items():
        if identity in before:
            yield from _check(before[identity], check, implied=_follows(check, old, new, kept))
        elif not _follows(check, old, new, kept):
            level = Level.BREAKING if check.severity is Severity.FAIL else Level.COMPATIBLE
            yield _change(level, _subject(check), "新增校验", f"check of severity {check.severity} added")


def _subject(check: Check) -> Subject:
    return Subject("check", check.id, check.column or "")


def _follows(check: Check, old: Contract, new: Contract, kept: set[str]) -> bool:
    """Whether a change of the check is told already, as that of its column, of the key or of the times."""
    if check.column and check.column not in kept:
        return True
    if check.kind is CheckKind.UNIQUE_KEY:
        return old.primary_key != new.primary_key or old.time != new.time
    if check.kind is CheckKind.NOT_NULL and check.column:
        return old.column(check.column).required != new.column(check.column).required
    if check.kind is CheckKind.CASTABLE and check.column:
        before, after = old.column(check.column), new.column(check.column)
        return (before.sql_type, before.date_format) != (after.sql_type, after.date_format)
    return False


def _check(old: Check, new: Check, *, implied: bool) -> Iterator[Change]:
    subject = _subject(new)
    if old.description != new.description:
        yield _change(Level.DOCUMENTATION, subject, "说明已修改", "description changed")
    if old.severity != new.severity:
        level = Level.BREAKING if new.severity is Severity.FAIL else Level.COMPATIBLE
        said = f"{old.severity} → {new.severity}"
        yield _change(level, subject, f"严重程度 {said}", f"severity {said}")
    if implied or (old.kind, old.column, old.arguments, old.tolerance) == (
        new.kind,
        new.column,
        new.arguments,
        new.tolerance,
    ):
        return
    if stricter(old, new):
        level = Level.BREAKING if new.severity is Severity.FAIL else Level.COMPATIBLE
        yield _change(level, subject, "校验更严格", "check is stricter")
    else:
        yield _change(Level.COMPATIBLE, subject, "校验更宽松", "check is looser")


# -- features and sub-model


def _features(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = ({feature.name: feature for feature in contract.features} for contract in (old, new))
    added = [feature for name, feature in after.items() if name not in before]
    for name, feature in before.items():
        if name in after:
            yield from _feature(feature, after[name])
            continue
        successor = next(
            (f for f in added if f.model_copy(update={"name": name, "label": feature.label}) == feature), None
        )
        if successor is None:
            yield _change(Level.BREAKING, Subject("feature", name), "特征已删除", "feature removed")
        else:
            to = successor.name
            yield _change(Level.BREAKING, Subject("feature", name), f"特征改名为 {to}", f"feature renamed to {to}")
    for feature in added:
        yield _change(Level.COMPATIBLE, Subject("feature", feature.name), "新增特征", "feature added")
    common = before.keys() & after.keys()
    if [name for name in before if name in common] != [name for name in after if name in common]:
        yield _change(Level.DOCUMENTATION, SOURCE, "特征顺序改变", "order of features changed")


def _feature(old: Feature, new: Feature) -> Iterator[Change]:
    subject = Subject("feature", old.name)
    for name, level in _fields(old, new, FEATURE_LEVELS, FEATURE_APART):
        before, after = _said(getattr(old, name)), _said(getattr(new, name))
        yield _change(
            level,
            subject,
            f"定义 {name} 由 {before} 改为 {after}",
            f"definition: {name} changed from {before} to {after}",
        )
    for side, zh in (("adverse", "不利原因"), ("favourable", "有利原因")):
        before, after = getattr(old, side), getattr(new, side)
        if before == after:
            continue
        reason = Subject("reason", f"{old.name} {side}")
        if after is None:
            yield _change(Level.BREAKING, reason, f"{zh}文本已删除", f"{side} reason text removed")
        else:
            done = "已修改" if before else "已新增"
            yield _change(
                Level.COMPATIBLE, reason, f"{zh}文本{done}", f"{side} reason text {'changed' if before else 'added'}"
            )


def _submodel(old: Contract, new: Contract) -> Iterator[Change]:
    subject = Subject("submodel", old.name)
    if old.submodel is None and new.submodel is not None:
        yield _change(Level.COMPATIBLE, subject, "新增子模型", "sub-model added")
    elif old.submodel is not None and new.submodel is None:
        yield _change(Level.BREAKING, subject, "子模型已删除", "sub-model removed")
    elif old.submodel is not None and new.submodel is not None:
        for name, level in _fields(old.submodel, new.submodel, SUBMODEL_LEVELS, set()):
            yield _change(level, subject, f"子模型 {name} 已修改", f"{name} of the sub-model changed")
