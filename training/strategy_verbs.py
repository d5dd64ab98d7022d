"""Strategies: check them, and try them on past applications. 授信策略：校验与回测。"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console

if TYPE_CHECKING:
    from credit301.workspace import Workspace

SHOWN = 10


def backtest(
    workspace: Workspace,
    candidate: Annotated[
        str, typer.Argument(help="Name of a strategy, or a folder with an edited copy. 策略名称，或修改后的策略目录。")
    ],
    against: Annotated[
        str, typer.Option(help="The strategy to hold it against; the workspace's by default. 对照策略。")
    ] = "",
    start: Annotated[str, typer.Option(help="First day, 2024-03-01. 起始日期。")] = "",
    end: Annotated[str, typer.Option(help="Day after the last. 截止日期（不含）。")] = "",
    model: Annotated[str, typer.Option(help="Version or alias that scores. 评分模型版本或别名。")] = "champion",
    amount: Annotated[str, typer.Option(help="Yuan that each asks for; default: the most. 申请金额（元）。")] = "",
    term: Annotated[int, typer.Option(min=0, help="Months; default: the most. 期限（月）。")] = 0,
) -> dict[str, Any]:
    """Run a strategy over past applications and compare it with the current one. 策略回测与互换集。

    Returns:
        What the ``candidate`` and the ``current`` strategy do with the ``applications``, the ``swap_set``, and the
        ``page``.

    Raises:
        NotFound: there is no such strategy or model, or no application in the period.
        StrategyError: the strategy is wrong; the message names the cell.
    """
    from credit301.strategy.folder import find
    from training import backtest_page
    from training.backtest import run, summary

    new, old = find(workspace, candidate), find(workspace, against or None)
    found = run(
        workspace,
        new,
        old,
        model=model,
        start=start,
        end=end,
        amount=Decimal(amount.replace(",", "")) if amount else None,
        term=term or None,
    )
    title = f"{new.version} / {old.version}, {found.first} .. {found.last}"
    console.show_table(title, ("", "新策略 candidate", "现行 current", "差 difference"), backtest_page.figures(found))
    console.show_table(
        "互换集 swap set",
        ("", "申请 applications", "违约率 bad rate", "预期 expected", "额度合计 limits", "利润 profit"),
        backtest_page.swaps(found),
    )
    console.show_table(
        "未获批的首要原因 first causes",
        ("原因 cause", "新策略 candidate", "现行 current"),
        backtest_page.causes(found)[:SHOWN],
    )
    if found.learnt_from:
        console.say(
            f"其中 {found.learnt_from:,} 笔为模型学习过的样本 · the model has learnt from {found.learnt_from:,} of them"
        )
    return {**summary(found), "page": str(backtest_page.write(workspace, found))}


def check(
    workspace: Workspace,
    strategy: Annotated[
        str | None, typer.Argument(help="Name of a strategy, or a folder; default: all. 策略名称或目录，默认全部。")
    ] = None,
) -> dict[str, Any]:
    """Check strategies as the endpoint would before it uses them. 校验策略。

    Returns:
        Of each strategy its ``version``, digest and what it ``reads``.

    Raises:
        ContractError, StrategyError: naming the line or the cell that is wrong.
    """
    from credit301.strategy.folder import find, load_all

    made = [find(workspace, strategy)] if strategy else load_all(workspace)
    for one in made:
        console.say(f"{one.version} ({one.sha256[:12]}): {one.definition.title.zh} · {one.definition.title.en}")
        for key in one.features():
            console.say(f"  读取 reads {key}")
    return {one.name: {"version": one.version, "sha256": one.sha256, "reads": len(one.features())} for one in made}


def compare(
    workspace: Workspace,
    a: Annotated[str, typer.Argument(help="Name of a strategy; default: the champion. 策略名称，默认冠军。")] = "",
    b: Annotated[
        str,
        typer.Argument(help="Another; default: the first challenger, or shadow. 另一策略，默认挑战者或影子。"),
    ] = "",
) -> dict[str, Any]:
    """Compare two strategies in production on the applications that both judged. 比较生产中的两个策略。

    Returns:
        How many ``applications`` both judged, what ``a`` and ``b`` say of them, the ``swap_set``, and the ``page``.

    Raises:
        NotFound: there is no such strategy, or no application that both judged.
    """
    from credit301.strategy.folder import beside, find
    from training import strategy_compare, strategy_compare_page

    one = find(workspace, a or None)
    other = find(workspace, b) if b else beside(workspace)
    found = strategy_compare.run(workspace, one, other)
    console.show_table(
        f"A = {one.version}, B = {other.version}; {found.first} .. {found.last}",
        ("", "A", "B", "差 difference"),
        strategy_compare_page.figures(found),
    )
    console.show_table("互换集 swap set", strategy_compare_page.SWAP_HEADS, strategy_compare_page.swaps(found))
    return {**strategy_compare.summary(found), "page": str(strategy_compare_page.write(workspace, found))}
