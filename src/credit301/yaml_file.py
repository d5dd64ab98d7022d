"""YAML files read strictly: an unknown or misplaced key is an error that names file, line and path."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from credit301.errors import ContractError
from credit301.yaml_plain import load_plain

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]


def read(path: Path) -> str:
    """The text of the file.

    Raises:
        ContractError: it does not exist.
    """
    if not path.is_file():
        raise ContractError(f"{path} does not exist.")
    return path.read_text(encoding="utf-8")


class YamlFile:
    """One YAML document with the line of each of its nodes.

    Args:
        path: the file, which messages name.
        text: its content where that was read already.

    Raises:
        ContractError: the file does not exist, is not YAML, or is not a mapping.
    """

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        if text is None:
            text = read(path)
        self._text = text
        try:
            self._document = load_plain(text)
        except (yaml.YAMLError, ValueError):
            self._document = self.data
        if not isinstance(self._document, dict):
            raise ContractError(f"{path}:1: expected a mapping of keys to values.")

    @cached_property
    def data(self) -> Any:
        """The document with the line of each node, which takes ten times as long to read: for who needs lines."""
        try:
            return YAML(typ="rt").load(self._text)
        except MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            raise ContractError(f"{self.path}:{line}: not valid YAML: {error.problem}.") from error

    def line(self, location: Location) -> int:
        """Line (from 1) of the node at ``location``, or of its nearest known parent.

        A step that names no node is passed over: pydantic names there which of several models was tried.
        """
        node: Any = self.data
        line = 1
        for step in location:
            if isinstance(node, CommentedMap) and step in node:
                line = int(node.lc.key(step)[0]) + 1
            elif isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node):
                line = int(node.lc.item(step)[0]) + 1
            else:
                continue
            node = node[step]
        return line

    def error(self, location: Location, message: str) -> ContractError:
        """An error about the node at ``location``."""
        where = ".".join(str(step) for step in location)
        return ContractError(
            f"{self.path}:{self.line(location)}: {where}: {message}" if where else f"{self.path}: {message}"
        )

    def plain(self, node: Any = None) -> Any:
        """``node`` (default: the document) as plain dicts, lists and scalars."""
        node = self._document if node is None else node
        if isinstance(node, dict):
            return {str(key): self.plain(value) if value is not None else None for key, value in node.items()}
        if isinstance(node, list):
            return [self.plain(value) if value is not None else None for value in node]
        if isinstance(node, bool):
            return bool(node)
        for kind in (int, float, str):
            if isinstance(node, kind):
                return kind(node)
        return node

    def parse(self, model: type[Model], node: Any = None, at: Location = ()) -> Model:
        """``node`` as ``model``.

        Raises:
            ContractError: with the line of the first offending key, and how many more there are.
        """
        try:
            return model.model_validate(self.plain(node))
        except ValidationError as error:
            raise self.invalid(error, at) from error

    def invalid(self, error: ValidationError, at: Location = ()) -> ContractError:
        """``error`` about the node at ``at``, with its line; an unknown key comes before what else is wrong."""
        problems = error.errors()
        first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        return self.error((*at, *first["loc"]), f"{message}{more}.")
