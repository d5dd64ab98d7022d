"""The models in use: they follow the registry's aliases, and are swapped between two requests.

A version is put in use only if the gate let it pass, its bundle is, byte for byte, the one that was registered, and,
where the policy wants it, a named role's approval of this very bundle is on record. Anything else is left alone: the
champion in use goes on, and the reason is logged, counted and shown at ``/v1/model``. A challenger or a shadow goes
with its alias.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec

from credit301.domain.draw import draw
from credit301.errors import AuditError, ModelError
from credit301.files import replacing
from credit301.model import bundle as bundles
from credit301.model.bundle import MANIFEST, Bundle, Manifest
from credit301.model.stewardship import CHALLENGER, CHAMPION, Alias, Traffic
from serving.judge import Loaded
from serving.metrics import Metrics

GATE = "credit301.gate"
DIGEST = "credit301.bundle_sha256"
DIRECTORY = "credit301.bundle_dir"
POINTER = "serving.json"
log = logging.getLogger("credit301.serving")

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RETRY_REJECTED = 30.0


class Rejection(msgspec.Struct, frozen=True):
    """A registered version that was not put in use, and why."""

    registry_version: str
    code: str
    reason: str


class _Version(msgspec.Struct, frozen=True):
    """A registered version with what its tags say."""

    number: str
    run_id: str
    gate: str
    digest: str
    directory: str


class _Pointer(msgspec.Struct, frozen=True):
    """What ``serving.json`` keeps: the last good bundle, to start with when the registry is down."""

    directory: str
    sha256: str
    registry_version: str


class ModelHolder:
    """Holds the model in use by alias. A request takes one, once, and keeps it.

    Args:
        metrics: told of every change.
        entity_key: whom this service decides on.
        traffic: which enterprises a challenger decides on; it may be replaced at any time.
        key: draws them.
    """

    def __init__(self, metrics: Metrics, entity_key: str, traffic: Traffic | None = None, key: bytes = b"") -> None:
        self._held: dict[Alias, Loaded] = {}
        self._metrics = metrics
        self._entity_key = entity_key
        self.traffic = traffic or Traffic()
        self._key = key

    @property
    def current(self) -> Loaded | None:
        """The champion; ``None`` until there is one."""
        return self._held.get(CHAMPION)

    def of(self, alias: Alias) -> Loaded | None:
        """The model that has ``alias``."""
        return self._held.get(alias)

    def for_entity(self, entity: str) -> tuple[Loaded | None, Alias]:
        """The model that decides on ``entity``, and its alias; the same for every application while both stay."""
        challenger, share = self._held.get(CHALLENGER), self.traffic.challenger_share
        if challenger is not None and draw(self._key, f"challenger {self.traffic.round}", entity) < share:
            return challenger, CHALLENGER
        return self.current, CHAMPION

    def drop(self, alias: Alias) -> None:
        """Use no model as ``alias`` any more."""
        if self._held.pop(alias, None) is not None:
            self._metrics.out_of_use(alias)
            log.info("no model has the alias %s any more", alias)

    def use(self, loaded: Loaded, alias: Alias = CHAMPION) -> None:
        """Put ``loaded`` in use; requests under way finish with the model that they began with.

        Raises:
            ModelError: it decides on another kind of entity than this service does.
        """
        if loaded.manifest.entity_key != self._entity_key:
            raise ModelError(
                f"The bundle {loaded.manifest.version} is keyed by {loaded.manifest.entity_key}, "
                f"this service by {self._entity_key}."
            )
        self._held[alias] = loaded
        # What was loaded stays: the garbage collector need not look through it again.
        gc.freeze()
        self._metrics.in_use(loaded.manifest.version, loaded.registry_version, alias)
        log.info("model %s in use as %s (from %s)", loaded.manifest.version, alias, loaded.source)

    def use_directory(self, directory: Path) -> None:
        """Load the bundle in ``directory`` and put it in use.

        Raises:
            ModelError: it does not verify or load.
        """
        self.use(Loaded(bundles.read(directory), source="directory"))


class Follower:
    """Follows an alias of a registered model over MLflow's REST interface.

    Args:
        holder: gets each new version.
        mlflow_url: tracking server.
        name: registered model, ``<workspace>-ensemble``.
        folder: where bundles are kept.
        interval: seconds between two looks.
        alias: which.
        approved: whether somebody with the right to do so has approved a version (number, digest); ``None``: nobody
            needs to.
    """

    def __init__(
        self,
        holder: ModelHolder,
        metrics: Metrics,
        *,
        mlflow_url: str,
        name: str,
        folder: Path,
        interval: float = 2.0,
        alias: Alias = CHAMPION,
        approved: Callable[[str, str], bool] | None = None,
    ) -> None:
        self.rejected: Rejection | None = None
        self.problem: str = ""
        self.checked_at: datetime | None = None
        self._holder = holder
        self._metrics = metrics
        self._url = mlflow_url.rstrip("/")
        self._name = name
        self._folder = folder
        self._interval = interval
        self._alias: Alias = alias
        self._approved = approved
        self._rejected_version: _Version | None = None
        self._rejected_at = 0.0

    async def run(self) -> None:
        """Start with the last good bundle where it is a champion's, then look for another version for ever."""
        if self._alias == CHAMPION:
            await self.restore()
        async with httpx.AsyncClient(base_url=self._url, timeout=10.0, trust_env=False) as client:
            while True:
                await self.look(client)
                await asyncio.sleep(self._interval)

    async def restore(self) -> None:
        """Put the last good bundle in use, where there is one and it still verifies."""
        try:
            pointer = msgspec.json.decode((self._folder / POINTER).read_bytes(), type=_Pointer)
        except (OSError, msgspec.DecodeError):
            return
        try:
            bundle = await asyncio.to_thread(bundles.read, Path(pointer.directory), sha256=pointer.sha256)
            self._holder.use(await self._load(bundle, "cache", pointer.registry_version))
        except ModelError as error:
            log.warning("the last good bundle is not usable: %s", error)

    async def look(self, client: httpx.AsyncClient) -> None:
        """Look once; whatever goes wrong is kept in ``problem`` or ``rejected``, and the model in use goes on."""
        self.checked_at = datetime.now(UTC)
        try:
            version = await self._version(client)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            self._say(f"the registry does not answer: {type(error).__name__} {error}".strip())
            return
        self._say("")
        if version is None and self._alias != CHAMPION:
            self._holder.drop(self._alias)
        if version is not None and not self._in_use(version) and not self._just_rejected(version):
            await self._take(client, version)

    def _in_use(self, version: _Version) -> bool:
        current = self._holder.of(self._alias)
        return current is not None and (current.registry_version, current.sha256) == (version.number, version.digest)

    def _just_rejected(self, version: _Version) -> bool:
        return version == self._rejected_version and time.monotonic() - self._rejected_at < _RETRY_REJECTED

    async def _take(self, client: httpx.AsyncClient, version: _Version) -> None:
        """Put ``version`` in use, or say why not."""
        if version.gate != "passed":
            self._reject(version, "gate_not_passed", f"the gate says {version.gate or 'nothing'!r}, not 'passed'")
            return
        try:
            if self._approved is not None and not await asyncio.to_thread(
                self._approved, version.number, version.digest
            ):
                self._reject(version, "not_approved", "no named role's approval of this bundle is on record")
                return
            bundle, directory = await self._bundle(client, version)
            self._holder.use(await self._load(bundle, "registry", version.number), self._alias)
        except httpx.HTTPError as error:
            self._reject(version, "download_failed", f"{type(error).__name__} {error}")
        except AuditError as error:
            self._reject(version, "log_damaged", str(error))
        except (ModelError, OSError) as error:
            self._reject(version, "damaged", str(error))
        else:
            self.rejected, self._rejected_version = None, None
            if self._alias == CHAMPION:
                await asyncio.to_thread(self._remember, _Pointer(str(directory), version.digest, version.number))

    async def _version(self, client: httpx.AsyncClient) -> _Version | None:
        answer = await client.get(
            "/api/2.0/mlflow/registered-models/alias", params={"name": self._name, "alias": self._alias}
        )
        if answer.status_code == httpx.codes.NOT_FOUND or (
            answer.status_code == httpx.codes.BAD_REQUEST and self._alias in answer.text
        ):
            return None
        answer.raise_for_status()
        found = answer.json()["model_version"]
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        return _Version(
            number=str(found["version"]),
            run_id=found["run_id"],
            gate=tags.get(GATE, ""),
            digest=tags.get(DIGEST, ""),
            directory=tags.get(DIRECTORY, ""),
        )

    async def _bundle(self, client: httpx.AsyncClient, version: _Version) -> tuple[Bundle, Path]:
        """The version's bundle: from its directory where this machine has it, else downloaded and kept."""
        digest, local = version.digest, version.directory
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ModelError(f"The version has no tag {DIGEST}.")
        if local and (Path(local) / MANIFEST).is_file():
            try:
                return await asyncio.to_thread(bundles.read, Path(local), sha256=digest), Path(local)
            except ModelError as error:
                log.warning("the bundle in %s is not usable, downloading it: %s", local, error)
        files = {MANIFEST: await self._download(client, version.run_id, MANIFEST)}
        try:
            manifest = msgspec.json.decode(files[MANIFEST], type=Manifest)
        except msgspec.DecodeError as error:
            raise ModelError(f"The downloaded manifest cannot be read: {error}.") from error
        if not _VERSION.fullmatch(manifest.version):
            raise ModelError("The version in the manifest is not a name of a directory.")
        for name in manifest.files:
            files[name] = await self._download(client, version.run_id, name)
        directory = self._folder / manifest.version
        return await asyncio.to_thread(bundles.store, directory, files, sha256=digest), directory

    async def _download(self, client: httpx.AsyncClient, run_id: str, name: str) -> bytes:
        answer = await client.get("/get-artifact", params={"run_uuid": run_id, "path": f"bundle/{name}"})
        answer.raise_for_status()
        return answer.content

    async def _load(self, bundle: Bundle, source: str, number: str) -> Loaded:
        return await asyncio.to_thread(Loaded, bundle, source=source, registry_version=number)

    def _remember(self, pointer: _Pointer) -> None:
        try:
            with replacing(self._folder / POINTER) as staged:
                staged.write_bytes(msgspec.json.encode(pointer))
        except OSError as error:
            log.warning("cannot remember the last good bundle: %s", error)

    def _reject(self, version: _Version, code: str, reason: str) -> None:
        self._rejected_at = time.monotonic()
        rejection = Rejection(version.number, code, reason)
        if rejection != self.rejected:
            log.warning("version %s is not put in use (%s): %s", version.number, code, reason)
            self._metrics.rejected(code)
        self.rejected, self._rejected_version = rejection, version

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem
