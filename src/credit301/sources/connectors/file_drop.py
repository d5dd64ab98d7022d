"""Files dropped under the data directory, each delivered once, known by its content.

The cursor is the list of the SHA-256 digests delivered so far. A file is a page: a batch has whole files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from credit301.contracts.model import Contract
from credit301.errors import SourceError
from credit301.settings import PREFIX, Settings
from credit301.sources.connectors.base import Page, parse_options
from credit301.sources.connectors.delivery import Delivery, deliverable, known_digest
from credit301.sources.connectors.options import FileDropOptions


class FileDrop:
    """Reads the files of one source."""

    def __init__(self, contract: Contract, settings: Settings) -> None:
        self.options = parse_options(FileDropOptions, contract)
        self.name = contract.name
        self.directory = settings.data_dir
        self.delivery = Delivery(contract, self.options)

    def read(self, cursor: str) -> Iterator[Page]:
        """One page for each file whose content was not delivered yet, in order of name.

        Raises:
            SourceError: a file is absent, unreadable, half written, or in no known encoding or format.
        """
        delivered: list[str] = json.loads(cursor) if cursor else []
        pending: dict[str, Path] = {}
        for path in self._paths():
            digest = known_digest(path)
            if digest not in delivered:
                pending.setdefault(digest, path)
        for position, (digest, path) in enumerate(pending.items(), 1):
            delivered = [*delivered, digest]
            after = json.dumps(delivered, separators=(",", ":"))
            yield Page(
                self.delivery.stream(path, digest),
                after,
                has_more=position < len(pending),
                origin=path.name,
                file=self.delivery.whole(path, digest),
            )

    def _paths(self) -> list[Path]:
        found: list[Path] = []
        for pattern in self.options.patterns:
            matches = self._matches(pattern)
            if not matches:
                raise SourceError(
                    f"{self.name}: there is no file {pattern!r} under {self.directory}.",
                    hint=f"Set {PREFIX}DATA_DIR to the directory that holds the data.",
                )
            found.extend(path for path in matches if path not in found)
        return found

    def _matches(self, pattern: str) -> list[Path]:
        if not self.directory.is_dir():
            return []
        paths = {str(path): path for path in self.directory.glob(pattern) if path.is_file()}
        ready = self.options.ready_suffix
        marks = [name + ready for name in paths if ready and Path(name + ready).exists()]
        return [paths[name] for name in deliverable([*paths, *marks], self.options) if name in paths]
