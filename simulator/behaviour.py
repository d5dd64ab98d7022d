"""What applicants do on the platform: logins, page steps, edits and verifications on the way to an application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.codes import districts
from simulator.columns import moment, numbered, ordinal_in_group, pick, table, whole
from simulator.config import sigmoid
from simulator.enterprises import random_keys

if TYPE_CHECKING:
    from simulator.config import Bools, CityConfig, Floats, Ints
    from simulator.dynamics import Lives
    from simulator.enterprises import Enterprises
    from simulator.loans import Loans
    from simulator.rings import Rings

EVENT_KINDS = pa.array(["login", "page_step", "form_edit", "verification", "submission"])
_LOGIN, _STEP, _EDIT, _VERIFICATION, _SUBMISSION = range(5)
PAGE_STEPS = pa.array(["sign_in", "enterprise_information", "amount_and_term", "identity", "confirmation"])
VERIFICATIONS = pa.array(["identity_document", "face"])
RESULTS = pa.array(["passed", "failed"])
_PAGE_OF_KIND = np.array([0, 1, 2, 3, 4])
_SECONDS = np.array([8.0, 45.0, 35.0, 25.0, 12.0])
_IN_A_HURRY = 0.45
"""Factor on the time that a ring takes: its forms are prepared."""

_SHARED_DEVICE, _SHARED_NETWORK, _SHARED_PERSON, _SHARED_ADDRESS = 0.8, 0.75, 0.5, 0.6
_PUBLIC_NETWORK = 0.04
_PUBLIC_NETWORKS_EACH = 5


@dataclass(frozen=True, slots=True)
class _Events:
    """Events in the order of loan and time: application (`loan`), `kind`, and whether a verification `failed`."""

    loan: Ints
    kind: Ints
    failed: Bools


def event_table(
    config: CityConfig, block: int, firms: Enterprises, lives: Lives, register: pa.Table, loans: Loans, rings: Rings
) -> pa.Table:
    """Records of source platform_event: the minutes before each decision, known within seconds.

    `register` holds the block's records of business_registration: who applies is who represented the enterprise when it
    was founded, or the one person behind many applications of a ring.
    """
    rng = config.rng("platform events", block)
    events = _events(rng, firms, loans, rings)
    loan, kind, count = events.loan, events.kind, len(events.loan)
    strain = lives.strain[loans.firm, loans.step - 1]
    hesitation = np.exp(0.5 - 0.3 * firms.discipline[loans.firm] + 0.25 * strain)
    hurry = np.where(rings.of_loan >= 0, _IN_A_HURRY, 1.0)[loan]
    seconds = np.maximum(np.rint(_SECONDS[kind] * hurry * np.exp(rng.normal(0.0, 0.5, count))), 1)
    happened = loans.decided[loan] - _until_the_end(loan, seconds)
    person, device, network = _shared_keys(rng, firms, register, loans, rings)
    verified = kind == _VERIFICATION
    return table(
        "platform_event",
        {
            "event_id": numbered("E", (firms.index[loans.firm[loan]] * 10 + loans.ordinal[loan]) * 100
                                 + ordinal_in_group(loan)),
            "uscc": pick(firms.uscc, loans.firm[loan]),
            "application_id": pick(numbered("A", firms.index[loans.firm] * 10 + loans.ordinal), loan),
            "event_kind": pick(EVENT_KINDS, kind),
            "page_step": pick(PAGE_STEPS, _PAGE_OF_KIND[kind]),
            "verification_kind": pick(VERIFICATIONS, ordinal_in_group(loan) % 2, missing=~verified),
            "verification_result": pick(RESULTS, events.failed.astype(np.int64), missing=~verified),
            "edit_count": whole(np.where(kind == _EDIT, 1 + rng.poisson(hesitation[loan]), 0)),
            "duration_seconds": whole(seconds),
            "applicant_key": pick(person, loan),
            "device_key": pick(device, loan),
            "ip_key": pick(network, loan),
            "address_key": pick(_addresses(config.rng("platform addresses", block), firms, loans, rings), loan),
            "event_time": moment(happened),
            "available_at": moment(happened + rng.integers(1, 6, count)),
        },
    )  # fmt: skip


def _events(rng: np.random.Generator, firms: Enterprises, loans: Loans, rings: Rings) -> _Events:
    """A login, a page, edits, one or more verifications and the submission of every application."""
    everyone, ring = np.arange(len(loans)), rings.of_loan >= 0
    chance = sigmoid(-2.9 - 0.4 * firms.governance[loans.firm] + 1.2 * ring)
    first, second = rng.random(len(loans)) < chance, rng.random(len(loans)) < chance
    again, third = np.flatnonzero(first), np.flatnonzero(first & second)
    never = np.zeros(len(loans), dtype=bool)
    slots: list[tuple[Ints, int, Bools]] = [
        (everyone, _LOGIN, never), (everyone, _STEP, never), (everyone, _EDIT, never),
        (everyone, _VERIFICATION, first), (again, _VERIFICATION, second[again]), (third, _VERIFICATION, never[third]),
        (everyone, _SUBMISSION, never),
    ]  # fmt: skip
    loan = np.concatenate([rows for rows, _, _ in slots])
    kind = np.repeat([number for _, number, _ in slots], [len(rows) for rows, _, _ in slots])
    failed = np.concatenate([result for _, _, result in slots])
    order = np.argsort(loan, kind="stable")
    return _Events(loan[order], kind[order], failed[order])


def _until_the_end(loan: Ints, seconds: Floats) -> Ints:
    """Seconds from each event to the decision on its application: its own and those of all that follow it."""
    total = np.cumsum(seconds[::-1])[::-1]
    last = np.flatnonzero(np.concatenate([loan[1:] != loan[:-1], [True]])) if len(loan) else np.zeros(0, dtype=int)
    rest = np.concatenate([total[1:], [0.0]])[last]
    group = np.cumsum(np.concatenate([[False], loan[1:] != loan[:-1]]))[: len(loan)]
    return (total - rest[group]).astype(np.int64) if len(loan) else np.zeros(0, dtype=np.int64)


def _addresses(rng: np.random.Generator, firms: Enterprises, loans: Loans, rings: Rings) -> pa.Array:
    """Keyed hash of the address that each application (loans) gives: the enterprise's own, or a ring's."""
    shared = (rng.random(len(loans)) < _SHARED_ADDRESS) & (rings.of_loan >= 0)
    return pick(
        random_keys(rng, len(firms) + rings.count),
        np.where(shared, len(firms) + rings.of_loan, loans.firm),
    )


def _shared_keys(
    rng: np.random.Generator, firms: Enterprises, register: pa.Table, loans: Loans, rings: Rings
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Keyed hashes of person, device and network of each application (loans): an owner's, or a ring's."""
    founders = register.filter(pc.equal(register["change_kind"], "founding"))["legal_representative_key"]
    owner, ring = firms.owner[loans.firm], rings.of_loan

    def shared(share: float, each: int) -> tuple[np.ndarray, Ints]:
        chosen = (rng.random(len(loans)) < share) & (ring >= 0)
        return chosen, ring * each + rng.integers(0, each, len(loans))

    def keys(own: pa.Array, index: Ints, share: float, each: int) -> pa.Array:
        chosen, of_ring = shared(share, each)
        whole = pa.concat_arrays([own, random_keys(rng, rings.count * each)])
        return pick(whole, np.where(chosen, len(own) + of_ring, index))

    person = keys(founders.combine_chunks(), loans.firm, _SHARED_PERSON, 1)
    # Some owners change devices between applications.
    newer = (rng.random(len(loans)) < 0.2) & (loans.ordinal > 0)  # noqa: PLR2004
    device = keys(random_keys(rng, 2 * len(firms)), owner + len(firms) * newer, _SHARED_DEVICE, 2)
    # Strangers meet in the networks of business parks and mobile operators, too.
    public = rng.random(len(loans)) < _PUBLIC_NETWORK
    place = len(firms) + firms.district[loans.firm] * _PUBLIC_NETWORKS_EACH
    place += rng.integers(0, _PUBLIC_NETWORKS_EACH, len(loans))
    own = random_keys(rng, len(firms) + len(districts().code) * _PUBLIC_NETWORKS_EACH)
    network = keys(own, np.where(public, place, owner), _SHARED_NETWORK, 2)
    return person, device, network
