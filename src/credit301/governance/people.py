"""Who acts from the command line, for the audit trail."""

from __future__ import annotations

import getpass

COMMAND_LINE = "command line"


def acting() -> str:
    """The account that runs this process."""
    try:
        return f"{COMMAND_LINE}: {getpass.getuser()}"
    except (KeyError, OSError):  # an account without a name, as in some containers
        return COMMAND_LINE
