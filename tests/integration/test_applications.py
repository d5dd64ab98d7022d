"""The store of applications on a real PostgreSQL: what is written is whole, whose it is, once, and survives what dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from credit301.applications import desk as desks
from credit301.applications import records, statements
from credit301.applications.changes import Cause, Change, Received
from credit301.applications.database import ApplicationsBusy, ApplicationsUnavailable, Database
from credit301.applications.desk import ApplicationDesk, BeingDecided, CannotDecide, expire_overdue
from credit301.applications.migrate import configuration
from credit301.applications.records import Application, Kind, new_id
from credit301.applications.states import Actor, Event, Mode, State, WrongState
from credit301.applications.store import ApplicationStore, Changed, UnknownApplication
from credit301.applications.tables import METADATA, SCHEMA
from credit301.domain.decision import Decision
from credit301.domain.text import Refusal
from credit301.domain.verdict import Outcome, Stage
from tests.support.applications import BANK, DETAILS, OTHER, Decider, database, decision, draft, url
from tests.support.postgres import Server
from tests.support.servers import until

pytestmark = pytest.mark.server
SUBMIT = Change([Cause(Event.SUBMIT, Actor.APPLICANT, "bank_a")])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with database(tmp_path_factory.mktemp("applications")) as running:
        yield running


def with_store(server: Server, act: Callable[[ApplicationStore], Awaitable[Any]]) -> Any:
    """What ``act`` gives of a store with connections of its own."""

    async def run() -> Any:
        store = ApplicationStore(Database(url(server)), "wuhan")
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(run())


def count(server: Server, query: str, *values: object) -> int:
    engine = sa.create_engine(url(server).replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(query, values or None).scalar_one())


def test_the_migrations_make_exactly_the_tables_that_the_code_has(server: Server) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    engine = sa.create_engine(url(server).replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        options = {
            "version_table_schema": SCHEMA,
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
        }
        assert configuration(connection).get_main_option("script_location")
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []


class TestDrafts:
    def test_the_same_request_under_the_same_key_makes_one_application(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            given = {"key": "the-same-key", "request_hash": "one"}
            made = await asyncio.gather(
                *(store.create(BANK, "E1", "1" * 32, Mode.PLATFORM, DETAILS, **given) for _ in range(8))
            )
            assert len({item.id for item in made}) == 1
            assert made[0] == made[1] == await store.find(BANK, made[0].id)
            with pytest.raises(Refusal, match="another request"):
                await store.create(BANK, "E2", "2" * 32, Mode.PLATFORM, DETAILS, key="the-same-key", request_hash="two")
            of_another = await store.create(OTHER, "E1", "1" * 32, Mode.PLATFORM, DETAILS, **given)
            assert of_another.id != made[0].id

        with_store(server, act)
        assert count(server, "select count(*) from applications.application where named = %s", "1" * 32) == 2

    def test_a_key_that_has_run_out_may_be_used_again(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        async def act(store: ApplicationStore) -> None:
            monkeypatch.setattr(records, "KEY_LASTS", timedelta(seconds=-1))
            first = await draft(store, key="short-lived", request_hash="a", verified=False)
            second = await draft(store, key="short-lived", request_hash="b", verified=False)
            assert first.id != second.id

        with_store(server, act)

    def test_numbers_sort_by_time(self) -> None:
        numbers = [new_id(moment) for moment in range(1_000, 1_050)]
        assert numbers == sorted(numbers)
        assert {(number.version, number.variant) for number in numbers} == {(7, "specified in RFC 4122")}


class TestTenants:
    def test_one_bank_neither_sees_nor_moves_what_another_has(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            mine = await draft(store)
            desk = ApplicationDesk(store, Decider())
            acts: list[Callable[[], Awaitable[Any]]] = [
                lambda: store.find(OTHER, mine.id),
                lambda: desk.current(OTHER, mine.id),
                lambda: desk.submit(OTHER, mine.id),
                lambda: desk.accept(OTHER, mine.id),
                lambda: desk.withdraw(OTHER, mine.id),
                lambda: desk.amend(OTHER, mine.id, lambda details: details),
                lambda: desk.note(OTHER, mine.id, consent_id="stolen"),
                lambda: store.add_check(
                    OTHER, mine.id, kind="phone", person="p", phone=None, reference="r", outcome="pass", score=None,
                    trials=0, started_at=mine.created_at, finished_at=None,
                ),
            ]  # fmt: skip
            for attempt in acts:
                with pytest.raises(UnknownApplication):
                    await attempt()
            stolen = await _as(store, OTHER, mine)
            with pytest.raises(Changed):
                await store.change(stolen, SUBMIT)
            assert await store.history(OTHER, mine.id) == ()
            assert await store.checks(OTHER, mine.id) == []
            assert await store.try_check(OTHER, mine.id, new_id()) is None
            assert await store.find(BANK, mine.id) == mine

        with_store(server, act)

    def test_another_workspace_sees_nothing_either(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            mine = await draft(store)
            elsewhere = ApplicationStore(store.database, "another_city")
            with pytest.raises(UnknownApplication):
                await elsewhere.find(BANK, mine.id)
            assert await elsewhere.overdue(datetime.now(UTC) + timedelta(days=400)) == []

        with_store(server, act)


async def _as(store: ApplicationStore, tenant: Any, found: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(found, tenant=tenant.name)


class TestChanges:
    def test_a_change_its_history_and_its_messages_are_written_together_or_not_at_all(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> UUID:
            found = await draft(store)
            twice = Change(SUBMIT.causes, messages=[(Kind.WITHDRAWAL, {"a": 1}), (Kind.WITHDRAWAL, {"a": 2})])
            changed = await store.change(found, twice)
            assert (changed.state, changed.version) == (State.SUBMITTED, found.version + 1)
            with pytest.raises(Changed):
                await store.change(found, twice)
            with pytest.raises(WrongState):
                await store.change(changed, twice)
            return found.id

        number = with_store(server, act)
        for table, expected in (("application_event", 2), ("outbox", 2)):
            assert (
                count(server, f"select count(*) from applications.{table} where application_id = %s", number)
                == expected
            )

    def test_of_many_that_change_at_once_one_does(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            found = await draft(store)
            results = await asyncio.gather(*(store.change(found, SUBMIT) for _ in range(12)), return_exceptions=True)
            assert sum(isinstance(item, Changed) for item in results) == 11
            assert [step.event for step in await store.history(BANK, found.id)] == [Event.CREATE, Event.SUBMIT]

        with_store(server, act)

    def test_a_message_from_a_bank_is_applied_once_however_often_it_comes(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            found = await ApplicationDesk(store, Decider()).submit(BANK, (await draft(store)).id)
            found = await ApplicationDesk(store, Decider()).accept(BANK, found.id)
            paid = Change(
                [Cause(Event.CONFIRM_DISBURSEMENT, Actor.BANK, "bank_a")],
                received=Received("bank_a", f"paid-{found.id}"),
            )
            results = await asyncio.gather(*(store.apply(BANK, found.id, paid) for _ in range(8)))
            assert {item.state for item in results} == {State.DISBURSED}
            assert await store.received(Received("bank_a", f"paid-{found.id}"))
            events = [step.event for step in await store.history(BANK, found.id)]
            assert events.count(Event.CONFIRM_DISBURSEMENT) == 1
            # Another message that asks for the same is no repeat: it is refused, and not counted as applied.
            again = Change(paid.causes, received=Received("bank_a", f"other-{found.id}"))
            with pytest.raises(WrongState):
                await store.apply(BANK, found.id, again)
            assert not await store.received(Received("bank_a", f"other-{found.id}"))

        with_store(server, act)


class TestDecisions:
    @pytest.mark.parametrize(
        ("mode", "outcome", "cause", "stage", "state", "kinds", "passed"),
        [
            (Mode.PLATFORM, Outcome.APPROVE, "", "policy", State.OFFERED, [], 8),
            (Mode.PLATFORM, Outcome.DECLINE, "rule.revoked", "admission", State.DECLINED, [], 5),
            (Mode.PLATFORM, Outcome.DECLINE, "rule.shared_device", "fraud", State.DECLINED, [], 6),
            (Mode.PLATFORM, Outcome.REFER, "rule.shared_device", "fraud", State.REFERRED, [], 6),
            (Mode.STANDARD, Outcome.REFER, "value_unknown.sales", "policy", State.REFERRED, [], 8),
            (Mode.PLATFORM, Outcome.DECLINE, "above_cut_off", "policy", State.DECLINED, [], 8),
            (Mode.STANDARD, Outcome.APPROVE, "", "policy", State.SCORED, ["application_package"], 7),
            (Mode.STANDARD, Outcome.DECLINE, "rule.revoked", "admission", State.DECLINED, [], 5),
        ],
    )
    def test_what_a_decision_makes_of_an_application(
        self,
        server: Server,
        mode: Mode,
        outcome: Outcome,
        cause: str,
        stage: Stage,
        state: State,
        kinds: list[str],
        passed: int,
    ) -> None:
        async def act(store: ApplicationStore) -> None:
            decider = Decider(outcome, cause, stage)
            found = await ApplicationDesk(store, decider).submit(BANK, (await draft(store, mode=mode)).id)
            assert found.state is state
            assert found.decision is not None
            assert found.decision["decision_id"] == str(found.decision_id) == str(decider.made[0])
            assert len(await store.history(BANK, found.id)) == passed
            assert await _kinds(store, found.id) == kinds

        with_store(server, act)

    def test_accepting_instructs_the_bank_once_and_again_changes_nothing(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            desk = ApplicationDesk(store, Decider())
            offered = await desk.submit(BANK, (await draft(store)).id)
            results = await asyncio.gather(*(desk.accept(BANK, offered.id) for _ in range(6)))
            assert {item.state for item in results} == {State.DISBURSEMENT_INSTRUCTED}
            assert await _kinds(store, offered.id) == ["disbursement_instruction"]
            with pytest.raises(WrongState):
                await desk.withdraw(BANK, offered.id)

        with_store(server, act)

    def test_a_bank_that_has_the_package_is_told_of_a_withdrawal(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            desk = ApplicationDesk(store, Decider())
            scored = await desk.submit(BANK, (await draft(store, mode=Mode.STANDARD)).id)
            await desk.withdraw(BANK, scored.id, "no need")
            assert (await desk.withdraw(BANK, scored.id)).state is State.WITHDRAWN
            assert await _kinds(store, scored.id) == ["application_package", "withdrawal"]

        with_store(server, act)

    def test_nobody_is_decided_on_whose_identity_is_not_verified(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            decider = Decider()
            found = await draft(store, verified=False)
            with pytest.raises(Refusal, match="phone, face"):
                await ApplicationDesk(store, decider).submit(BANK, found.id)
            assert (await store.find(BANK, found.id)).state is State.DRAFT
            assert decider.made == []

        with_store(server, act)

    def test_what_must_be_mended_first_goes_back_to_be_mended_with_the_reason(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            decider = Decider()
            desk = ApplicationDesk(store, decider)
            found = await draft(store)

            def refuse(_: Any) -> None:
                raise CannotDecide(ValueError("no consent"), "consent_missing")

            decider.before = refuse
            with pytest.raises(ValueError, match="no consent"):
                await desk.submit(BANK, found.id)
            returned = (await store.history(BANK, found.id))[-1]
            assert (returned.event, returned.detail) == (Event.RETURN, {"reason": "consent_missing"})
            decider.before = None
            assert (await desk.submit(BANK, found.id)).state is State.OFFERED
            assert len(decider.made) == 1

        with_store(server, act)

    def test_of_many_that_submit_at_once_one_decides(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            decider = Decider()
            desk = ApplicationDesk(store, decider)
            found = await draft(store)
            asked = [asyncio.create_task(desk.submit(BANK, found.id)) for _ in range(8)]
            answered = asyncio.Semaphore(0)
            for task in asked:
                task.add_done_callback(lambda _: answered.release())

            async def all_others_have_come() -> None:
                async with asyncio.timeout(60):
                    for _ in asked[1:]:
                        await answered.acquire()

            decider.before = lambda _: all_others_have_come()
            results = await asyncio.gather(*asked, return_exceptions=True)
            decider.before = None
            assert sum(isinstance(item, BeingDecided) for item in results) == 7
            assert len(decider.made) == 1
            assert (await desk.submit(BANK, found.id)).state is State.OFFERED
            assert len(decider.made) == 1

        with_store(server, act)

    def test_one_that_was_withdrawn_while_it_was_decided_on_stays_withdrawn(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            decider = Decider()
            desk = ApplicationDesk(store, decider)
            found = await draft(store)
            decider.before = lambda application: desk.withdraw(BANK, application.id)
            with pytest.raises(WrongState):
                await desk.submit(BANK, found.id)
            ended = await store.find(BANK, found.id)
            assert (ended.state, ended.decision) == (State.WITHDRAWN, None)

        with_store(server, act)


class TestTime:
    def test_what_is_over_ends_when_it_is_looked_at_and_by_the_clock(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            desk = ApplicationDesk(store, Decider())
            past = {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}
            looked_at, swept = [await store.change(await draft(store), Change(values=past)) for _ in range(2)]
            with pytest.raises(WrongState, match="expired"):
                await desk.submit(BANK, looked_at.id)
            assert await expire_overdue(store) == 1
            for found in (looked_at, swept):
                assert (await store.find(BANK, found.id)).state is State.EXPIRED
                assert (await store.history(BANK, found.id))[-1].actor is Actor.CLOCK
            assert await expire_overdue(store) == 0

        with_store(server, act)

    def test_nothing_that_was_accepted_ends_by_itself(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            desk = ApplicationDesk(store, Decider())
            found = await desk.accept(BANK, (await desk.submit(BANK, (await draft(store)).id)).id)
            await store.change(found, Change(values={"expires_at": datetime.now(UTC) - timedelta(days=1)}))
            assert (await desk.current(BANK, found.id)).state is State.DISBURSEMENT_INSTRUCTED

        with_store(server, act)


class _Killed(BaseException):
    """The process is gone."""


class _Mortal(ApplicationStore):
    """A store whose process dies at its ``at``-th change, before or after the database has it; dead, it does nothing."""

    def __init__(self, database: Database, at: int, *, written: bool) -> None:
        super().__init__(database, "wuhan")
        self.at, self.written, self.changes = at, written, 0

    async def change(self, found: Any, change: Change) -> Any:
        self.changes += 1
        if self.changes > self.at:
            raise _Killed
        if self.changes == self.at and not self.written:
            raise _Killed
        changed = await super().change(found, change)
        if self.changes == self.at:
            raise _Killed
        return changed


class TestDeath:
    @pytest.mark.parametrize("written", [False, True])
    @pytest.mark.parametrize("at", [1, 2, 3])
    def test_killed_at_any_step_it_ends_with_one_decision_and_one_instruction(
        self, server: Server, at: int, written: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(desks, "CLAIM_LASTS", timedelta(0))

        async def act(store: ApplicationStore) -> None:
            found = await draft(store)
            mortal = ApplicationDesk(_Mortal(store.database, at, written=written), Decider())

            async def live() -> None:
                await mortal.submit(BANK, found.id)
                await mortal.accept(BANK, found.id)

            with pytest.raises(_Killed):
                await live()
            reserved = (await store.find(BANK, found.id)).decision_id
            again = Decider()
            desk = ApplicationDesk(store, again)
            offered = await desk.submit(BANK, found.id)
            paid = await desk.accept(BANK, found.id)
            assert reserved in {None, offered.decision_id}
            assert paid.state is State.DISBURSEMENT_INSTRUCTED
            assert offered.decision is not None
            assert len(again.made) == (1 if (at, written) < (2, True) else 0)
            events = [step.event for step in await store.history(BANK, found.id)]
            assert [events.count(event) for event in (Event.SUBMIT, Event.OFFER, Event.ACCEPT)] == [1, 1, 1]
            assert await _kinds(store, found.id) == ["disbursement_instruction"]

        with_store(server, act)

    def test_what_was_decided_and_not_kept_is_not_decided_anew(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(desks, "CLAIM_LASTS", timedelta(0))

        async def act(store: ApplicationStore) -> None:
            found = await draft(store)
            first, again = Decider(Outcome.DECLINE, "above_cut_off", "policy"), Decider()

            async def recorded(application: Application) -> Decision | None:
                assert application.decision_id == first.made[0]
                return decision(first.made[0], Outcome.DECLINE, "above_cut_off", "policy")

            with pytest.raises(_Killed):
                await ApplicationDesk(_Mortal(store.database, 2, written=False), first).submit(BANK, found.id)
            ended = await ApplicationDesk(store, again, recorded).submit(BANK, found.id)
            assert (ended.state, ended.decision_id, again.made) == (State.DECLINED, first.made[0], [])

        with_store(server, act)

    def test_what_was_left_undecided_is_decided_by_whoever_looks(self, server: Server) -> None:
        async def act(store: ApplicationStore) -> None:
            found = await draft(store)
            decider = Decider()

            def fail(_: Any) -> None:
                raise ApplicationsUnavailable("the online store is away")

            decider.before = fail
            desk = ApplicationDesk(store, decider)
            with pytest.raises(ApplicationsUnavailable):
                await desk.submit(BANK, found.id)
            assert (await store.find(BANK, found.id)).state is State.SUBMITTED
            decider.before = None
            assert found.id not in [number for number, _ in await store.undecided(datetime.now(UTC))]
            # Not at once: what fails again and again is looked at less and less often.
            later = datetime.now(UTC) + statements.SOONEST
            assert found.id in [number for number, _ in await store.undecided(later)]
            assert (await desk.go_on(await store.find(BANK, found.id))).state is State.OFFERED

        with_store(server, act)

    def test_the_database_is_killed_under_load_and_nothing_is_lost_or_doubled(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(desks, "CLAIM_LASTS", timedelta(milliseconds=50))
        clients, each = 8, 12
        made: list[UUID] = []

        async def until_done(act: Callable[[], Awaitable[Any]]) -> Any:
            for _ in range(3000):
                try:
                    return await act()
                except (ApplicationsUnavailable, ApplicationsBusy, BeingDecided, Changed):
                    await asyncio.sleep(0.05)
            raise AssertionError("the database did not come back")

        async def apply(store: ApplicationStore, key: str) -> None:
            desk = ApplicationDesk(store, Decider())
            given = {"key": key, "request_hash": key}
            begun = await until_done(lambda: store.create(BANK, key, "0" * 32, Mode.PLATFORM, DETAILS, **given))
            made.append(begun.id)
            now = datetime.now(UTC)
            await until_done(lambda: desk.note(BANK, begun.id, phone_verified_at=now, face_verified_at=now))
            await until_done(lambda: desk.submit(BANK, begun.id))
            await until_done(lambda: desk.accept(BANK, begun.id))

        async def client(store: ApplicationStore, place: int) -> None:
            for number in range(each):
                await apply(store, f"load-{place}-{number}-key")

        async def load(server: Server) -> None:
            store = ApplicationStore(Database(url(server)), "loaded")
            try:
                await asyncio.gather(*(client(store, place) for place in range(clients)))
            finally:
                await store.close()

        # The server is started by this thread: it ends with the one that started it.
        with ThreadPoolExecutor(1) as beside:
            loaded = beside.submit(lambda: asyncio.run(load(server)))
            for already in (clients, clients * each // 2):
                until(lambda: len(made) >= already, "the load")  # noqa: B023
                server.stop()
                server.start()
            loaded.result()
        every = clients * each
        assert len(set(made)) == every
        loaded_ones = "applications.application where workspace = 'loaded'"
        ended = f"select count(distinct decision_id) from {loaded_ones} and state = 'disbursement_instructed'"
        assert count(server, ended) == count(server, f"select count(*) from {loaded_ones}") == every
        once = (
            "select count(*) from (select 1 from applications.{} where {} and application_id in "
            f"(select id from {loaded_ones}) group by application_id having count(*) = 1) as once"
        )
        for event in ("create", "submit", "offer", "accept"):
            assert count(server, once.format("application_event", f"event = '{event}'")) == every
        assert count(server, once.format("outbox", "kind = 'disbursement_instruction'")) == every


class TestAvailability:
    def test_a_database_without_the_tables_says_what_to_run(self, server: Server) -> None:
        async def act(_: ApplicationStore) -> None:
            bare = ApplicationStore(Database(server.settings.postgres_address("postgres")), "wuhan")
            with pytest.raises(ApplicationsUnavailable, match="applications migrate"):
                await bare.find(BANK, new_id())
            await bare.close()

        with_store(server, act)

    def test_no_queue_grows_without_end(self, server: Server) -> None:
        async def act(_: ApplicationStore) -> None:
            narrow = ApplicationStore(Database(url(server), size=1), "wuhan")
            results = await asyncio.gather(*(narrow.find(BANK, new_id()) for _ in range(40)), return_exceptions=True)
            assert {type(item) for item in results} == {UnknownApplication, ApplicationsBusy}
            assert sum(isinstance(item, ApplicationsBusy) for item in results) == 40 - 9
            with pytest.raises(UnknownApplication):
                await narrow.find(BANK, new_id())
            await narrow.close()

        with_store(server, act)


async def _kinds(store: ApplicationStore, number: UUID) -> list[str]:
    rows = await store.database.fetch(statements.MESSAGES, workspace="wuhan", everything=True, most=10_000)
    return [row["kind"] for row in reversed(rows) if row["application_id"] == number]
