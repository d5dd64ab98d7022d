"""The peer: a stock Feast store, and the stock MLflow packaging of the same bundle, put together by a caller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.city import City
from credit301 import console
from credit301.model.bundle import read
from feature_repo.materialize import materialized_range
from serving.features import Plan

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

    from benchmarks.harness import Call

STOCK_DATABASE = 1


def package(city: City, directory: Path) -> Path:
    """The city's bundle as the MLflow pyfunc that training registers, saved in ``directory``."""
    from training import registry

    registry.connect(registry.Target(f"sqlite:///{directory / 'mlflow.db'}", local=True))
    import mlflow
    from mlflow.models import infer_signature

    from training.tracking import MODEL_CODE

    model = directory / "model"
    if not model.exists():
        mlflow.pyfunc.save_model(
            model,
            python_model=str(MODEL_CODE),
            artifacts={"bundle": str(city.bundle)},
            signature=infer_signature(_learnt_from(city)),
            pip_requirements=["credit301"],
        )
    return model


def columns(city: City) -> list[str]:
    """What the packaged model reads, by name."""
    from training.frames import columns as of

    return of(Plan(read(city.bundle).manifest).keys)


def _learnt_from(city: City) -> pd.DataFrame:
    """The features of the training set. Each may be missing, which MLflow infers where one of the rows lacks it."""
    import pandas as pd

    frame = pd.read_parquet(city.workspace.paths.training_set)
    features = frame[[name for name in frame.columns if "__" in name]]
    return pd.concat([features, features.tail(1).map(lambda _: None).astype(features.dtypes)], ignore_index=True)


def configuration(city: City, directory: Path) -> Path:
    """The stock feature store's configuration file: another database of the same server, a registry of its own."""
    from feature_repo.store import redis_connection_string

    address = urlsplit(city.workspace.settings.redis_address())
    document = {
        "project": city.workspace.name,
        "provider": "local",
        "registry": str(directory / "stock_registry.db"),
        "offline_store": {"type": "duckdb"},
        "online_store": {
            "type": "redis",
            "connection_string": redis_connection_string(address._replace(path=f"/{STOCK_DATABASE}").geturl()),
        },
        "entity_key_serialization_version": 3,
    }
    path = directory / "stock_feature_store.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def stock_store(city: City, directory: Path) -> FeatureStore:
    """Stock Feast with the city's own views, materialized once into ``directory``'s store."""
    from feast import FeatureStore

    from feature_repo.definitions import definitions

    path = configuration(city, directory)
    store = FeatureStore(repo_path=str(directory), fs_yaml_file=path)
    done = directory / "stock_materialized"
    if not done.exists():
        console.say("== features to the peer's store, as stock Feast materializes them")
        store.apply(definitions(city.workspace))
        store.materialize(*materialized_range(city.workspace))
        done.touch()
    return store


def decide_in_process(city: City, directory: Path) -> Call:
    """Features by ``get_online_features`` of the feature service, then the pyfunc's prediction on them."""
    import mlflow

    from credit301.derive.features import SERVICE

    store = stock_store(city, directory)
    service = store.get_feature_service(SERVICE)
    model = mlflow.pyfunc.load_model(str(package(city, directory)))
    key = city.workspace.entity.key
    kinds = {column.name: column.type.to_pandas() for column in model.metadata.get_input_schema()}

    def decide(number: int) -> Any:
        entity = city.entities[number % len(city.entities)]
        frame = store.get_online_features(
            features=service, entity_rows=[{key: entity}], full_feature_names=True
        ).to_df()
        return model.predict(frame.drop(columns=key).astype(kinds))

    return decide
