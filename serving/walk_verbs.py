"""The verb ``walk``: a new enterprise on its way through both modes, with the clock of each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console
from serving.auth import secret_of

if TYPE_CHECKING:
    from credit301.workspace import Workspace
    from serving.walk import Walk

CANDIDATES = 20


def walk(
    workspace: Workspace,
    platform_bank: Annotated[str, typer.Option(help="Bank of the mode platform. 平台审批方式的银行。")] = "demo",
    standard_bank: Annotated[
        str, typer.Option(help="Bank of the mode standard. 银行审批方式的银行。")
    ] = "demo_standard",
    entity: Annotated[
        list[str] | None, typer.Option(help="Enterprises to try, in turn; by default samples. 依次尝试的企业。")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the endpoint. 端口。")] = None,
) -> dict[str, Any]:
    """Walk a new enterprise through both modes over HTTP, with the clock of each step. 走通两种接入方式并逐步计时。

    The person's time is an estimate by the keystroke-level model; everything else is measured.

    Returns:
        For each mode ``application``, ``state``, ``person_seconds``, ``lending_seconds`` and ``touches``.

    Raises:
        WalkFailed: a mode did not end with the money paid out within the limits.
    """
    from serving.verbs import sample
    from serving.walk import WalkFailed

    settings = workspace.settings
    address = f"http://{settings.host}:{port or settings.serving_port}"
    summary, problems = {}, []
    for mode, bank in (("platform", platform_bank), ("standard", standard_bank)):
        # Another enterprise in each mode: both are new to their bank.
        candidates = entity or sample(workspace, CANDIDATES)
        went = _walked(workspace, mode, bank, address, candidates[::-1] if mode == "standard" else candidates)
        _show(went)
        problems += went.problems()
        summary[mode] = {
            "application": went.application,
            "state": went.state,
            "person_seconds": round(went.person, 1),
            "lending_seconds": round(went.lending, 3),
            "touches": went.touches,
        }
    if problems:
        raise WalkFailed("；".join(problems), hint="credit301 applications messages; docs/banks.md")
    return summary


def _walked(workspace: Workspace, mode: str, bank: str, address: str, candidates: Sequence[str]) -> Walk:
    from serving.walk import NotLentTo, Walker, WalkFailed

    walker = Walker(bank, mode, address, workspace.settings.secret(secret_of(bank)), _codes(workspace))
    try:
        for candidate in candidates:
            try:
                return walker.walk(workspace.entity.key, candidate)
            except NotLentTo as error:
                console.say(f"  {mode}: {error.message}")
    finally:
        walker.close()
    raise WalkFailed(f"None of {len(candidates)} enterprises is lent to in the mode {mode}.")


def _codes(workspace: Workspace) -> Any:
    """What the simulated telephone shows."""
    import httpx

    settings = workspace.settings

    def look(phone: str) -> list[str]:
        answer = httpx.post(
            f"{settings.identity_address()}/simulated/phone",
            json={"phone": phone},
            headers={"Authorization": f"Bearer {settings.secret('identity_token')}"},
            timeout=10.0,
            trust_env=False,
        )
        codes: list[str] = answer.raise_for_status().json()["codes"]
        return codes

    return look


def _show(went: Walk) -> None:
    rows = [
        (f"{step.zh} {step.en}", _seconds(step.person), _seconds(step.platform), _seconds(step.others))
        for step in went.steps
    ]
    sums = [sum(getattr(step, name) for step in went.steps) for name in ("person", "platform", "others")]
    rows.append(("合计 in all", _seconds(sums[0]), _seconds(sums[1]), _seconds(sums[2])))
    title = {"platform": "平台审批 the platform decides", "standard": "银行审批 the bank decides"}[went.mode]
    console.show_table(
        f"{title} ({went.bank})",
        (
            "步骤 step",
            "人（估计，秒） person, estimated",
            "平台（实测，秒） platform, measured",
            "核验机构与银行（实测，秒） provider and bank, measured",
        ),
        rows,
    )
    console.show_mapping(
        {
            "申请 application": f"{went.application}: {went.state}",
            "预填字段 fields filled in": str(went.filled_in),
            "提交至到账 from submission to the money": f"{went.lending:.2f} s",
            "人工环节 human touches": str(went.touches),
        }
    )


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value else ""
