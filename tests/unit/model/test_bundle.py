"""The bundle: what is written is what is read, or a clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from credit301.errors import ModelError
from credit301.model import bundle
from credit301.model.bundle import AdditiveTerm, Isotonic, Manifest, Platt
from tests.support.scoring import Trained, trained


@pytest.fixture
def model() -> Trained:
    return trained()


@pytest.fixture
def written(tmp_path: Path, model: Trained) -> Path:
    bundle.write(tmp_path / "v1", model.manifest, model.files)
    return tmp_path / "v1"


def test_a_bundle_reads_back_as_it_was_written(written: Path, model: Trained) -> None:
    read = bundle.read(written)
    assert read.files == model.files
    assert msgspec.structs.replace(read.manifest, files={}) == model.manifest
    assert read.version == "v1"


def test_the_digest_is_that_of_the_manifest_file_and_is_checked(written: Path) -> None:
    digest = bundle.read(written).sha256
    assert bundle.verify(written, sha256=digest) == "v1"
    with pytest.raises(ModelError, match="not the one that was registered"):
        bundle.read(written, sha256="0" * 64)


def test_a_changed_model_file_is_found(written: Path) -> None:
    path = written / "models" / "tax_declaration.txt"
    path.write_bytes(path.read_bytes().replace(b"leaf_value=", b"leaf_value= ", 1))
    with pytest.raises(ModelError, match=r"tax_declaration\.txt .* does not have the SHA-256"):
        bundle.read(written)


def test_a_missing_model_file_is_found(written: Path) -> None:
    (written / "models" / "tax_declaration.txt").unlink()
    with pytest.raises(ModelError, match=r"no readable models/tax_declaration\.txt"):
        bundle.read(written)


def test_a_directory_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no readable manifest\.json"):
        bundle.read(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("format", 1), ("views", []), ("unheard_of", 1), ("ensemble", {"kind": "neural"}), ("files", {"../x": "0"})],
)
def test_a_manifest_of_another_form_is_refused(written: Path, key: str, value: object) -> None:
    path = written / bundle.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ModelError):
        bundle.read(written)


def test_bytes_that_are_not_json_are_refused(written: Path) -> None:
    (written / bundle.MANIFEST).write_bytes(b"\x80\x04pickle")
    with pytest.raises(ModelError, match="cannot be read"):
        bundle.read(written)


replace = msgspec.structs.replace


def _submodel(manifest: Manifest, **changes: object) -> Manifest:
    first, *others = manifest.submodels
    return replace(manifest, submodels=(replace(first, **changes), *others))


BROKEN: dict[str, Callable[[Manifest], Manifest]] = {
    "a sub-model without a term": lambda m: replace(m, ensemble=replace(m.ensemble, terms=m.ensemble.terms[1:])),
    "a view that is not there": lambda m: _submodel(m, view="elsewhere"),
    "a feature that is not there": lambda m: _submodel(m, features=("unknown",)),
    "a file that is not there": lambda m: _submodel(m, file="models/other.txt"),
    "an additive model that is not there": lambda m: replace(
        m, ensemble=replace(m.ensemble, additive=AdditiveTerm(1.0, "models/a.json", "models/a.npy"))
    ),
    "an additive model that is turned around": lambda m: replace(
        m, ensemble=replace(m.ensemble, additive=AdditiveTerm(-1.0, m.submodels[0].file, m.submodels[0].file))
    ),
    "one view read twice": lambda m: _submodel(m, view=m.submodels[1].view, features=()),
    "a calibration that turns the order round": lambda m: replace(m, calibration=Platt(a=-1.0, b=0.0)),
    "isotonic log-odds that fall": lambda m: replace(m, calibration=Isotonic(z=(0.0, 1.0), log_odds=(1.0, 0.0))),
    "isotonic points that coincide": lambda m: replace(m, calibration=Isotonic(z=(0.0, 0.0), log_odds=(0.0, 1.0))),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_a_manifest_that_contradicts_itself_is_not_written(tmp_path: Path, model: Trained, case: str) -> None:
    with pytest.raises(ModelError, match="contradicts itself"):
        bundle.write(tmp_path / "v", BROKEN[case](model.manifest), model.files)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../out.txt", "/etc/x", "a/../../b", bundle.MANIFEST, "a//b"])
def test_a_file_outside_the_bundle_is_not_written(tmp_path: Path, model: Trained, name: str) -> None:
    with pytest.raises(ModelError, match="not a path inside"):
        bundle.write(tmp_path / "v", model.manifest, {**model.files, name: b""})


def test_writing_again_replaces_the_whole_bundle_and_leaves_nothing_behind(tmp_path: Path, model: Trained) -> None:
    bundle.write(tmp_path / "v", model.manifest, {**model.files, "extra.txt": b"old"})
    bundle.write(tmp_path / "v", model.manifest, model.files)
    assert not (tmp_path / "v" / "extra.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, model: Trained) -> None:
    first = bundle.write(tmp_path / "a", model.manifest, model.files)
    second = bundle.write(tmp_path / "b", model.manifest, dict(reversed(model.files.items())))
    assert first.sha256 == second.sha256


def test_a_bundle_from_elsewhere_is_kept_byte_by_byte(tmp_path: Path, written: Path) -> None:
    files = {str(path.relative_to(written)): path.read_bytes() for path in written.rglob("*") if path.is_file()}
    digest = bundle.read(written).sha256
    assert bundle.store(tmp_path / "copy", files, sha256=digest) == bundle.read(tmp_path / "copy", sha256=digest)


def test_a_damaged_bundle_from_elsewhere_is_not_kept(tmp_path: Path, written: Path) -> None:
    files = {str(path.relative_to(written)): path.read_bytes() for path in written.rglob("*") if path.is_file()}
    digest = bundle.read(written).sha256
    with pytest.raises(ModelError, match="SHA-256"):
        bundle.store(tmp_path / "copy", {**files, "models/tax_declaration.txt": b"tree\n"}, sha256=digest)
    assert not (tmp_path / "copy").exists()
