"""Bundles that have decided, each under its digest, for as long as their decisions may be asked about."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from credit301.errors import NotFound
from credit301.model import bundle as bundles
from credit301.model.bundle import MANIFEST, Bundle


class Archive:
    """Keeps bundles byte for byte.

    Args:
        folder: where they are kept, one directory for each digest.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[str] = set()

    def has(self, sha256: str) -> bool:
        """Whether the bundle is known to be kept."""
        return sha256 in self._kept

    def keep(self, bundle: Bundle) -> None:
        """Keep ``bundle``; one that is kept already stays as it is.

        Raises:
            ModelError: its manifest is not the one that its digest is of.
            OSError: the disk did not take it.
        """
        place = self._folder / bundle.sha256
        if not (place / MANIFEST).is_file():
            bundles.store(place, {MANIFEST: bundle.text, **bundle.files}, sha256=bundle.sha256)
        self._kept.add(bundle.sha256)

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
