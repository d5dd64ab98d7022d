"""The verb of access by role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def access(
    workspace: Workspace,
    role: Annotated[str, typer.Argument(help="A role, such as ml_engineer. 角色。")],
    postgres: Annotated[
        bool, typer.Option(help="Make the role's views in PostgreSQL instead. 在 PostgreSQL 中建立该角色的视图。")
    ] = False,
) -> dict[str, Any]:
    """Give a role what it may see, masked and hashed, and nothing else. 按角色导出脱敏后的最小权限数据。

    Returns:
        ``path`` of the role's database and rows by relation; with ``postgres`` the ``role`` and its ``views``.

    Raises:
        NotFound: there is no such role.
    """
    from credit301.governance.access.roles import role_of
    from credit301.governance.audit.entry import Entry, Event
    from credit301.governance.audit.writer import AuditWriter
    from credit301.governance.people import acting

    chosen = role_of(workspace, role)
    if postgres:
        from credit301.governance.access import postgres as server

        made = server.grant(workspace, role, chosen)
        summary: dict[str, Any] = {"role": server.role_name(workspace, role), "views": made}
    else:
        from credit301.governance.access.database import export, path_of

        rows = export(workspace, role, chosen)
        summary = {"path": str(path_of(workspace, role)), "rows": rows}
    with AuditWriter.of(workspace) as audit:
        sources = summary.get("views") or list(summary.get("rows", {}))
        audit.append(Entry(event=Event.EXPORTED, who=acting(), sources=tuple(sources), detail={"role": role}))
    console.say(f"{chosen.title.zh} {chosen.title.en}: {', '.join(sources) or '无 nothing'}")
    return summary
