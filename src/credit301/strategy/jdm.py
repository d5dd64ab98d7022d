"""The form of a decision graph: JSON Decision Model, as GoRules' editor reads and writes it (gorules.io, MIT)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from credit301.strategy.errors import StrategyError

CONTENT_TYPE = "application/vnd.gorules.decision"


class _Part(BaseModel):
    """The editor keeps more than is evaluated (positions, names of types): what is not named here is its own."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Column(_Part):
    """A column of a table: ``field`` is a path into the context, or of the result."""

    id: str
    name: str = ""
    field: Annotated[str, Field(min_length=1)]


class _Content(_Part):
    """What tables and expressions have in common.

    With ``pass_through`` the node says all that it was given, too; ``output_path`` is where in it its own words go.
    """

    pass_through: Annotated[bool, Field(alias="passThrough")] = False
    output_path: Annotated[str | None, Field(alias="outputPath")] = None
    input_field: Annotated[None, Field(alias="inputField")] = None
    execution_mode: Annotated[Literal["single"] | None, Field(alias="executionMode")] = None

    @field_validator("output_path", "input_field", mode="before")
    @classmethod
    def _said(cls, value: Any) -> Any:
        # The editor writes an empty text where nothing is said.
        return value or None


class TableContent(_Content):
    """Rows map a column's id to the text of a cell; the ids that begin with an underscore are the editor's."""

    hit_policy: Annotated[Literal["first", "collect"], Field(alias="hitPolicy")] = "first"
    inputs: tuple[Column, ...] = ()
    outputs: Annotated[tuple[Column, ...], Field(min_length=1)]
    rules: tuple[dict[str, str], ...]


class Expression(_Part):
    """``key`` of the result is what ``value`` says."""

    id: str
    key: Annotated[str, Field(min_length=1)]
    value: Annotated[str, Field(min_length=1)]


class ExpressionContent(_Content):
    """Evaluated in order; ``$`` is what they have said so far."""

    expressions: tuple[Expression, ...]


class Statement(_Part):
    """A way out of a switch, taken if ``condition`` holds; an empty one always does."""

    id: str
    condition: str = ""


class SwitchContent(_Part):
    """Which ways out are taken."""

    hit_policy: Annotated[Literal["first", "collect"], Field(alias="hitPolicy")] = "first"
    statements: Annotated[tuple[Statement, ...], Field(min_length=1)]


class _Node(_Part):
    id: str
    name: Annotated[str, Field(min_length=1)]


class InputNode(_Node):
    """Where the context comes in."""

    type: Literal["inputNode"]


class OutputNode(_Node):
    """Where the result goes out."""

    type: Literal["outputNode"]


class TableNode(_Node):
    """A decision table."""

    type: Literal["decisionTableNode"]
    content: TableContent


class ExpressionNode(_Node):
    """Named expressions."""

    type: Literal["expressionNode"]
    content: ExpressionContent


class SwitchNode(_Node):
    """A fork."""

    type: Literal["switchNode"]
    content: SwitchContent


Node = Annotated[
    InputNode | OutputNode | TableNode | ExpressionNode | SwitchNode,
    Field(discriminator="type"),
]


class Edge(_Part):
    """From one node to the next; ``source_handle`` is the way out of a switch."""

    source_id: Annotated[str, Field(alias="sourceId")]
    target_id: Annotated[str, Field(alias="targetId")]
    source_handle: Annotated[str | None, Field(alias="sourceHandle")] = None


class Document(_Part):
    """A whole graph."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def read(path: Path) -> dict[str, Any]:
    """What is in the file of a graph.

    Raises:
        StrategyError: it cannot be read, or is no JSON object.
    """
    hint = "Save it from the editor as JSON."
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StrategyError(f"{path} cannot be read: {error}.", hint=hint) from error
    if not isinstance(data, dict):
        raise StrategyError(f"{path} is no decision graph.", hint=hint)
    return data


def parse(data: Any, name: str) -> Document:
    """The graph in ``data``, the content of the file called ``name``.

    Raises:
        StrategyError: it is none, or has a node that is not evaluated here (functions, calls of other graphs).
    """
    try:
        return Document.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise StrategyError(
            f"{name}: {where}: {first['msg']}.",
            hint="A strategy is a JDM graph of input, output, decision table, expression and switch nodes.",
        ) from error
