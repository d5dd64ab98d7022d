"""A fitted model as a bundle: the feature plan of the contracts, models, stack, calibration, reasons."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from credit301.contracts.model import Feature
from credit301.derive.features import view_spec
from credit301.domain.text import Text
from credit301.features.windows.definition import window_names
from credit301.model import additive
from credit301.model.bundle import (
    AdditiveTerm,
    Bundle,
    Ensemble,
    FeatureSpec,
    Manifest,
    Reason,
    Scale,
    SubModel,
    Term,
    ViewSpec,
)
from credit301.strategy.folder import folders, load_all

if TYPE_CHECKING:
    from credit301.contracts.model import Contract
    from credit301.contracts.model import Text as ContractText
    from credit301.workspace import Workspace
    from training.dataset import Categories
    from training.fitting import FittedEnsemble

COLUMNS, SUMS = "models/additive.json", "models/additive.npy"


def assemble(
    workspace: Workspace,
    fitted: FittedEnsemble,
    categories: Categories,
    *,
    version: str,
    created_at: str,
    metrics: dict[str, Any] | None = None,
    cut_off: float | None = None,
) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest (without hashes) and files of ``fitted``, ready for :func:`credit301.model.bundle.write`.

    Args:
        workspace: whose contracts go in.
        fitted: the model.
        categories: known values of every categorical feature by column, also of sources without a sub-model.
        version: name of the bundle.
        created_at: ISO time.
        metrics: what the evaluation found.
        cut_off: as :func:`highest_cut_off` reads it; a model that is only evaluated needs none.
    """
    contracts = workspace.featured()
    files = {_model_file(source.model.spec.name): source.model.text.encode("utf-8") for source in fitted.sources}
    if fitted.additive is not None:
        files[COLUMNS], files[SUMS] = additive.write(fitted.additive.spec, fitted.additive.sums)
    manifest = Manifest(
        workspace=workspace.name,
        version=version,
        created_at=created_at,
        entity_key=workspace.entity.key,
        feature_project=workspace.name,
        views=tuple(_view(contract, categories) for contract in contracts),
        submodels=tuple(
            SubModel(
                name=source.model.spec.name,
                level="source",
                dimension=source.model.spec.dimension,
                view=source.model.spec.name,
                features=tuple(item.name for item in source.model.spec.inputs),
                file=_model_file(source.model.spec.name),
            )
            for source in fitted.sources
        ),
        ensemble=_ensemble(fitted),
        calibration=fitted.calibration,
        scale=Scale(),
        reasons={f"{c.name}:{f.name}": _reason(f) for c in contracts for f in c.features},
        dimensions={name: _text(text) for name, text in workspace.definition.dimensions.items()},
        cut_off=cut_off,
        metrics=metrics or {},
        feature_version=feature_version(workspace),
        windows=window_names(workspace),
    )
    return manifest, files


def _ensemble(fitted: FittedEnsemble) -> Ensemble:
    stack = fitted.stack
    weights, constants = stack.weights.tolist(), stack.missing_logits.tolist()
    return Ensemble(
        kind="logistic",
        intercept=stack.intercept,
        terms=tuple(
            Term(submodel=source.model.spec.name, weight=weight, missing_logit=constant)
            for source, weight, constant in zip(fitted.sources, weights, constants, strict=False)
        ),
        additive=None if fitted.additive is None else AdditiveTerm(weight=weights[-1], columns=COLUMNS, sums=SUMS),
    )


def in_memory(manifest: Manifest, files: dict[str, bytes]) -> Bundle:
    """A bundle that is not written anywhere, for scoring during evaluation."""
    return Bundle(manifest=manifest, files=files, sha256="")


def highest_cut_off(workspace: Workspace) -> float | None:
    """The highest probability that a strategy of the workspace lets pass; ``None`` where it has no strategy.

    Raises:
        ContractError, StrategyError: a strategy does not hold, or reads what there is not; the message names the place.
    """
    if not folders(workspace):
        return None
    return max(strategy.definition.cut_off for strategy in load_all(workspace))


def feature_version(workspace: Workspace) -> str:
    """16 hex digits that change when what a feature means does: its definition, or its source's key and times."""
    plan = [
        [
            contract.name,
            contract.primary_key,
            contract.time.model_dump(),
            contract.edges and contract.edges.model_dump(),
            [feature.model_dump(mode="json", include=_MEANING) for feature in contract.features],
        ]
        for contract in workspace.featured()
    ]
    return hashlib.sha256(msgspec.json.encode(plan, order="deterministic")).hexdigest()[:16]


_MEANING = set(Feature.model_fields) - {"label", "unit", "adverse", "favourable"}


def _view(contract: Contract, categories: Categories) -> ViewSpec:
    return ViewSpec(
        name=contract.name,
        dimension=contract.dimension,
        features=tuple(
            FeatureSpec(
                name=feature.name,
                kind=feature.kind,
                categories=categories[f"{contract.name}__{feature.name}"] if feature.kind == "category" else None,
                label=_text(feature.label),
                unit=feature.unit,
            )
            for feature in contract.features
        ),
        title=_text(contract.title),
        field=view_spec(contract).field,
        ttl_seconds=contract.online.ttl_seconds,
    )


def _reason(feature: Feature) -> Reason:
    """The contract's words, else a sentence around the feature's label."""
    label = feature.label
    adverse = feature.adverse or {"zh": f"{label.zh}推高了风险", "en": f"{label.en} raises the risk"}
    favourable = feature.favourable or {"zh": f"{label.zh}降低了风险", "en": f"{label.en} lowers the risk"}
    return Reason(adverse=_text(adverse), favourable=_text(favourable))


def _text(text: ContractText | dict[str, str]) -> Text:
    return Text(**text) if isinstance(text, dict) else Text(zh=text.zh, en=text.en)


def _model_file(source: str) -> str:
    return f"models/{source}.txt"
