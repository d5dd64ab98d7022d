"""Opens the feature store of a workspace with the profile's configuration."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from credit301.derive.features import SERVICE
from credit301.errors import FeatureStoreError
from credit301.features.online_address import OnlineAddress
from credit301.settings import Profile
from credit301.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore
    from feast.infra.offline_stores.offline_store import RetrievalJob

HERE = Path(__file__).parent


def redis_connection_string(url: str) -> str:
    """The online store's URL in the form that Feast reads: ``host:port,password=...,db=...``."""
    address = OnlineAddress.parse(url)
    options = [f"{host}:{port}" for host, port in address.nodes]
    if not address.cluster:
        options.append(f"db={address.database}")
    if address.username:
        options.append(f"username={address.username}")
    if address.password:
        options.append(f"password={address.password}")
    if address.tls:
        options.append("ssl=true")
    return ",".join(options)


@contextmanager
def reachable() -> Iterator[None]:
    """Turn what Redis raises inside the block into an error that says what to do.

    Raises:
        FeatureStoreError: the online store cannot be reached, or does not let us in.
    """
    try:
        yield
    except RedisError as error:
        raise FeatureStoreError(
            f"The online store does not answer as it should: {type(error).__name__}.",
            hint="Start it with `credit301 up`, or set CREDIT301_REDIS_URL, password included.",
        ) from error


def open_store(workspace: Workspace) -> FeatureStore:
    """The Feast store of a workspace; its files live under ``workspace.paths.feast``."""
    os.environ.setdefault("FEAST_USAGE", "False")
    # Feast reads history through ibis, which calls a method that DuckDB 2 has renamed, once a view.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="ibis")
    from feast import FeatureStore

    settings = workspace.settings
    home = workspace.paths.feast
    home.mkdir(parents=True, exist_ok=True)
    os.environ["CREDIT301_FEAST_PROJECT"] = workspace.name
    os.environ["CREDIT301_FEAST_HOME"] = str(home)
    address = settings.redis_address()
    os.environ["CREDIT301_FEAST_REDIS"] = redis_connection_string(address)
    os.environ["CREDIT301_FEAST_REDIS_TYPE"] = "redis_cluster" if OnlineAddress.parse(address).cluster else "redis"
    if settings.profile is not Profile.EMBEDDED:
        address = settings.postgres_address("credit301")
        os.environ["CREDIT301_FEAST_REGISTRY"] = address.replace("postgresql://", "postgresql+psycopg://", 1)
    profile = Profile.EMBEDDED if settings.profile is Profile.EMBEDDED else Profile.PRODUCTION
    return FeatureStore(repo_path=str(home), fs_yaml_file=HERE / f"store.{profile}.yaml")


def as_known(store: FeatureStore, entities: pd.DataFrame) -> RetrievalJob:
    """Features of ``entities`` (key and ``event_timestamp``) as they were known then: what is learnt from."""
    return store.get_historical_features(
        entity_df=entities,
        features=store.get_feature_service(SERVICE),
        full_feature_names=True,
        filter_by_created_timestamp=True,
    )
