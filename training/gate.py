"""The gate: examines a registered version and writes its verdict on it, where anybody sees it in the MLflow UI."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit301.errors import Credit301Error, ModelError, NotFound
from credit301.model import bundle as bundles
from credit301.model import promotions
from training import gate_checks, gate_rules, registry, tracking
from training.dataset import require_labels
from training.gate_checks import Candidate
from training.gate_result import Check

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from credit301.model.bundle import Bundle
    from credit301.workspace import Workspace
    from training.registry import Target

TITLES = {
    "bundle_integrity": ("模型包完整性", "bundle integrity"),
    "auc_floor": ("AUC 下限", "AUC floor"),
    "auc_ceiling": ("AUC 上限（防泄漏）", "AUC ceiling (leaks)"),
    "ks_floor": ("KS 下限", "KS floor"),
    "calibration_error": ("校准误差", "calibration error"),
    "brier": ("Brier 分数", "Brier score"),
    "champion": ("不劣于现任冠军", "not worse than the champion"),
    "parity": ("MLflow 模型与评分器一致", "MLflow model equals scorer"),
    "latency": ("评分耗时", "scoring latency"),
    "speed": ("单笔评分耗时中位数", "median time of one row"),
    "stability_training": ("评分稳定性：对比训练样本", "score stability: against training"),
    "stability_champion": ("评分稳定性：对比现任冠军", "score stability: against the champion"),
    "fairness_approval": ("公平性：守约企业通过率", "fairness: approvals of good payers"),
    "fairness_auc": ("公平性：各群体 AUC", "fairness: AUC by group"),
    "fairness_calibration": ("公平性：各群体校准", "fairness: calibration by group"),
    "lost_sources": ("缺任一数据源仍可评分", "scores without any one source"),
    "feature_plan": ("特征与契约一致", "features as in the contracts"),
    "forbidden_attributes": ("无禁用属性", "no forbidden attributes"),
    "strategies": ("策略有效", "valid strategies"),
    "completed": ("检查完成", "examination completed"),
}
REASON_CHARACTERS = 1_000
"""MLflow keeps up to 5,000 characters of a tag; a reason is to be read at a glance."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found about one version."""

    version: str
    checks: tuple[Check, ...]
    bundle_sha256: str
    checked_at: str

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def reason(self) -> str:
        """Short text in both languages: why it was refused, or that it passed."""
        if self.passed:
            return "通过全部检查 | all checks passed"
        zh = "；".join(check.zh for check in self.failed)
        en = "; ".join(check.en for check in self.failed)
        return f"{zh} | {en}"[:REASON_CHARACTERS]

    def description(self) -> str:
        """The verdict as Markdown, for the version's page."""
        head = "### 准入检查通过 · Gate passed" if self.passed else "### 准入检查未通过 · Gate refused"
        lines = [head, "", f"{self.checked_at}", ""]
        lines += [f"- {check.zh}  \n  {check.en}" for check in self.failed]
        lines += ["", "| 检查 check | 结果 result | 实际 found | 要求 required |", "| --- | --- | --- | --- |"]
        for check in self.checks:
            zh, en = TITLES[check.name]
            result = "通过 passed" if check.passed else "**未通过 refused**"
            lines.append(f"| {zh} · {en} | {result} | {_cell(check.value)} | {_cell(check.limit)} |")
        return "\n".join(lines)

    def report(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "version": self.version,
            "passed": self.passed,
            "checked_at": self.checked_at,
            "bundle_sha256": self.bundle_sha256,
            "checks": [[c.name, c.passed, c.value, c.limit] for c in self.checks],
        }


def run(workspace: Workspace, version: str | None = None) -> Verdict:
    """Examine ``version`` (default: the newest) of the workspace's ensemble and write the verdict on it.

    Raises:
        NotFound: no such version is registered.
        ConfigError: the workspace has no rules for the gate.
        ModelError: the registry went away meanwhile; the version then has no verdict.
    """
    require_labels(workspace)
    rules = gate_rules.load(workspace)
    where = registry.target(workspace)
    client = registry.connect(where)
    found = get_version(client, workspace, version)
    with tempfile.TemporaryDirectory() as folder:
        checks = _examine(workspace, rules, client, where, found, Path(folder))
    verdict = Verdict(
        version=str(found.version),
        checks=tuple(checks),
        bundle_sha256=found.tags.get(registry.TAG_SHA256, ""),
        checked_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    name = registry.ensemble_name(workspace)
    client.update_model_version(name, verdict.version, description=verdict.description())
    client.set_model_version_tag(name, verdict.version, registry.TAG_REASON, verdict.reason)
    client.set_model_version_tag(name, verdict.version, registry.TAG_REPORT, tracking.compact(verdict.report()))
    # Last, because the endpoint goes by it: what explains the verdict is there before the verdict is.
    state = registry.PASSED if verdict.passed else registry.REFUSED
    client.set_model_version_tag(name, verdict.version, registry.TAG_GATE, state)
    return verdict


def get_version(client: MlflowClient, workspace: Workspace, version: str | None) -> ModelVersion:
    """The registered version, by default the newest.

    Raises:
        NotFound: there is none, or not this one.
    """
    name = registry.ensemble_name(workspace)
    versions = {str(found.version): found for found in client.search_model_versions(f"name='{name}'")}
    wanted = version or max(versions, key=int, default=None)
    if wanted is None or wanted not in versions:
        known = ", ".join(sorted(versions, key=int)) or "none"
        raise NotFound(
            f"{name} has no version {version or 'at all'}.", hint=f"Registered: {known}. Train one: credit301 train."
        )
    # A search may leave tags out; the version itself has them all.
    return client.get_model_version(name, wanted)


def _examine(
    workspace: Workspace,
    rules: gate_rules.Rules,
    client: MlflowClient,
    where: Target,
    version: ModelVersion,
    folder: Path,
) -> list[Check]:
    from mlflow.exceptions import MlflowException

    try:
        bundle = bundle_of(client, version, folder / "candidate")
        integrity = Check("bundle_integrity", passed=True, value=bundle.sha256[:12], limit="as registered")
        rows = tracking.read_test_rows(client, version.run_id, folder)
        candidate = Candidate(
            workspace,
            rules,
            bundle,
            rows,
            _pyfunc(version),
            _champion(client, workspace, version, folder / "champion"),
            tracking.read_reference_rows(client, version.run_id, folder),
        )
    except (Credit301Error, MlflowException, OSError) as error:
        if not where.local and not registry.is_up(where.uri):
            raise ModelError("The MLflow server went away during the gate.", hint="Run the gate again.") from error
        return [_broken("bundle_integrity", error)]
    try:
        return [integrity, *gate_checks.run(candidate)]
    except (Credit301Error, MlflowException, ValueError, KeyError) as error:
        return [integrity, _broken("completed", error)]


def _broken(name: str, error: Exception) -> Check:
    text = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    zh, en = TITLES[name]
    return Check(name, passed=False, value="failed", limit="-", zh=f"{zh}失败：{text}", en=f"{en} failed: {text}")


def bundle_of(client: MlflowClient, version: ModelVersion, folder: Path) -> Bundle:
    """The version's bundle as MLflow keeps it, verified against the digest in the version's tag.

    Raises:
        ModelError: it has no digest, or is another one.
    """
    digest = version.tags.get(registry.TAG_SHA256)
    if not digest:
        raise ModelError(f"The version has no tag {registry.TAG_SHA256}.", hint="Register it with: credit301 train.")
    folder.mkdir()
    return bundles.read(Path(client.download_artifacts(version.run_id, "bundle", str(folder))), sha256=digest)


def _champion(client: MlflowClient, workspace: Workspace, version: ModelVersion, folder: Path) -> Bundle | None:
    """The bundle of the last version that passed, other than ``version``: the champion to be measured against."""
    holder = promotions.holder(promotions.read(workspace))
    if holder is None or holder.version == str(version.version):
        return None
    number = holder.version
    from mlflow.exceptions import MlflowException

    try:
        return bundle_of(client, client.get_model_version(registry.ensemble_name(workspace), number), folder)
    except (ModelError, MlflowException):
        # A champion that can no longer be read measures nobody; the endpoint does not take it either.
        return None


def _pyfunc(version: ModelVersion) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}").predict


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
