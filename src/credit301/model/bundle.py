"""The bundle: the directory in which training hands a model to serving.

A bundle is a ``manifest.json`` and the models that it names (LightGBM's text, and the additive model's numbers), each
with its SHA-256. Nothing in it is
executable: no pickle, no code. The manifest says what to read from the online store, how the sub-models' log-odds
become one probability, and what each feature means to a person.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from credit301.domain.text import Text
from credit301.errors import ModelError

MANIFEST = "manifest.json"
FORMAT: Literal[2] = 2


class FeatureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature of a view; ``categories`` are the values known at training in code order, ``None`` for a number."""

    name: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] | None = None
    label: Text | None = None
    unit: str = ""


class ViewSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature view, which is one source.

    ``field`` is where its rows are in an entity's hash (empty: under its name), so that another version of the view may
    be written beside the one that this bundle was trained on. A row is used until ``ttl_seconds`` after its event time;
    0 is for ever.
    """

    name: str
    dimension: str
    features: tuple[FeatureSpec, ...]
    title: Text | None = None
    field: str = ""
    ttl_seconds: int = 0


class SubModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One source's model: its log-odds are the raw LightGBM score of ``features`` (in this order) + ``logit_shift``."""

    name: str
    level: Literal["source"]
    dimension: str
    view: str
    features: tuple[str, ...]
    file: str
    logit_shift: float = 0.0


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sub-model's place in the ensemble: ``weight`` times its log-odds, or ``missing_logit`` without data."""

    submodel: str
    weight: float
    missing_logit: float


class AdditiveTerm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The additive model over all sources: ``weight`` times its log-odds (:mod:`credit301.model.additive`)."""

    weight: float
    columns: str
    sums: str


class Ensemble(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``z = intercept + sum(term) + additive``, in log-odds of default."""

    kind: Literal["logistic"]
    intercept: float
    terms: tuple[Term, ...]
    additive: AdditiveTerm | None = None


class Platt(msgspec.Struct, frozen=True, tag_field="kind", tag="platt", forbid_unknown_fields=True):
    """Calibrated log-odds = ``a * z + b``."""

    a: float
    b: float


class Isotonic(msgspec.Struct, frozen=True, tag_field="kind", tag="isotonic", forbid_unknown_fields=True):
    """Calibrated log-odds: linear between the points (``z``, ``log_odds``), constant outside them."""

    z: tuple[float, ...]
    log_odds: tuple[float, ...]


class Identity(msgspec.Struct, frozen=True, tag_field="kind", tag="identity", forbid_unknown_fields=True):
    """The log-odds are calibrated already."""


Calibration = Platt | Isotonic | Identity


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Points: ``base_score`` at odds ``base_odds``:1 of not defaulting, ``points_to_double_odds`` more for twice."""

    base_score: float = 600.0
    base_odds: float = 20.0
    points_to_double_odds: float = 40.0


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a feature is called in an explanation when it raised, and when it lowered, the probability of default."""

    adverse: Text
    favourable: Text


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a bundle. ``files`` is filled by :func:`write`; ``reasons`` is keyed ``<view>:<feature>``.

    ``windows`` names the sliding windows over events that strategies may read beside the features. ``cut_off`` is the
    highest probability that the strategies let pass when it was trained, by which its groups are looked at.
    """

    format: Literal[2] = FORMAT
    workspace: str
    version: str
    created_at: str
    entity_key: str
    feature_project: str
    views: tuple[ViewSpec, ...]
    submodels: tuple[SubModel, ...]
    ensemble: Ensemble
    calibration: Calibration
    scale: Scale = Scale()
    reasons: dict[str, Reason] = {}
    dimensions: dict[str, Text] = {}
    cut_off: float | None = None
    metrics: dict[str, Any] = {}
    feature_version: str = ""
    windows: tuple[str, ...] = ()
    files: dict[str, str] = {}


class Bundle(msgspec.Struct, frozen=True):
    """A verified bundle in memory; ``sha256`` is the digest of its manifest file, which covers every other file.

    ``text`` is that file; like the digest it is empty for a bundle that was never written.
    """

    manifest: Manifest
    files: dict[str, bytes]
    sha256: str
    text: bytes = b""

    @property
    def version(self) -> str:
        """The version that training gave it."""
        return self.manifest.version


def write(directory: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle as ``directory`` in one step: it is there whole, or not at all.

    Args:
        directory: the bundle's place; a bundle already there is replaced.
        manifest: its ``files`` are computed here.
        files: content by relative POSIX path, such as ``models/tax_declaration.txt``.

    Raises:
        ModelError: the manifest contradicts itself, or names a file that is not given.
    """
    for name in files:
        _check_path(name)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    manifest = msgspec.structs.replace(manifest, files=hashes)
    check(manifest)
    text = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2)
    _place(directory, {MANIFEST: text, **files})
    return Bundle(manifest=manifest, files=dict(files), sha256=hashlib.sha256(text).hexdigest(), text=text)


def read(directory: Path, *, sha256: str | None = None) -> Bundle:
    """Read the bundle in ``directory``, verifying every file.

    Args:
        directory: where ``manifest.json`` is.
        sha256: digest that the manifest file must have, where the caller was told one.

    Raises:
        ModelError: a file is missing or is not the one that was written, or the manifest is malformed.
    """
    text = _read_file(directory, MANIFEST)
    digest = hashlib.sha256(text).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ModelError(
            f"The manifest of the bundle {directory.name} is not the one that was registered "
            f"(SHA-256 {digest[:12]}..., expected {sha256[:12]}...).",
            hint="Promote the version again; the bundle was changed after the gate.",
        )
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise ModelError(
            f"The manifest of the bundle {directory.name} cannot be read: {error}.",
            hint="It was written by another version of the format, or damaged; train or promote again.",
        ) from error
    check(manifest)
    files = {}
    for name, expected in manifest.files.items():
        content = _read_file(directory, name)
        if hashlib.sha256(content).hexdigest() != expected:
            raise ModelError(
                f"The file {name} of the bundle {manifest.version} does not have the SHA-256 in its manifest.",
                hint="It was damaged or changed after training; copy the bundle again or promote the version again.",
            )
        files[name] = content
    return Bundle(manifest=manifest, files=files, sha256=digest, text=text)


def store(directory: Path, bundle_files: Mapping[str, bytes], *, sha256: str) -> Bundle:
    """Keep a bundle that came from elsewhere, byte by byte as it came, if it verifies.

    Args:
        directory: the bundle's place; one already there is replaced.
        bundle_files: content by path, with ``manifest.json``.
        sha256: digest that the manifest must have.

    Raises:
        ModelError: as :func:`read`; nothing is kept then.
    """
    for name in bundle_files:
        if name != MANIFEST:
            _check_path(name)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as folder:
        candidate = Path(folder) / directory.name
        _place(candidate, bundle_files)
        bundle = read(candidate, sha256=sha256)
    _place(directory, bundle_files)
    return bundle


def verify(directory: Path, *, sha256: str | None = None) -> str:
    """Verify the bundle in ``directory`` as :func:`read` does, and return its version."""
    return read(directory, sha256=sha256).version


def check(manifest: Manifest) -> None:
    """Check what types cannot say.

    Raises:
        ModelError: the first contradiction found.
    """
    views = {view.name: view for view in manifest.views}
    models = {model.name: model for model in manifest.submodels}
    terms = {term.submodel for term in manifest.ensemble.terms}
    _ensure(len(views) == len(manifest.views) > 0, "there is no view, or two have the same name")
    _ensure(len(models) == len(manifest.submodels) > 0, "there is no sub-model, or two have the same name")
    _ensure(len(terms) == len(manifest.ensemble.terms), "a sub-model has two terms in the ensemble")
    _ensure(terms == set(models), "the ensemble's terms are not the sub-models")
    read = [model.view for model in manifest.submodels]
    _ensure(len(set(read)) == len(read), "two sub-models read the same view")
    for view in manifest.views:
        names = [feature.name for feature in view.features]
        _ensure(len(set(names)) == len(names) > 0, f"view {view.name} has no feature, or one twice")
        for feature in view.features:
            where = f"{view.name}:{feature.name}"
            _ensure((feature.kind == "category") == (feature.categories is not None), f"{where}: categories and kind")
    for model in manifest.submodels:
        _ensure(model.view in views, f"sub-model {model.name} reads view {model.view}, which is not there")
        known = {feature.name for feature in views[model.view].features}
        unknown = sorted(set(model.features) - known)
        _ensure(not unknown, f"sub-model {model.name} reads unknown features {', '.join(unknown)}")
        _ensure(model.file in manifest.files, f"the file {model.file} of sub-model {model.name} is not in the bundle")
    additive = manifest.ensemble.additive
    if additive is not None:
        _ensure(additive.weight >= 0, "the additive model's weight is below zero")
        for file in (additive.columns, additive.sums):
            _ensure(file in manifest.files, f"the file {file} of the additive model is not in the bundle")
    for name in manifest.files:
        _check_path(name)
    match manifest.calibration:
        case Platt(a=a):
            _ensure(a > 0, "calibration: a must be above zero, or the order of applicants is lost")
        case Isotonic(z=z, log_odds=log_odds):
            _ensure(len(z) == len(log_odds) > 0, "calibration: z and log_odds differ in length")
            _ensure(all(left < right for left, right in pairwise(z)), "calibration: z must increase")
            _ensure(list(log_odds) == sorted(log_odds), "calibration: log_odds must not decrease")
    scale = manifest.scale
    _ensure(scale.base_odds > 0 and scale.points_to_double_odds > 0, "scale: odds and points must be above zero")


def _place(directory: Path, files: Mapping[str, bytes]) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        for name, content in files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        staging.chmod(0o755)
        if directory.exists():
            # A directory cannot be renamed over one that has files: the old one steps aside first.
            old = Path(tempfile.mkdtemp(prefix=f".{directory.name}.old.", dir=directory.parent))
            directory.rename(old / directory.name)
            staging.rename(directory)
            shutil.rmtree(old)
        else:
            staging.rename(directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _ensure(condition: bool, problem: str) -> None:
    if not condition:
        raise ModelError(f"The bundle's manifest contradicts itself: {problem}.")


def _check_path(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or name == MANIFEST or str(path) != name:
        raise ModelError(f"{name!r} is not a path inside a bundle.")


def _read_file(directory: Path, name: str) -> bytes:
    try:
        return (directory / name).read_bytes()
    except OSError as error:
        raise ModelError(
            f"The bundle {directory.name} has no readable {name} ({error.strerror}).",
            hint="Copy the bundle again, or train and promote one.",
        ) from error
