"""The road as DAGs, made from the contracts of the current workspace.

``ingest_<source>`` (one a source) -> ``build_warehouse`` -> ``materialize_features`` -> ``train_models`` ->
``promote_ensemble``, connected by assets; ``monitor_models`` asks for a retraining on drift. A task calls a verb by
name inside its own process; this file imports nothing heavy, as the DAG processor reads it again and again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import policy
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow_connections import from_airflow

from credit301 import verbs
from credit301.contracts import Contract
from credit301.errors import ConfigError, ContractError, GateRefused, NotFound
from credit301.settings import get_settings
from credit301.sources.connectors.connections import resolving
from credit301.workspace import Workspace

# Trying again does not help against these.
PERMANENT = (ConfigError, ContractError, GateRefused, NotFound)
# After the last of the nightly pulls: a source that did not come must not keep the others from the warehouse.
WAREHOUSE_CRON = "30 5 * * *"
# Asks each morning whether a retraining is due by age, should no new data have come to ask it.
RETRAINING_CRON = "0 7 * * *"
CHECK_CRON = "15 */6 * * *"
# Before the nightly build, which then leaves out what has expired.
RETENTION_CRON = "0 5 * * *"
EXPIRY_CRON = "*/15 * * * *"


def asset(workspace: Workspace, name: str) -> Asset:
    """The asset ``name`` (``landing/tax_declaration``, ``marts``, ...) of the workspace."""
    return Asset(name=f"{workspace.name}/{name}", uri=f"credit301://{workspace.name}/{name}", group=workspace.name)


@task
def run_verb(verb: str, directory: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run a verb on the workspace in ``directory``; a verb that had nothing to do skips what comes after it."""
    try:
        with resolving(from_airflow):
            summary = verbs.call(verb, Workspace.load(Path(directory)), **options)
    except PERMANENT as error:
        raise AirflowFailException(str(error)) from error
    if summary.get("skipped"):
        raise AirflowSkipException(str(summary.get("reason") or f"{verb} had nothing to do"))
    return summary


def step(workspace: Workspace, verb: str, *, produces: Asset | None = None, **options: Any) -> Any:
    """One task that runs ``verb`` and, where it did something, updates the asset that it produces."""
    configured = run_verb.override(task_id=verb, outlets=[produces] if produces else [])
    return configured(verb, str(workspace.directory), options)


def ingest_dag(workspace: Workspace, contract: Contract) -> DAG:
    """Pull, validate and land one source, as often as its contract says."""
    with DAG(
        dag_id=f"ingest_{contract.name}",
        description=f"{contract.title.zh} · {contract.title.en}",
        doc_md=_document(
            f"拉取、校验并落地来源“{contract.title.zh}”。不合格的行进入隔离区并注明原因。",
            f"Pull, validate and land the source *{contract.title.en}*. "
            "Rows that fail are quarantined with their reasons.",
            {
                "粒度 grain": contract.grain,
                "用途 purpose": contract.purpose,
                "局限 limitations": contract.limitations,
                "依据 legal basis": contract.legal_basis,
            },
        ),
        schedule=policy.schedule(contract.freshness.schedule),
        tags=[workspace.name, "ingest", contract.dimension],
        **policy.dag_arguments(contract.owner, 30, workspace.paths.state),
    ) as dag:
        step(workspace, "ingest", produces=asset(workspace, f"landing/{contract.name}"), source=contract.name)
    return dag


def warehouse_dag(workspace: Workspace) -> DAG:
    """Build the warehouse when every source has landed, and each night in any case."""
    landed = [asset(workspace, f"landing/{name}") for name in workspace.sources]
    with DAG(
        dag_id="build_warehouse",
        description="dbt 构建仓库与集市 · build the warehouse and its marts with dbt",
        doc_md=_document(
            "所有来源落地后构建仓库；每天夜里也会构建一次，因此一个来源中断不会阻断整条链路。",
            "Runs when every source has landed, and nightly in any case: a broken source does not block the road.",
            {"写入 writes": "warehouse.duckdb, which has one writer: one active run with one active task."},
        ),
        schedule=AssetOrTimeSchedule(timetable=policy.schedule(WAREHOUSE_CRON), assets=landed),
        max_active_tasks=1,
        tags=[workspace.name, "warehouse"],
        **policy.dag_arguments(policy.PLATFORM_OWNER, 60, workspace.paths.state),
    ) as dag:
        built = step(workspace, "build", produces=asset(workspace, "marts"))
        built >> step(workspace, "data_docs") >> step(workspace, "catalogue")
    return dag


def features_dag(workspace: Workspace) -> DAG:
    """Carry new feature values to the online store."""
    with DAG(
        dag_id="materialize_features",
        description="将特征写入在线存储 · carry the features to the online store",
        doc_md=_document(
            "集市更新后，注册特征视图并把新值写入在线存储，重建滑动窗口，再抽样核对离线与在线一致。",
            "After the marts were built: apply the feature views and write new values to the online store, bring the "
            "sliding windows up to what landed, then compare a sample online with history.",
        ),
        schedule=[asset(workspace, "marts")],
        tags=[workspace.name, "features"],
        **policy.dag_arguments(policy.PLATFORM_OWNER, 60, workspace.paths.state),
    ) as dag:
        written = step(workspace, "materialize", produces=asset(workspace, "features"))
        written >> step(workspace, "features.rebuild_windows") >> step(workspace, "features.parity")
        written >> step(workspace, "applications.prefill")
    return dag


def features_check_dag(workspace: Workspace) -> DAG:
    """Hold the online store against history and against the contracts' freshness, whatever was materialized when."""
    with DAG(
        dag_id="check_features",
        description="核对在线特征的一致性与新鲜度 · check parity and freshness of the online features",
        doc_md=_document(
            "按时抽样核对离线与在线特征逐值一致，并检查各视图的新鲜度；不符时任务失败并写入告警。",
            "By the clock: a sample of online vectors must equal history, and no view may be older than its contract "
            "allows. What differs fails the task and writes an alert.",
        ),
        schedule=policy.schedule(CHECK_CRON),
        tags=[workspace.name, "features"],
        **policy.dag_arguments(policy.PLATFORM_OWNER, 30, workspace.paths.state),
    ) as dag:
        step(workspace, "features.parity")
        if not workspace.definition.simulated:
            # The time of a simulated city stands still: its data are as old as the simulation.
            step(workspace, "features.freshness")
    return dag


def monitoring_dag(workspace: Workspace) -> DAG:
    """See month by month, as outcomes come in, how the champion does."""
    with DAG(
        dag_id="monitor_models",
        description="按月监测模型表现与漂移 · watch the champion's performance and drift by month",
        doc_md=_document(
            "训练集更新后，用新到的还款结果逐月计算 AUC、KS、PSI、校准等指标；发现漂移则触发重新训练。",
            "After outcomes were joined with features: monthly AUC, KS, PSI and calibration. "
            "Drift starts a retraining; without a champion, or without drift, the rest is skipped.",
        ),
        schedule=[asset(workspace, "training_set")],
        tags=[workspace.name, "training", "monitoring"],
        **policy.dag_arguments(policy.PLATFORM_OWNER, 60, workspace.paths.state),
    ) as dag:
        step(workspace, "monitor") >> step(workspace, "drifted", produces=asset(workspace, "drift"))
    return dag


def training_dag(workspace: Workspace) -> DAG:
    """Train the sub-models and the ensemble when that is due: on drift, by age, or for the first time."""
    with DAG(
        dag_id="train_models",
        description="拼接训练集，到期则训练 · join the training set, and train when that is due",
        doc_md=_document(
            "拼接结果与特征；首次、发现漂移或达到规定天数时训练，否则跳过。数据没有变化时也跳过。",
            "Joins outcomes with features; trains for the first time, on drift, and when the last training is old "
            "enough (`strategies/models.yaml`). Training is skipped otherwise, and while the data are unchanged.",
        ),
        schedule=AssetOrTimeSchedule(
            timetable=policy.schedule(RETRAINING_CRON),
            assets=asset(workspace, "features") | asset(workspace, "drift"),
        ),
        tags=[workspace.name, "training"],
        **policy.dag_arguments(policy.PLATFORM_OWNER, 120, workspace.paths.state),
    ) as dag:
        joined = step(workspace, "training_set", produces=asset(workspace, "training_set"))
        joined >> step(workspace, "retraining_due") >> step(workspace, "train", produces=asset(workspace, "candidate"))
    return dag


def promotion_dag(workspace: Workspace) -> DAG:
    """Hold the candidate against the gate; what passes tries beside the champion."""
    with DAG(
        dag_id="promote_ensemble",
        description="候选模型过闸并成为影子或挑战者 · hold the candidate against the gate; it shadows or challenges",
        doc_md=_document(
            "候选模型通过闸门后成为影子或挑战者，在线服务随后加载；只有经人批准才成为冠军。"
            "被拒绝时任务失败且不重试，并写入告警。",
            "A candidate that passes the gate shadows or challenges the champion; it becomes champion only by a "
            "person's approval. A refusal fails the task without a retry and writes an alert.",
        ),
        schedule=[asset(workspace, "candidate")],
        tags=[workspace.name, "training", "promotion"],
        **policy.dag_arguments(policy.PLATFORM_OWNER, 30, workspace.paths.state),
    ) as dag:
        step(workspace, "nominate", produces=asset(workspace, "bundle")) >> step(workspace, "report")
    return dag


def retention_dag(workspace: Workspace) -> DAG:
    """Take out each day what has become older than its contract allows."""
    with DAG(
        dag_id="apply_retention",
        description="按契约期限删除过期记录 · take out records that are older than their contract allows",
        doc_md=_document(
            "每天在夜间构建之前删除超过契约保存期限的记录，并写入审计链；随后的构建不再包含它们。",
            "Each day before the nightly build: records older than their contract's retention are taken out, which the "
            "audit trail tells; the build that follows is without them.",
        ),
        schedule=policy.schedule(RETENTION_CRON),
        tags=[workspace.name, "governance"],
        **policy.dag_arguments(policy.PLATFORM_OWNER, 60, workspace.paths.state),
    ) as dag:
        step(workspace, "retention")
    return dag


def expiry_dag(workspace: Workspace) -> DAG:
    """End applications whose time is over, also those that nobody looks at."""
    with DAG(
        dag_id="expire_applications",
        description="使超期的申请失效 · end applications whose time is over",
        doc_md=_document(
            "每刻钟一次：超期的草稿、待审申请与授信方案失效，并写入申请历史。",
            "Four times an hour: drafts, waiting applications and offers whose time is over end, and their history "
            "says so.",
        ),
        schedule=policy.schedule(EXPIRY_CRON),
        tags=[workspace.name, "applications"],
        **policy.dag_arguments(policy.PLATFORM_OWNER, 10, workspace.paths.state),
    ) as dag:
        step(workspace, "applications.expire")
    return dag


def _document(zh: str, en: str, facts: dict[str, str] | None = None) -> str:
    rows = [f"- **{key}**: {value}" for key, value in (facts or {}).items() if value]
    return "\n\n".join([zh, en, *(["\n".join(rows)] if rows else [])])


_workspace = Workspace.load(get_settings().workspace)
for _contract in _workspace.sources.values():
    globals()[f"ingest_{_contract.name}"] = ingest_dag(_workspace, _contract)
build_warehouse = warehouse_dag(_workspace)
materialize_features = features_dag(_workspace)
check_features = features_check_dag(_workspace)
monitor_models = monitoring_dag(_workspace)
train_models = training_dag(_workspace)
promote_ensemble = promotion_dag(_workspace)
apply_retention = retention_dag(_workspace)
expire_applications = expiry_dag(_workspace)
