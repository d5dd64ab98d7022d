"""Where the online store is: one server, or a cluster of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from redis import Redis, RedisCluster
from redis.cluster import ClusterNode

from credit301.errors import FeatureStoreError

PORT = 6379
SCHEMES = {
    "redis": (False, False),
    "rediss": (True, False),
    "redis+cluster": (False, True),
    "rediss+cluster": (True, True),
}


@dataclass(frozen=True)
class OnlineAddress:
    """A parsed ``CREDIT301_REDIS_URL``.

    ``redis://:PASSWORD@HOST:PORT/DATABASE`` is one server, ``rediss://`` the same over TLS. A cluster is
    ``redis+cluster://:PASSWORD@HOST:PORT,HOST:PORT,...``: some of its nodes, which name the others.
    """

    nodes: tuple[tuple[str, int], ...]
    username: str
    password: str
    tls: bool
    database: int
    cluster: bool

    @classmethod
    def parse(cls, url: str) -> OnlineAddress:
        """The address that ``url`` is.

        Raises:
            FeatureStoreError: it is none; the message does not repeat it, as it may hold a password.
        """
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        try:
            tls, cluster = SCHEMES[parts.scheme]
            nodes = tuple(_node(text) for text in place.split(","))
            database = int(parts.path.lstrip("/") or 0)
        except (KeyError, ValueError) as error:
            raise _unusable(parts.scheme) from error
        if (cluster and database) or (not cluster and len(nodes) != 1):
            raise _unusable(parts.scheme)
        username, _, password = parts.netloc.rpartition("@")[0].partition(":")
        return cls(nodes, unquote(username), unquote(password), tls, database, cluster)

    def url(self, host: str, port: int) -> str:
        """URL of one server of it."""
        secret = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@" if self.password else ""
        bare = f"[{host}]" if ":" in host else host
        return f"{'rediss' if self.tls else 'redis'}://{secret}{bare}:{port}/{self.database}"

    def client(self, **options: Any) -> Redis | RedisCluster:
        """A synchronous client with redis-py's ``options``."""
        if not self.cluster:
            return Redis.from_url(self.url(*self.nodes[0]), **options)
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in self.nodes],  # type: ignore[no-untyped-call]
            username=self.username or None,
            password=self.password or None,
            ssl=self.tls,
            **options,
        )


def _node(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(text)
    return parts.hostname, parts.port or PORT


def _unusable(scheme: str) -> FeatureStoreError:
    known = ", ".join(f"{name}://" for name in SCHEMES)
    return FeatureStoreError(
        f"{scheme or 'The Redis URL'} is no address of an online store ({known}).",
        hint="Set CREDIT301_REDIS_URL: redis://:PASSWORD@HOST:PORT/0, or redis+cluster://:PASSWORD@HOST:PORT,HOST:PORT.",
    )
