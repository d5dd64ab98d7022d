"""The process that carries messages to banks: a relay for each bank, so that none waits for another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx

from credit301.applications import statements
from credit301.applications.changes import Tenant
from credit301.applications.database import ApplicationsBusy, ApplicationsUnavailable
from credit301.applications.outbox import Breaker, Relay, Schedule
from credit301.applications.records import Kind, Message
from credit301.applications.store import ApplicationStore
from credit301.errors import NotFound
from credit301.governance.audit.writer import AuditWriter
from credit301.partners.bank import FILE, FOLDER, Bank, address_of, reachable_banks
from credit301.partners.delivery import HttpDelivery, client_for
from credit301.partners.keys import keys_of, platform_key
from credit301.partners.known import KnownReader
from credit301.partners.messages import ToBank
from credit301.partners.metrics import RelayMetrics
from credit301.partners.package import message_for
from credit301.signing.nonces import MemoryNonces
from credit301.signing.signer import Signer
from credit301.signing.verifier import Verifier
from credit301.telemetry import Tracing

if TYPE_CHECKING:
    from credit301.workspace import Workspace

log = logging.getLogger("credit301.relay")
PATIENT = Schedule(attempts=1000)
"""A bank may be away for days: with waits of five minutes at most, a message is given up after some three."""
LOOK_SECONDS = 5.0


class Carrier:
    """Carries a workspace's messages to its banks.

    Args:
        workspace: whose banks and messages.
        metrics: count deliveries.
        schedule: when a message is tried again.

    Raises:
        NotFound: the workspace has no bank whose address is known.
        ConfigError: the platform's key or a certificate is missing.
    """

    def __init__(self, workspace: Workspace, metrics: RelayMetrics | None = None, schedule: Schedule = PATIENT) -> None:
        banks = reachable_banks(workspace)
        if not banks:
            raise NotFound(
                f"{workspace.name} has no bank whose address is known.",
                hint=f"Each is a folder {FOLDER}/<name>/{FILE}; see docs/banks.md.",
            )
        self._workspace, self.metrics = workspace, metrics or RelayMetrics()
        self._store = ApplicationStore.of(workspace)
        self._audit = AuditWriter.of(workspace)
        self._known = KnownReader(workspace, self._audit)
        # Answers are bound to their requests: nothing has to be remembered of them.
        verifier = Verifier(keys_of(workspace, banks.values()), MemoryNonces())
        self._tracing = Tracing.from_environment("credit301-relay")
        self._clients: list[httpx.AsyncClient] = []
        self._breakers = {name: Breaker() for name in banks}
        self._relays = []
        for name, bank in banks.items():
            self._clients.append(client_for(bank, workspace.settings))
            deliver = HttpDelivery(
                bank,
                address_of(workspace, bank),
                self._prepared,
                Signer(platform_key(workspace, bank)),
                verifier,
                self._clients[-1],
                self.metrics,
                self._tracing,
            )
            self._relays.append(
                Relay(
                    self._store.database,
                    workspace.name,
                    deliver,
                    schedule,
                    most=bank.at_once,
                    bank=name,
                    breaker=self._breakers[name],
                )
            )

    async def run(self, stopping: asyncio.Event) -> None:
        """Carry until ``stopping``, then finish what is under way and close every connection."""
        looking = asyncio.create_task(self._look())
        try:
            await asyncio.gather(*(relay.run(stopping=stopping) for relay in self._relays))
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            for client in self._clients:
                await client.aclose()
            self._known.close()
            self._audit.close()
            await self._store.close()
            if self._tracing is not None:
                await asyncio.to_thread(self._tracing.close)

    async def _prepared(self, bank: Bank, message: Message) -> ToBank:
        if message.kind is not Kind.APPLICATION_PACKAGE:
            return message_for(bank, self._workspace.name, message)
        checks = await self._store.checks(Tenant(message.tenant), message.application)
        known = await self._known.read(bank, message)
        return message_for(bank, self._workspace.name, message, checks, known)

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(ApplicationsUnavailable, ApplicationsBusy):
                rows = await self._store.database.fetch(statements.WAITING_MESSAGES, workspace=self._workspace.name)
                self.metrics.waiting(self._breakers, rows, datetime.now(UTC))
            for name, breaker in self._breakers.items():
                self.metrics.away(name, is_away=breaker.is_open)
            await asyncio.sleep(LOOK_SECONDS)


async def carry(workspace: Workspace, port: int) -> None:
    """Carry messages until SIGTERM or SIGINT; metrics are at ``port``."""
    from prometheus_client import start_http_server

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    carrier = Carrier(workspace)
    server, _ = start_http_server(port, addr=workspace.settings.host, registry=carrier.metrics.registry)
    try:
        await carrier.run(stopping)
    finally:
        server.shutdown()
