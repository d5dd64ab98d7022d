"""Applications for credit: their tables, their messages, those whose time is over. 授信申请：建表、消息、到期处理。"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
import typer

from credit301 import console
from credit301.errors import NotFound

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def migrate(workspace: Workspace) -> dict[str, Any]:
    """Bring the tables of applications to the installed version. 将申请库表升级到当前版本。"""
    from credit301.applications.migrate import migrate as run

    return dict(run(workspace.settings))


def expire(workspace: Workspace) -> dict[str, Any]:
    """End drafts and offers whose time is over. 使超期的草稿与授信方案失效。

    Returns:
        ``expired``: how many ended.
    """
    from credit301.applications.desk import expire_overdue
    from credit301.applications.store import ApplicationStore

    async def run() -> int:
        store = ApplicationStore.of(workspace)
        try:
            return await expire_overdue(store)
        finally:
            await store.close()

    return {"expired": asyncio.run(run())}


def prefill(workspace: Workspace) -> dict[str, Any]:
    """Put what applicants find filled in into the online store. 将政务数据预填项写入在线库。

    Returns:
        Entities by source.
    """
    from credit301.applications.prefill import fill

    return dict(fill(workspace))


def touches(
    workspace: Workspace,
    since: Annotated[datetime | None, typer.Option(help="Applications made since. 起始时间。")] = None,
) -> dict[str, Any]:
    """Count the applications that a person has touched, per thousand. 统计每千笔申请的人工介入次数。

    Returns:
        ``decided``, ``touched``, ``per_thousand``.
    """
    from credit301.applications.review import touches as count
    from credit301.applications.store import ApplicationStore

    moment = (since or datetime(2000, 1, 1)).astimezone(UTC)  # noqa: DTZ001 - a person's own time zone

    async def run() -> dict[str, Any]:
        store = ApplicationStore.of(workspace)
        try:
            return msgspec.structs.asdict(await count(store.database, workspace.name, moment))
        finally:
            await store.close()

    return asyncio.run(run())


def messages(
    workspace: Workspace,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were delivered. 包括已送达的消息。")
    ] = False,
    retry: Annotated[
        str | None, typer.Option(help="Number of a dead message to deliver again. 重新投递的死信编号。")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Most lines. 最多行数。")] = 50,
) -> dict[str, Any]:
    """Show messages that are not delivered yet, and those given up. 查看未送达与已放弃的消息。

    Returns:
        ``pending`` and ``dead``: how many of those shown.

    Raises:
        NotFound: there is no dead message of the number to retry.
    """
    from credit301.applications.messages import recent, revive
    from credit301.applications.store import ApplicationStore

    async def run() -> list[Any]:
        store = ApplicationStore.of(workspace)
        try:
            if retry is not None and not await revive(store.database, workspace.name, _number(retry)):
                raise NotFound(
                    f"There is no dead message {retry}.", hint="`credit301 applications messages` lists them."
                )
            return await recent(store.database, workspace.name, everything=everything, most=most)
        finally:
            await store.close()

    rows = asyncio.run(run())
    console.show_table(
        "消息 messages",
        (
            "编号 id",
            "种类 kind",
            "接收方 to",
            "申请 application",
            "状态 state",
            "次数 attempts",
            "下次 next",
            "原因 reason",
        ),
        [
            (
                str(row["id"]),
                row["kind"],
                row["tenant"],
                str(row["application_id"]),
                _state(row),
                row["attempts"],
                _short(row["next_attempt_at"]) if _state(row) == "pending" else "",
                row["last_error"] or "",
            )
            for row in rows
        ],
    )
    states = [_state(row) for row in rows]
    return {"pending": states.count("pending"), "dead": states.count("dead")}


def _number(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound(f"{text!r} is no number of a message.") from error


def _state(row: Any) -> str:
    if row["delivered_at"] is not None:
        return "delivered"
    return "pending" if row["dead_at"] is None else "dead"


def _short(moment: datetime) -> str:
    return f"{moment:%m-%d %H:%M:%S}"
