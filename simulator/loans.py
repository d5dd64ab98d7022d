"""Who borrows and who defaults: the default is drawn from its exact probability, everything after follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simulator.columns import day as day_column
from simulator.columns import moment, money, numbered, pick, rate, table, whole
from simulator.config import SECONDS_PER_DAY, WARM_UP, at_work, month_start_day, sigmoid
from simulator.hazard import log_odds
from simulator.schema import TRUTH

if TYPE_CHECKING:
    from simulator.config import Bools, CityConfig, Floats, Ints
    from simulator.enterprises import Enterprises
    from simulator.hazard import Drivers

FIRST_MONTH = 6
"""First history month with loans: before it no source has anything to say."""

_LOANS_EACH = np.array([0.03, 0.28, 0.41, 0.28])
_TERMS = np.array([6, 12, 24, 36])
_TERM_SHARES = np.array([0.12, 0.58, 0.24, 0.06])
_PRODUCTS = pa.array(["credit_301", "tax_credit", "working_capital"])
BULLET = 2
_BANKS = pa.array(["HKB", "WRCB", "ICBC", "CCB", "BOC", "ABC"])
_BANK_SHARES = np.array([0.26, 0.22, 0.16, 0.16, 0.10, 0.10])
LATEST_MISS = 8
"""Last instalment whose omission is 90 days old, and seen so at a month's end, within 12 months of disbursement."""
_LATER_DEFAULT = 0.5
_USUAL_ODDS = 3.2
NEVER = 10**6


@dataclass(frozen=True, slots=True)
class Loans:
    """m loans, by enterprise (`firm`, position in the block) and time.

    `step` is the path month of the decision, `true_pd` the probability of default_12m given all that drives it at
    the decision, `missed` the first instalment never paid in time (NEVER for none).
    """

    firm: Ints
    ordinal: Ints
    step: Ints
    decided: Ints
    disbursed_day: Ints
    term: Ints
    product: Ints
    bank: Ints
    amount: Floats
    annual_rate: Floats
    true_pd: Floats
    defaulted: Bools
    missed: Ints

    def __len__(self) -> int:
        """Number of loans."""
        return len(self.firm)

    def ids(self, firms: Enterprises) -> pa.Array:
        """Loan numbers (m)."""
        return numbered("L", firms.index[self.firm] * 10 + self.ordinal)

    @property
    def distress_step(self) -> Ints:
        """Path month in which a loan is 90 days past due; NEVER for a good one."""
        return np.where(self.missed < NEVER, self.step + self.missed + 3, NEVER)


def lend(config: CityConfig, block: int, firms: Enterprises, state: Drivers) -> Loans:
    """Let the enterprises of one block borrow."""
    rng = config.rng("loans", block)
    firm, ordinal, month = _applications(config, rng, firms)
    step = month + WARM_UP
    count = len(firm)
    odds = log_odds(state, firm, step)
    true_pd = sigmoid(odds)
    defaulted = rng.random(count) < true_pd
    term = rng.choice(_TERMS, count, p=_TERM_SHARES)
    # Deterioration takes time: the middle of the window is likelier than its first month.
    early = 1 + rng.binomial(LATEST_MISS - 1, rng.beta(2.0, 1.6, count))
    later = (rng.random(count) < _LATER_DEFAULT * true_pd) & (term > 12) & ~defaulted  # noqa: PLR2004
    missed = np.where(defaulted, np.minimum(early, term), np.where(later, rng.integers(10, 13, count), NEVER))

    # A bank lends no more to whom another loan is already in arrears.
    refusal = np.where(missed < NEVER, step + missed, NEVER)
    earliest = _earliest_before(firm, refusal)
    kept = step < earliest

    decided_day = month_start_day(month + config.month0) + rng.integers(0, 28, count)
    decided = at_work(rng, decided_day)
    share = rng.uniform(0.04, 0.18, count)
    amount = np.clip(np.rint(firms.revenue[firm] * share / 10_000), 3, 500) * 10_000
    # The bank sees risk dimly and prices it; what a later decision learns from it is the rate of an earlier loan.
    impression = odds + _USUAL_ODDS + rng.normal(0.0, 1.0, count)
    annual_rate = np.clip(np.rint((0.0418 + 0.0025 * impression) * 20_000) / 20_000, 0.03, 0.07)
    loans = {
        "firm": firm, "ordinal": ordinal, "step": step, "decided": decided,
        "disbursed_day": decided_day + rng.integers(0, 3, count), "term": term,
        "product": rng.integers(0, len(_PRODUCTS), count),
        "bank": rng.choice(len(_BANKS), count, p=_BANK_SHARES), "amount": amount, "annual_rate": annual_rate,
        "true_pd": true_pd, "defaulted": defaulted, "missed": missed,
    }  # fmt: skip
    return Loans(**{name: values[kept] for name, values in loans.items()})


def _applications(config: CityConfig, rng: np.random.Generator, firms: Enterprises) -> tuple[Ints, Ints, Ints]:
    """Which enterprises apply, for which loan of theirs, in which history month: spread over the time they have."""
    count = rng.choice(len(_LOANS_EACH), len(firms), p=_LOANS_EACH)
    first = np.maximum(FIRST_MONTH, firms.born - WARM_UP + 6)
    span = config.months - first
    count[span < 3] = 0  # noqa: PLR2004
    firm = np.repeat(np.arange(len(firms)), count)
    ordinal = np.arange(len(firm)) - np.repeat(np.cumsum(count) - count, count)
    place = (ordinal + rng.random(len(firm))) / count[firm]
    month = first[firm] + np.floor(span[firm] * place**1.15).astype(np.int64)
    return firm, ordinal, month


def _earliest_before(firm: Ints, step: Ints) -> Ints:
    """Smallest `step` among the earlier loans of the same enterprise (loans ordered by enterprise and time)."""
    earliest = np.full(len(firm), NEVER)
    for back in range(1, len(_LOANS_EACH)):
        same = firm[back:] == firm[:-back]
        earliest[back:] = np.where(same, np.minimum(earliest[back:], step[:-back]), earliest[back:])
    return earliest


def loan_table(config: CityConfig, block: int, firms: Enterprises, loans: Loans) -> pa.Table:
    """Records of source bank_loan: known to the platform the morning after the decision."""
    rng = config.rng("loan records", block)
    morning = (loans.decided // SECONDS_PER_DAY + 1) * SECONDS_PER_DAY + rng.integers(5 * 3600, 8 * 3600, len(loans))
    return table(
        "bank_loan",
        {
            "loan_id": loans.ids(firms),
            "uscc": pick(firms.uscc, loans.firm),
            "bank_code": pick(_BANKS, loans.bank),
            "product": pick(_PRODUCTS, loans.product),
            "amount": money(loans.amount),
            "annual_rate": rate(loans.annual_rate),
            "term_months": whole(loans.term),
            "decided_at": moment(loans.decided),
            "disbursed_on": day_column(loans.disbursed_day),
            "event_time": moment(loans.decided),
            "available_at": moment(morning),
        },
    )


def truth_table(firms: Enterprises, loans: Loans) -> pa.Table:
    """What nobody is served: the probability that each label was drawn from, and the label."""
    return pa.table(
        [
            loans.ids(firms), pick(firms.uscc, loans.firm), moment(loans.decided), pa.array(loans.true_pd),
            pa.array(loans.defaulted),
        ],
        schema=TRUTH,
    )  # fmt: skip
