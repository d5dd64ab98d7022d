"""What can be wrong with a strategy, and with what it is asked."""

from __future__ import annotations

from credit301.errors import Credit301Error


class StrategyError(Credit301Error):
    """A strategy's file says something that cannot be; the message names the file, the node and the cell."""


class ValueMissing(Credit301Error):
    """A value that is not known would have decided; nothing is concluded from its absence.

    Args:
        node: name of the node that asked.
        rule: id of the table's row, or key of the expression.
        field: what was not known.
    """

    def __init__(self, node: str, rule: str, field: str) -> None:
        super().__init__(
            f"{node}, {rule}: {field} is not known, and no row says what that means.",
            hint="Add a row above with the cell `null` for it, or let the strategy's fallback decide.",
        )
        self.node, self.rule, self.field = node, rule, field
