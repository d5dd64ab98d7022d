"""Reads YAML into plain values by libyaml, ten times as fast as the reader that keeps the line of each node.

It knows YAML 1.2 as ruamel.yaml does, whose patterns it takes. Whatever it does not take (a mistake, a key twice, a tag
of one's own) is left to that reader, which says where it stands.
"""

from __future__ import annotations

from typing import Any

import yaml
from ruamel.yaml.resolver import implicit_resolvers
from yaml.constructor import ConstructorError, SafeConstructor

VERSION = (1, 2)
INTEGER, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_BASES = {"0b": 2, "0o": 8, "0x": 16}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML's, without those of YAML 1.1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        found: dict[Any, Any] = SafeConstructor.construct_mapping(self, node, deep)
        if len(found) != len(node.value):
            raise ConstructorError(None, None, "a key stands twice", node.start_mark)
        return found

    def integer(self, node: Any) -> int:
        text = str(node.value).replace("_", "").lower()
        return int(text, _BASES.get(text.lstrip("+-")[:2], 10))

    def float(self, node: Any) -> float:
        # A sexagesimal one is a text in YAML 1.2, and never comes here.
        return float(str(node.value).replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


for _versions, _tag, _pattern, _first in implicit_resolvers:
    if VERSION in _versions:
        _Loader.add_implicit_resolver(_tag, _pattern, _first)
_Loader.add_constructor(INTEGER, _Loader.integer)
_Loader.add_constructor(FLOAT, _Loader.float)


def load_plain(text: str) -> Any:
    """The document in ``text``.

    Raises:
        yaml.YAMLError: it is not YAML, or has something that this reader leaves to another one.
        ValueError: a value that looks like a number or a time is none.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - it makes nothing but plain values
