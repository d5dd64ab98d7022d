"""What a strategy's ``strategy.yaml`` says, and the whole of a strategy as one document."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from credit301.contracts.model import Name, Strict, Text
from credit301.domain.product import Product
from credit301.domain.verdict import Stage
from credit301.strategy.fallback import Fallbacks, RulesOnly

STAGES: tuple[Stage, ...] = ("admission", "fraud", "policy")
"""In the order in which they are asked; the first that declines or refers ends it."""
Mode = Literal["standard", "platform"]
Role = Literal["champion", "challenger", "shadow"]
GraphFile = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.json$")]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Probability = Annotated[float, Field(gt=0, lt=1)]


class MartTable(Strict):
    """A published table that was pulled like any source: a mart, and its columns by the name that graphs use."""

    mart: Name
    columns: Annotated[dict[Identifier, Identifier], Field(min_length=1)]


class Applies(Strict):
    """Whose applications a strategy decides on; what is left out is no condition."""

    banks: tuple[str, ...] = ()
    products: tuple[Name, ...] = ()
    modes: tuple[Mode, ...] = ()

    def to(self, bank: str, product: str | None, mode: Mode | None) -> bool:
        """Whether it decides on an application of this kind."""
        return all(
            not wanted or value in wanted
            for wanted, value in ((self.banks, bank), (self.products, product), (self.modes, mode))
        )

    @property
    def conditions(self) -> int:
        """How many conditions there are: of two strategies that apply, the one with more of them decides."""
        return sum(bool(wanted) for wanted in (self.banks, self.products, self.modes))


class Definition(Strict):
    """A strategy without its graphs and tables.

    A ``champion`` decides; a ``challenger`` on a ``share`` of the enterprises that it applies to, drawn anew in each
    ``round``; a ``shadow`` on nobody. What one decided the others judge afterwards, for comparison.

    Beyond ``cut_off``, a calibrated probability of default within 12 months, nobody is lent to. ``bands`` are the names
    of the risk bands, best first. ``indispensable`` are sources without whose data nobody is decided on, so that they
    must be covered by consent. Graphs see ``parameters`` under that name. ``wording`` says what the codes mean; where a
    bound of the limit has ``{amount}`` in it, that is in yuan. ``unknown_value``: what becomes of an applicant on whom
    a value is not known that would have decided; ``fallbacks``: what else may be missing.
    """

    version: str
    title: Text
    product: Product
    applies_to: Applies = Applies()
    role: Role = "champion"
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    round: str = "1"
    cut_off: Probability
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    indispensable: tuple[Name, ...] = ()
    parameters: dict[Name, Decimal | bool] = Field(default_factory=dict)
    tables: dict[Name, MartTable] = Field(default_factory=dict)
    admission: GraphFile | None = None
    fraud: GraphFile | None = None
    policy: GraphFile
    unknown_value: Literal["decline", "refer"] = "decline"
    fallbacks: Fallbacks = Fallbacks()
    wording: dict[Name, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _distinct(self) -> Definition:
        if len(set(self.bands)) != len(self.bands):
            raise ValueError("two bands have the same name")
        if (self.role == "challenger") != (self.share is not None):
            raise ValueError("share: a challenger has one, and nobody else")
        for key, said in self.fallbacks.capped():
            if said.maximum_amount < self.product.minimum_amount:
                raise ValueError(f"fallbacks: {key} lends less than the product's minimum_amount: say decline instead")
        if isinstance(self.fallbacks.model, RulesOnly) and self.fallbacks.model.probability > self.cut_off:
            raise ValueError("fallbacks: model assumes a probability above the cut_off: say decline instead")
        return self

    def graph_file(self, stage: Stage) -> str | None:
        """The file of a stage's graph; ``None`` where the strategy has no such stage."""
        files: dict[Stage, str | None] = {"admission": self.admission, "fraud": self.fraud, "policy": self.policy}
        return files[stage]


class Document(Strict):
    """A whole strategy: what is compiled, kept for replays, and known by its SHA-256.

    ``labels`` are what the features that its graphs read are called, by ``<view>:<feature>``.
    """

    name: Name
    definition: Definition
    graphs: dict[Stage, dict[str, Any]]
    tables: dict[Name, list[dict[Identifier, Decimal | None]]] = Field(default_factory=dict)
    labels: dict[str, Text] = Field(default_factory=dict)
