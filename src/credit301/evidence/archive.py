"""Models and strategies that have decided, each under its digest, for as long as decisions may be asked about."""

from __future__ import annotations

import hashlib
import threading
from functools import lru_cache
from pathlib import Path

from credit301.errors import AuditError, ModelError, NotFound
from credit301.files import replacing
from credit301.model import bundle as bundles
from credit301.model.bundle import MANIFEST, Bundle
from credit301.strategy.strategy import Strategy


class Archive:
    """Keeps bundles and strategies byte for byte.

    Args:
        folder: where they are kept: a directory for the digest of a bundle, a file for that of a strategy.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[str] = set()
        # Decisions that come at once after a change all find that it is not kept yet; one keeps it, the others wait.
        self._one = threading.Lock()

    def has(self, sha256: str) -> bool:
        """Whether the bundle or strategy is known to be kept."""
        return sha256 in self._kept

    def keep(self, bundle: Bundle) -> None:
        """Keep ``bundle``; one that is kept already stays as it is.

        Raises:
            ModelError: its manifest is not the one that its digest is of.
            OSError: the disk did not take it.
        """
        place = self._folder / bundle.sha256
        with self._one:
            if not (place / MANIFEST).is_file():
                bundles.store(place, {MANIFEST: bundle.text, **bundle.files}, sha256=bundle.sha256)
        self._kept.add(bundle.sha256)

    def keep_strategy(self, strategy: Strategy) -> None:
        """Keep ``strategy``; one that is kept already stays as it is.

        Raises:
            OSError: the disk did not take it.
        """
        path = self._strategy(strategy.sha256)
        with self._one:
            if not path.is_file():
                with replacing(path) as staged:
                    staged.write_bytes(strategy.text)
        self._kept.add(strategy.sha256)

    def keep_both(self, bundle: Bundle | None, strategy: Strategy) -> None:
        """Keep what is about to decide together; ``None`` where no model does.

        Raises:
            ModelError: as :meth:`keep`.
            AuditError: they cannot be kept, so that no decision of theirs could be replayed.
        """
        try:
            if bundle is not None:
                self.keep(bundle)
            self.keep_strategy(strategy)
        except OSError as error:
            raise AuditError(f"Model and strategy cannot be kept for replays: {type(error).__name__}.") from error

    def read_strategy(self, sha256: str) -> Strategy:
        """The strategy with this digest, verified and compiled.

        Raises:
            NotFound: it was never kept here.
            ModelError: it is no longer what was kept.
            StrategyError: this release cannot evaluate it.
        """
        path = self._strategy(sha256)
        if not path.is_file():
            raise NotFound(
                f"The strategy {sha256[:12]}... that decided is not in the archive.",
                hint=f"Put a copy of it at {path.name} in the archive of evidence; its digest is verified.",
            )
        text = path.read_bytes()
        if hashlib.sha256(text).hexdigest() != sha256:
            raise ModelError(f"The strategy {sha256[:12]}... in the archive is not what was kept (SHA-256).")
        return Strategy.from_text(text)

    def _strategy(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.json"

    def read(self, sha256: str) -> Bundle:
        """The bundle with this digest, verified.

        Raises:
            NotFound: it was never kept here.
            ModelError: it is no longer what was kept.
        """
        place = self._folder / sha256
        if not (place / MANIFEST).is_file():
            raise NotFound(
                f"The bundle {sha256[:12]}... that decided is not in the archive.",
                hint=f"Put a copy of its directory at {place.name} in the archive of evidence; its digest is verified.",
            )
        return bundles.read(place, sha256=sha256)


@lru_cache(maxsize=8)
def archive_at(folder: Path) -> Archive:
    """The archive in ``folder``, one for each process."""
    return Archive(folder)
