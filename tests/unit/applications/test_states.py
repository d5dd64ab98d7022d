"""The table of states: every move is told, nobody causes what is not theirs, and whatever happens, what has ended stays."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from credit301.applications import states
from credit301.applications.states import MOVES, TERMINAL, Actor, Event, Mode, State, WrongState, move, walk

ROAD = (
    (Event.SUBMIT, Actor.APPLICANT),
    (Event.VERIFY_CONSENT, Actor.PLATFORM),
    (Event.VERIFY_IDENTITY, Actor.PLATFORM),
    (Event.ADMIT, Actor.PLATFORM),
    (Event.CLEAR_FRAUD, Actor.PLATFORM),
    (Event.SCORE, Actor.PLATFORM),
)
PAID = (
    (Event.CONFIRM_DISBURSEMENT, Actor.BANK),
    (Event.MONITOR, Actor.PLATFORM),
    (Event.CLOSE, Actor.BANK),
)


def test_the_road_of_an_application_that_the_platform_decides_is_that_of_the_domain() -> None:
    offered = (
        (Event.OFFER, Actor.PLATFORM),
        (Event.ACCEPT, Actor.APPLICANT),
        (Event.INSTRUCT_DISBURSEMENT, Actor.PLATFORM),
    )
    passed = walk(State.DRAFT, (*ROAD, *offered, *PAID), mode=Mode.PLATFORM)
    assert " ".join(passed) == (
        "submitted consent_verified identity_verified admitted fraud_cleared scored offered accepted "
        "disbursement_instructed disbursed monitored closed"
    )


def test_where_the_bank_decides_the_platform_neither_offers_nor_instructs() -> None:
    scored = walk(State.DRAFT, ROAD, mode=Mode.STANDARD)[-1]
    with pytest.raises(WrongState, match=r"scored.*offer is not possible when platform causes it"):
        move(scored, Event.OFFER, mode=Mode.STANDARD, actor=Actor.PLATFORM)
    taken = walk(scored, ((Event.OFFER, Actor.BANK), (Event.ACCEPT, Actor.APPLICANT), *PAID), mode=Mode.STANDARD)
    assert taken == (State.OFFERED, State.ACCEPTED, State.DISBURSED, State.MONITORED, State.CLOSED)
    with pytest.raises(WrongState):
        move(State.ACCEPTED, Event.INSTRUCT_DISBURSEMENT, mode=Mode.STANDARD, actor=Actor.PLATFORM)


def test_a_refusal_names_state_and_event_in_both_languages_and_says_what_is_possible() -> None:
    with pytest.raises(WrongState) as caught:
        move(State.DRAFT, Event.ACCEPT, mode=Mode.PLATFORM, actor=Actor.APPLICANT)
    error = caught.value
    assert error.code == "impossible_in_this_state"
    assert "草稿" in error.text.zh
    assert "accept" in error.text.zh
    assert "draft" in error.text.en
    assert "submit" in error.hint_text.en
    assert "submit" in error.hint_text.zh


def test_every_state_has_a_name_in_both_languages_and_is_reached() -> None:
    assert set(states.TITLES) == set(State)
    assert all(re.search(r"[\u4e00-\u9fff]", title.zh) and title.en for title in states.TITLES.values())
    assert {row.target for row in MOVES} == set(State)
    assert {row.origin for row in MOVES} == set(State) - TERMINAL


def test_no_event_leads_two_ways_from_one_state() -> None:
    keys = [(row.event, row.origin, mode) for row in MOVES for mode in row.modes]
    assert len(keys) == len(set(keys))


class _Life(RuleBasedStateMachine):
    """Whatever events come, caused by whomever."""

    one_way: ClassVar[set[State]] = {State.ACCEPTED, State.DISBURSEMENT_INSTRUCTED, State.DISBURSED}

    @initialize(mode=st.sampled_from(Mode))
    def begin(self, mode: Mode) -> None:
        self.mode = mode
        self.state = State.DRAFT
        self.passed = [State.DRAFT]
        self.events: list[Event] = []

    @rule(data=st.data())
    def likely(self, data: st.DataObject) -> None:
        rows = [row for row in MOVES if row.origin is self.state and self.mode in row.modes]
        if rows:
            row = data.draw(st.sampled_from(rows))
            actor = data.draw(st.sampled_from(sorted(row.actors)))
            assert move(self.state, row.event, mode=self.mode, actor=actor) is row.target
            self.state = row.target
            self.passed.append(row.target)
            self.events.append(row.event)

    @rule(event=st.sampled_from(Event), actor=st.sampled_from(Actor))
    def anything(self, event: Event, actor: Actor) -> None:
        told = [
            row.target
            for row in MOVES
            if (row.event, row.origin) == (event, self.state) and self.mode in row.modes and actor in row.actors
        ]
        try:
            target = move(self.state, event, mode=self.mode, actor=actor)
        except WrongState:
            assert told == []
            return
        assert told == [target]
        self.state = target
        self.passed.append(target)
        self.events.append(event)

    @invariant()
    def what_has_ended_stays_and_nothing_is_paid_twice_or_without_an_offer(self) -> None:
        assert all(state not in TERMINAL for state in self.passed[:-1])
        # A review by a person may follow a bank's refusal to pay, never a payment.
        refused = self.events.count(Event.REFUSE_DISBURSEMENT)
        for state in self.one_way:
            assert self.passed.count(state) <= 1 + (0 if state is State.DISBURSED else refused)
        if State.DISBURSED in self.passed:
            assert State.OFFERED in self.passed
            assert State.CONSENT_VERIFIED in self.passed
            assert State.IDENTITY_VERIFIED in self.passed


_Life.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLife = _Life.TestCase
