"""Verbs of the online features that need no feature store: freshness, and the sliding windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from credit301 import console
from credit301.errors import FeatureStoreError

if TYPE_CHECKING:
    from credit301.workspace import Workspace


class StaleFeatures(FeatureStoreError):
    """A view of the online store is older than its contract allows."""


def freshness(workspace: Workspace) -> dict[str, Any]:
    """Show how old each view of the online store is; fail beyond the contract's. 查看在线特征新鲜度，超期则失败。

    Raises:
        StaleFeatures: a view is older than its contract allows, or not there.
    """
    from redis.exceptions import RedisError

    from credit301.features.freshness import FreshnessBook
    from credit301.features.online_address import OnlineAddress

    book = FreshnessBook.of(workspace)
    client: Any = OnlineAddress.parse(workspace.settings.redis_address()).client(socket_timeout=5)
    try:
        views = book.read(client.hgetall(book.key))
    except RedisError as error:
        raise unreachable(error) from error
    finally:
        client.close()
    for view in views:
        ages = (view.newest_row_age, view.materialized_age, view.maximum_age)
        newest, written, maximum = ("-" if age is None else f"{age / 86_400:,.1f} d" for age in ages)
        mark = "!" if view.stale else " "
        console.say(f"{mark} {view.view}: 最新 newest {newest} · 写入 written {written} · 上限 at most {maximum}")
    stale = [view.view for view in views if view.stale]
    if stale:
        raise StaleFeatures(
            f"Beyond the age that the contract allows: {', '.join(stale)}.",
            hint="Ingest, build and materialize; if the source itself is late, ask its owner.",
        )
    return {"views": {view.view: view.newest_row_age for view in views}}


def rebuild_windows(workspace: Workspace) -> dict[str, Any]:
    """Make the sliding windows what landed and posted events say. 由已落地和已提交的事件重建滑动窗口。

    Returns:
        Subjects written by source; ``skipped`` where no source declares windows.

    Raises:
        FeatureStoreError: the online store does not answer.
    """
    from redis.exceptions import RedisError

    from credit301.features.online_address import OnlineAddress
    from credit301.features.windows.definition import window_sets
    from credit301.features.windows.rebuild import rebuild

    if not window_sets(workspace):
        return {"subjects": {}}
    client: Any = OnlineAddress.parse(workspace.settings.redis_address()).client(socket_timeout=30)
    try:
        written = rebuild(workspace, client)
    except RedisError as error:
        raise unreachable(error) from error
    finally:
        client.close()
    for source, subjects in written.items():
        console.say(f"{source}: {subjects:,} 个对象的窗口已重建 · windows of {subjects:,} subjects rebuilt")
    return {"subjects": written}


def windows(workspace: Workspace) -> dict[str, Any]:
    """Compute the sliding windows at every labelled decision, for training. 计算历史决策时点的滑动窗口。"""
    from credit301.features.windows.decisions import windows_at_decisions

    path, rows, columns = windows_at_decisions(workspace)
    return {"path": str(path), "rows": rows, "windows": columns}


def unreachable(error: Exception) -> FeatureStoreError:
    """What the online store's refusal or silence is to a person."""
    return FeatureStoreError(
        f"The online store does not answer as it should: {type(error).__name__}.",
        hint="Start it with `credit301 up`, or set CREDIT301_REDIS_URL, password included.",
    )
