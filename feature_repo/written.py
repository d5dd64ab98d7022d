"""What was last written online of a view, so that the next materialization writes only what differs.

Beside the registry lies a Parquet file for each view: of each entity a 64-bit hash of the row that was written, and the
row's event time. The server holds a token for each view, a new one for each materialization: a server that was lost,
emptied or restored to an earlier state has another one, or none, and then everything is written.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from feast import FeatureView, RepoConfig

from credit301.files import replacing, write_atomically
from credit301.sources.typed import literal, quote

FOLDER = "written"
_MICROSECONDS = 1_000_000


def tokens_key(project: str) -> str:
    """Redis key of the hash of tokens by the field of a view."""
    return f"credit301:written:{project}"


@dataclass(frozen=True)
class Mark:
    """The mark of one view's rows in ``field``, in one layout; ``ttl_seconds`` is how long a row may be served."""

    folder: Path
    project: str
    field: str
    layout: int
    ttl_seconds: int = 0

    @classmethod
    def of(cls, config: RepoConfig, view: FeatureView, field: str, layout: int) -> Mark | None:
        """The view's mark; none where rows expire by themselves, or where the repository has no directory."""
        if not config.repo_path or config.online_store.key_ttl_seconds:
            return None
        ttl = int(view.ttl.total_seconds()) if view.ttl else 0
        return cls(Path(config.repo_path) / FOLDER, config.project, field, layout, ttl)

    @property
    def rows(self) -> Path:
        """The hashes by entity."""
        return self.folder / f"{self.field}.parquet"

    @property
    def meta(self) -> Path:
        """Token, layout, and how many rows were written last."""
        return self.folder / f"{self.field}.json"

    def holds(self, client: Any) -> bool:
        """Whether the server still has what the mark says."""
        if not self.meta.is_file() or not self.rows.is_file():
            return False
        said = json.loads(self.meta.read_text(encoding="utf-8"))
        token = client.hget(tokens_key(self.project), self.field)
        return said["layout"] == self.layout and token is not None and said["token"] == token.decode()

    def differing(self, newest: str, key: str, names: list[str], *, known: bool) -> str:
        """Query of ``entity``, ``row_hash``, ``event``, ``differs``: what the server has when ``differs`` is written.

        Args:
            newest: query of the view's newest rows, with ``event`` in microseconds.
            key: the entity's column in it.
            names: the features.
            known: whether the mark holds. A row is written again while half of its time to live is left.
        """
        digest = f"hash({', '.join(quote(name) for name in names)})" if names else "hash(0)"
        rows = f"SELECT {quote(key)} AS entity, {digest} AS row_hash, event FROM ({newest})"
        if not known:
            return f"SELECT entity, row_hash, event, true AS differs FROM ({rows})"
        stale = f" OR n.event - m.event >= {self.ttl_seconds * _MICROSECONDS // 2}" if self.ttl_seconds else ""
        differs = f"n.entity IS NOT NULL AND (m.entity IS NULL OR n.row_hash <> m.row_hash{stale})"
        return f"""
            SELECT coalesce(n.entity, m.entity) AS entity, coalesce(n.row_hash, m.row_hash) AS row_hash,
                   CASE WHEN {differs} THEN n.event ELSE m.event END AS event, {differs} AS differs
            FROM ({rows}) AS n FULL JOIN read_parquet({literal(str(self.rows))}) AS m ON m.entity = n.entity
        """

    def keep(self, client: Any, fresh: Path, written: int) -> None:
        """The rows that ``fresh`` marks as differing are on the server."""
        token = secrets.token_hex(16)
        with duckdb.connect() as connection, replacing(self.rows) as temporary:
            kept = f"SELECT entity, row_hash, event FROM read_parquet({literal(str(fresh))})"
            connection.execute(f"COPY ({kept}) TO {literal(str(temporary))} (FORMAT parquet)")
        # Told to the server last: where this ends half way, the tokens differ and everything is written again.
        said = {"token": token, "layout": self.layout, "written": written}
        write_atomically(self.meta, said)
        client.hset(tokens_key(self.project), self.field, token)

    def forget(self) -> None:
        """The next materialization writes everything."""
        self.meta.unlink(missing_ok=True)

    def written(self) -> int | None:
        """How many rows the last materialization wrote; ``None`` where that is not known."""
        if not self.meta.is_file():
            return None
        return int(json.loads(self.meta.read_text(encoding="utf-8"))["written"])

    def drop_gone(self, there: str, delete: Callable[[list[str]], None]) -> int:
        """Give ``delete`` the entities on the server that the query ``there`` lacks, and take them off the mark.

        Returns:
            How many those were.
        """
        if not self.meta.is_file() or not self.rows.is_file():
            return 0
        marked = f"read_parquet({literal(str(self.rows))})"
        with duckdb.connect() as connection:
            query = f"SELECT entity FROM {marked} WHERE entity NOT IN ({there})"
            gone = [str(entity) for (entity,) in connection.execute(query).fetchall()]
            if gone:
                delete(gone)
                with replacing(self.rows) as temporary:
                    kept = f"SELECT * FROM {marked} WHERE entity IN ({there})"
                    connection.execute(f"COPY ({kept}) TO {literal(str(temporary))} (FORMAT parquet)")
        return len(gone)
