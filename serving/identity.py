"""Identity of who applies, over HTTP: a code to the telephone, a face, by the provider that verifies them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from credit301.applications.changes import Tenant
from credit301.applications.desk import ApplicationDesk
from credit301.applications.identity import HttpIdentityProvider, Person
from credit301.applications.store import ApplicationStore
from credit301.applications.verification import IdentityUnavailable, VerificationDesk, Verified
from credit301.errors import ConfigError
from credit301.identity.keyed_hash import KeyedHash
from serving.application_types import FaceCapture, IdentityCheck, PhoneConfirmation, PhoneStart
from serving.applications import ONE, number_of
from serving.endpoint import Endpoint
from serving.requests import Reader

if TYPE_CHECKING:
    from credit301.workspace import Workspace


class IdentityApi:
    """The routes below ``/v1/applications/{application_id}/identity``.

    Args:
        workspace: its settings name the provider.
        desk: brings applications forward.
        store: gives the applications.
    """

    def __init__(
        self, workspace: Workspace, desk: Callable[[], ApplicationDesk], store: Callable[[], ApplicationStore]
    ) -> None:
        self._settings = workspace.settings
        self._desk = desk
        self._store = store
        self._named = KeyedHash.from_settings(workspace.settings)
        self._provider: HttpIdentityProvider | None = None
        key = workspace.entity.key
        self._readers = {kind: Reader(kind, key, {}) for kind in (PhoneStart, PhoneConfirmation, FaceCapture)}

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every route."""
        place = f"{ONE}/identity"
        return (
            Endpoint("POST", f"{place}/phone", self.start_phone, PhoneStart, IdentityCheck),
            Endpoint("POST", f"{place}/phone/code", self.confirm_phone, PhoneConfirmation, IdentityCheck),
            Endpoint("POST", f"{place}/face", self.face, FaceCapture, IdentityCheck),
        )

    async def start_phone(self, request: Request, caller: str) -> IdentityCheck:
        """Send a code to the applicant's telephone."""
        sent: Any = await self._readers[PhoneStart].read(request)
        person = Person(sent.name, sent.id_number.upper())
        return _checked(await self._checks().start_phone(Tenant(caller), number_of(request), person, sent.phone))

    async def confirm_phone(self, request: Request, caller: str) -> IdentityCheck:
        """Confirm the code."""
        sent: Any = await self._readers[PhoneConfirmation].read(request)
        return _checked(await self._checks().confirm_phone(Tenant(caller), number_of(request), sent.check, sent.code))

    async def face(self, request: Request, caller: str) -> IdentityCheck:
        """Compare a face."""
        sent: Any = await self._readers[FaceCapture].read(request)
        person = Person(sent.name, sent.id_number.upper())
        return _checked(await self._checks().face(Tenant(caller), number_of(request), person, sent.capture))

    async def close(self) -> None:
        """Close the connections to the provider."""
        if self._provider is not None:
            await self._provider.close()

    def _checks(self) -> VerificationDesk:
        # Not before it is asked for: an endpoint that only decides needs no provider.
        if self._provider is None:
            try:
                self._provider = HttpIdentityProvider.of(self._settings)
            except ConfigError as error:
                raise IdentityUnavailable(error.message, hint=error.hint) from error
        return VerificationDesk(self._desk(), self._store(), self._provider, self._provider, self._named)


def _checked(verified: Verified) -> IdentityCheck:
    return IdentityCheck(
        check=verified.check,
        kind=verified.kind,
        outcome=verified.outcome,
        reason=verified.reason,
        trials_left=max(verified.trials, 0),
    )
