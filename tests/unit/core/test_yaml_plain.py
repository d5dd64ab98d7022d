"""The fast reader of YAML says what the one that keeps lines says, or leaves the document to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from credit301.errors import ContractError
from credit301.yaml_file import YamlFile

REPOSITORY = Path(__file__).parents[3]
FILES = sorted((REPOSITORY / "workspaces").rglob("*.yaml"))
# What the versions of YAML and its readers do not agree on.
DOCUMENTS = (
    "a: yes\nb: on\nc: No\nd: true\ne: FALSE",
    "a: 010\nb: 0o10\nc: 0x1F\nd: 1_000\ne: +7\nf: -0b11\ng: 12:30\nh: 1_0.5",
    "a: 1e3\nb: .inf\nc: -.INF\nd: 1.\ne: .5\nf: 1.5e-3\ng: 1e",
    "a: ~\nb:\nc: null\nd: 'null'\ne: ''",
    "a: 2024-01-01\nb: '2024-01-01'\nc: 2024-01-01T10:00:00\nd: 2024-13\ne: 2024-1-1",
    "a: &x {b: 1}\nc: *x\nd: [*x, 2]\ne: {<<: *x, f: 3}",
    "a: |\n  text\n  more\nb: >\n  folded\n  text\nc: 中文",
    "2: a\ntrue: b\n2.5: c",
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_files_of_the_workspaces_read_alike(path: Path) -> None:
    file = YamlFile(path)
    assert repr(file.plain()) == repr(file.plain(file.data))


@pytest.mark.parametrize("text", DOCUMENTS)
def test_what_readers_disagree_on_reads_alike(text: str) -> None:
    file = YamlFile(Path("a.yaml"), text)
    known = file.plain(YAML(typ="rt").load(text))
    assert file.plain() == known
    # ruamel.yaml has types of its own, below the plain ones.
    assert all(isinstance(known[key], type(value)) for key, value in file.plain().items())


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: 1\nb: 2\na: 3", 3), ("a: [1, 2\nb: 3", 2), ("a: 1\n\tb: 2", 2), ("a: 1\n  b: 2", 2)],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ContractError, match=rf"^a\.yaml:{line}: not valid YAML"):
        YamlFile(Path("a.yaml"), text).plain()


@pytest.mark.parametrize("text", ["", "- a", "text", "3"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match="expected a mapping"):
        YamlFile(Path("a.yaml"), text)
