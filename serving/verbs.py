"""``serve`` runs the decision endpoint; ``decide`` asks it, as a bank would."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit301 import console
from credit301.errors import ConfigError, NotFound, SourceError
from serving.auth import DEMO

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def serve(
    workspace: Workspace,
    port: Annotated[int | None, typer.Option(help="Port; the setting serving_port by default. 端口。")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; the setting serving_workers by default. 进程数。")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Decide with this bundle instead of the champion. 使用指定模型包。")
    ] = None,
) -> None:
    """启动决策接口。Run the decision endpoint."""
    from serving.server import run

    settings = workspace.settings
    scheme = "https" if settings.tls_certificate else "http"
    console.say(f"decisions: {scheme}://{settings.host}:{port or settings.serving_port}/docs")
    run(workspace, port=port or settings.serving_port, workers=workers or settings.serving_workers, bundle=bundle)


def decide(
    workspace: Workspace,
    entity: Annotated[
        str | None, typer.Option(help="Key of the enterprise; a sample one by default. 企业标识。")
    ] = None,
    amount: Annotated[str, typer.Option(help="Yuan asked for. 申请金额（元）。")] = "200000.00",
    term: Annotated[int, typer.Option(help="Months asked for. 期限（月）。")] = 12,
    port: Annotated[int | None, typer.Option(help="Port of the endpoint. 端口。")] = None,
    grant_consent: Annotated[
        bool,
        typer.Option(help="First record a (simulated) enterprise's consent. 先登记（模拟企业的）授权。"),
    ] = False,
    count: Annotated[
        int, typer.Option(min=1, help="Ask for so many sample enterprises, and count outcomes. 批量请求抽样企业。")
    ] = 1,
) -> dict[str, Any]:
    """请求授信决策。Ask the running endpoint for a decision and print it, or for many and count them."""
    from serving.client import ask, grant
    from serving.show import show

    if count > 1:
        return _decide_many(workspace, sample(workspace, count), amount, term, port, grant_consent=grant_consent)
    applicant = entity or sample(workspace)[0]
    if grant_consent:
        consent = grant(workspace, applicant, port or workspace.settings.serving_port)
        console.say(f"已登记申请企业的授权 · the applicant's consent is recorded: {consent['consent_id']}")
        console.say(f"  {consent['grantee']}: {', '.join(consent['sources'])}")
    decision = ask(workspace, applicant, amount, term, port or workspace.settings.serving_port)
    show(decision)
    return {"decision_id": decision["decision_id"], "outcome": decision["outcome"]}


def _decide_many(
    workspace: Workspace, applicants: list[str], amount: str, term: int, port: int | None, *, grant_consent: bool
) -> dict[str, Any]:
    from collections import Counter

    from serving.client import ask, grant

    address = port or workspace.settings.serving_port
    outcomes: Counter[str] = Counter()
    by_alias: Counter[str] = Counter()
    for applicant in applicants:
        if grant_consent:
            grant(workspace, applicant, address)
        decision = ask(workspace, applicant, amount, term, address)
        outcomes[decision["outcome"]] += 1
        by_alias[decision["versions"]["alias"]] += 1
    return {"decisions": len(applicants), **outcomes, "by_alias": dict(by_alias)}


def decide_all(
    workspace: Workspace,
    bundle: Annotated[
        Path | None, typer.Option(help="Decide with this bundle; the newest by default. 模型包。")
    ] = None,
    amount: Annotated[
        str | None, typer.Option(help="Yuan that each asks for; the product's maximum by default. 申请金额（元）。")
    ] = None,
    term: Annotated[
        int | None, typer.Option(help="Months that each asks for; the product's maximum by default. 期限（月）。")
    ] = None,
    grantee: Annotated[
        str, typer.Option(help="Client of the API whose consents are relied upon. 所依据授权的接口客户。")
    ] = DEMO,
) -> dict[str, Any]:
    """Decide on every entity that has features and no outcome to learn from. 对没有履约历史的企业批量决策。

    Nobody has applied: each is taken to ask for the same. Each decision is on record with its evidence and can be
    replayed; what is measured of the endpoint's decisions does not count it.
    无人申请：均按相同金额与期限决策；每笔决策留存证据、可重放，不计入接口决策的统计。

    Returns:
        How many were ``decided`` and how, the ``application`` under which they are in the audit trail, and the ``path``
        of the file, which has the number of each decision.

    Raises:
        NotFound: there is no bundle, no strategy, or no feature mart.
        AuditError: a decision cannot be recorded with its evidence.
    """
    from credit301.governance.consent.coverage import Asking
    from credit301.model.bundle import read
    from credit301.strategy.folder import find
    from serving.batch import decide_all as run
    from serving.batch import newest_bundle
    from serving.judge import Loaded

    loaded = Loaded(read(bundle or newest_bundle(workspace.paths.bundles)), source="directory")
    strategy = find(workspace)
    product = strategy.product
    return run(
        workspace,
        loaded,
        strategy,
        product.maximum_amount if amount is None else yuan_of(amount),
        term or product.maximum_term_months,
        Asking(grantee),
    )


def yuan_of(text: str) -> Decimal:
    """An amount typed by a person.

    Raises:
        ConfigError: it is no number.
    """
    try:
        return Decimal(text.replace(",", ""))
    except InvalidOperation as error:
        raise ConfigError(f"{text!r} is not an amount.", hint="Give yuan, such as 200000.00.") from error


def sample(workspace: Workspace, count: int = 1) -> list[str]:
    """Keys of at most ``count`` applicants without a known outcome, first those whom the most sources have data on.

    Raises:
        NotFound: no feature mart has been built.
    """
    import duckdb

    from credit301.derive.dbt import LABELS_MODEL, feature_model_name

    key = workspace.entity.key
    marts = [workspace.paths.mart(feature_model_name(source.name)) for source in workspace.featured()]
    there = [path for path in marts if path.is_file()]
    if not there:
        raise NotFound(
            "There is no feature mart to take a sample from.", hint="Run: credit301 build, credit301 materialize."
        )
    rows = " union all ".join(f'select distinct "{key}" as key from read_parquet(?)' for _ in there)
    labels = workspace.paths.mart(LABELS_MODEL)
    unknown = f'where key not in (select "{key}" from read_parquet(?))' if labels.is_file() else ""
    query = f"select key from ({rows}) {unknown} group by key order by count(*) desc, md5(key) limit {int(count)}"
    files = [str(path) for path in (*there, labels) if path.is_file()]
    try:
        with duckdb.connect() as connection:
            found = connection.execute(query, files).fetchall()
    except duckdb.Error as error:
        raise SourceError(
            f"The feature marts cannot be read: {error}.", hint="Build them again: credit301 build."
        ) from error
    if not found:
        raise NotFound("The feature marts are empty.", hint="Pull and build first: credit301 pull, credit301 build.")
    return [str(row[0]) for row in found]
