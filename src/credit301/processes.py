"""Starting other programs so that they never outlive what started them."""

from __future__ import annotations

import shutil
import signal


def dies_with_its_parent(sent: signal.Signals = signal.SIGTERM) -> tuple[str, ...]:
    """Prefix of a command that gets the signal ``sent`` when its parent dies, however that comes about.

    Nothing where the system has no such means (it is Linux's).
    """
    setpriv = shutil.which("setpriv")
    return (setpriv, f"--pdeathsig={sent.name.removeprefix('SIG')}", "--") if setpriv else ()
