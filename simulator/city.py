"""A city that does not exist: made from a configuration, kept as Parquet, the same bytes for the same seed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from credit301.errors import ConfigError, NotFound, SourceError
from credit301.files import write_atomically
from simulator.columns import money
from simulator.config import SECONDS_PER_DAY, TAIL_DAYS, CityConfig
from simulator.schema import SCHEMAS, SEQUENCE
from simulator.store import in_stream_order, seconds_of, write_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FORMAT = 2
MANIFEST = "manifest.json"
CLOCK = "clock.json"
BEGIN_ANEW = (
    "What was pulled from it does not fit another one: `make clean` clears the home, and `make demo` begins anew. "
    "`credit301 simulate --force` replaces the city alone. "
    "已拉取的旧数据不能与新城市混用：先 `make clean` 清空，再 `make demo`；`credit301 simulate --force` 只替换城市。"
)
_PERFORMANCE_MONTHS = 12


@dataclass(frozen=True, slots=True)
class City:
    """A whole city in memory.

    `sources` maps each source to its records in stream order, with the contract's columns and `_sequence`;
    `truth` (loan_id, uscc, decided_at, true_pd, defaulted) and `rings` (ring_id, uscc, loan_id, decided_at) are never
    served.
    """

    config: CityConfig
    sources: dict[str, pa.Table]
    truth: pa.Table
    rings: pa.Table

    def save(self, directory: Path) -> dict[str, Any]:
        """Write the city to `directory` and return its manifest."""
        with fresh(directory) as (target, _):
            rows = {
                name: write_rows(target / f"{name}.parquet", stored_schema(name), [table])
                for name, table in self.sources.items()
            }
            return finish(target, self.config, rows, self.truth, self.rings)

    @classmethod
    def load(cls, directory: Path) -> City:
        """Read a saved city. Raises NotFound where there is none, SourceError where its format is another one."""
        manifest = read_manifest(directory)
        config = CityConfig(**{**manifest["config"], "start": date.fromisoformat(manifest["config"]["start"])})
        sources = {name: pq.read_table(directory / f"{name}.parquet") for name in SCHEMAS}
        truth, rings = (pq.read_table(directory / f"{name}.parquet") for name in ("truth", "rings"))
        return cls(config, sources, truth, rings)


def stored_schema(source: str) -> pa.Schema:
    """The contract's columns of `source` and the sequence number."""
    return SCHEMAS[source].append(pa.field(SEQUENCE, pa.int64()))


class Block(NamedTuple):
    """A block's records by source, unsorted, and the truth about its loans and its rings."""

    records: dict[str, pa.Table]
    truth: pa.Table
    rings: pa.Table


def make_block(config: CityConfig, block: int, indices: range) -> Block:
    """Everything about the enterprises `indices`."""
    from simulator.account import account_table
    from simulator.aftermath import follow
    from simulator.behaviour import event_table
    from simulator.court import court_table
    from simulator.dynamics import economy, live
    from simulator.enterprises import found
    from simulator.hazard import drivers
    from simulator.housing import housing_table
    from simulator.insurance import insurance_table
    from simulator.loans import lend, loan_table, truth_table
    from simulator.payments import payment_table
    from simulator.profile import profile_table
    from simulator.reform import reform_table
    from simulator.registration import registration_table
    from simulator.repayments import repayment_table
    from simulator.rings import conspire, ring_table
    from simulator.statements import statement_table
    from simulator.support import support_table
    from simulator.tax import declare, monthly_sales, open_months, tax_table
    from simulator.troubles import befall

    times = economy(config)
    firms = found(config, block, indices)
    lives = live(config, block, firms, times)
    troubles = befall(config, block, firms, lives)
    loans = lend(config, block, firms, drivers(firms, lives, troubles, times))
    after = follow(config, block, firms, lives, loans)
    sales = monthly_sales(config, firms, lives, times, after)
    active = open_months(config, lives, after)
    filings = declare(config, block, firms, lives, sales, active)
    register = registration_table(config, block, firms, troubles, after)
    rings = conspire(config, block, firms, loans)
    records = {
        "business_registration": register,
        "tax_declaration": tax_table(firms, filings),
        "social_insurance": insurance_table(config, block, firms, lives, after, active),
        "financial_statements": statement_table(config, block, firms, lives, sales, active),
        "judicial_penalty": court_table(config, block, firms, troubles, after),
        "bank_loan": loan_table(config, block, firms, loans),
        "bank_repayment": repayment_table(config, block, firms, lives, loans),
        "enterprise_profile": profile_table(config, block, firms, register, rings),
        "development_reform": reform_table(config, block, firms, lives, troubles, active),
        "tax_payment": payment_table(config, block, firms, lives, filings),
        "fiscal_support": support_table(config, block, firms, lives, active),
        "housing_fund": housing_table(config, block, firms, lives, after, active),
        "bank_account_flow": account_table(config, block, firms, lives, after, sales, active),
        "platform_event": event_table(config, block, firms, lives, register, loans, rings),
    }
    last_second = (config.end_day + TAIL_DAYS) * SECONDS_PER_DAY
    kept = {name: table.filter(pa.array(seconds_of(table) < last_second)) for name, table in records.items()}
    return Block(kept, truth_table(firms, loans), ring_table(firms, loans, rings))


def generate(config: CityConfig) -> City:
    """Make a city in memory; `write_city` makes the same one with bounded memory."""
    blocks = [make_block(config, block, indices) for block, indices in enumerate(config.blocks)]
    sources = {name: in_stream_order([block.records[name] for block in blocks], 0) for name in SCHEMAS}
    return City(config, sources, _joined(block.truth for block in blocks), _joined(block.rings for block in blocks))


def _joined(tables: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).combine_chunks()


def write_city(config: CityConfig, directory: Path) -> dict[str, Any]:
    """Make a city of any size straight into `directory` (replaced if it exists) and return its manifest.

    Memory is bounded by one block of enterprises and one month of records: blocks are spilled in pieces by month,
    then each month is put in order on its own.
    """
    with fresh(directory) as (target, spill):
        truth, rings = [], []
        for block, indices in enumerate(config.blocks):
            made = make_block(config, block, indices)
            truth.append(made.truth)
            rings.append(made.rings)
            for name in list(made.records):
                _spill(spill / f"{name}.{block}.parquet", made.records.pop(name), _edges(config))
        rows = {
            name: write_rows(target / f"{name}.parquet", stored_schema(name), _merged(config, spill, name))
            for name in SCHEMAS
        }
        return finish(target, config, rows, _joined(truth), _joined(rings))


def _edges(config: CityConfig) -> np.ndarray:
    """Seconds at which a new piece of the stream begins: the months of history."""
    months = np.arange(config.month0, config.month0 + config.months + 3)
    return months.astype("datetime64[M]").astype("datetime64[s]").astype(np.int64)


def _spill(path: Path, table: pa.Table, edges: np.ndarray) -> None:
    """Write a block's records with one row group per piece of the stream."""
    seconds = seconds_of(table)
    order = np.argsort(seconds, kind="stable")
    table = table.take(pa.array(order))
    cuts = [0, *np.searchsorted(seconds[order], edges).tolist(), table.num_rows]
    with pq.ParquetWriter(path, table.schema, compression="lz4", use_dictionary=False) as writer:
        for start, stop in pairwise(cuts):
            writer.write_table(table.slice(start, stop - start), row_group_size=max(stop - start, 1))


def _merged(config: CityConfig, spill: Path, source: str) -> Iterator[pa.Table]:
    files = [pq.ParquetFile(spill / f"{source}.{block}.parquet") for block in range(len(config.blocks))]
    first = 0
    for piece in range(len(_edges(config)) + 1):
        ordered = in_stream_order([file.read_row_group(piece) for file in files], first)
        first += ordered.num_rows
        yield ordered
    for file in files:
        file.close()


class fresh:  # noqa: N801
    """A directory that appears under its name only when it is complete, and a scratch directory beside it."""

    def __init__(self, directory: Path) -> None:
        self._final = directory
        self._target = directory.with_name(f".{directory.name}.new")
        self._spill = directory.with_name(f".{directory.name}.spill")

    def __enter__(self) -> tuple[Path, Path]:
        for path in (self._target, self._spill):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        return self._target, self._spill

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        shutil.rmtree(self._spill, ignore_errors=True)
        if kind is not None:
            shutil.rmtree(self._target, ignore_errors=True)
            return
        shutil.rmtree(self._final, ignore_errors=True)
        self._target.rename(self._final)


def finish(
    target: Path,
    config: CityConfig,
    rows: Mapping[str, int],
    truth: pa.Table,
    rings: pa.Table,
    *,
    increment: bool = False,
) -> dict[str, Any]:
    """Write what is never served and the manifest to `target`, and return the manifest."""
    pq.write_table(truth, target / "truth.parquet", compression="zstd")
    pq.write_table(rings, target / "rings.parquet", compression="zstd")
    manifest = {
        "format": FORMAT,
        "fingerprint": config.fingerprint,
        "config": config.as_dict(),
        "end": config.end.isoformat(),
        "records": dict(rows),
        "increment": increment,
        **facts(config, truth),
    }
    (target / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    return manifest


def facts(config: CityConfig, truth: pa.Table) -> dict[str, Any]:
    """Counts and rates of the loans, and the Bayes limit: the AUC that the true probabilities themselves reach."""
    defaulted = truth["defaulted"].to_numpy().astype(bool)
    probability = truth["true_pd"].to_numpy()
    decided = truth["decided_at"].to_numpy().astype("datetime64[D]").astype(np.int64)
    # 370 days: twelve months from a disbursement some days after the decision.
    complete = decided + 370 <= config.end_day
    return {
        "loans": len(probability),
        "loans_complete": int(complete.sum()),
        "defaults_complete": int(defaulted[complete].sum()),
        "default_rate": float(defaulted.mean()) if len(defaulted) else 0.0,
        "bayes_auc": auc(defaulted, probability),
    }


def auc(label: np.ndarray, score: np.ndarray) -> float | None:
    """Area under the ROC curve of `score` (n) for `label` (n booleans), None where only one class is there."""
    positives = int(label.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((rank[label].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a saved city. Raises NotFound where there is none, SourceError where its format is another."""
    path = Path(directory) / MANIFEST
    if not path.exists():
        raise NotFound(f"There is no city in {directory}.", hint="Run `credit301 simulate` first.")
    manifest: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    if manifest.get("format") != FORMAT:
        raise SourceError(
            f"The city in {directory} has format {manifest.get('format')}, this version reads {FORMAT}.",
            hint=BEGIN_ANEW,
        )
    return manifest


def clock_of(directory: Path) -> datetime:
    """The city's time: the end of its history, or what it was moved on to. Raises as :func:`read_manifest` does."""
    end = datetime.fromisoformat(read_manifest(directory)["end"])
    path = directory / CLOCK
    return msgspec.json.decode(path.read_bytes(), type=datetime) if path.exists() else end


def move_clock(directory: Path, moment: datetime) -> datetime:
    """Let it be ``moment`` in the city, and return the latest that it can be: until then records were made.

    Raises:
        ConfigError: it is earlier than the city's time, or later than records were made for.
        NotFound: there is no city.
    """
    now = clock_of(directory)
    last = datetime.fromisoformat(read_manifest(directory)["end"]) + timedelta(days=TAIL_DAYS)
    if not now <= moment <= last:
        raise ConfigError(
            f"It is {now:%Y-%m-%d} in the city, and its records end on {last:%Y-%m-%d}; asked for: {moment:%Y-%m-%d}.",
            hint="Time goes on only; a city with a longer history: credit301 simulate --months N.",
        )
    write_atomically(directory / CLOCK, moment.isoformat())
    return last


def sample_applicants(city: City, count: int, seed: int = 0) -> pa.Table:
    """`count` enterprises in business at the end of the history, as they would apply for credit.

    Returns columns uscc, enterprise_name, legal_representative_key, enterprise_type, industry_code, requested_amount,
    term_months; fewer rows where the city has fewer enterprises. The same seed gives the same applicants.
    """
    register = city.sources["business_registration"]
    codes = register["uscc"].combine_chunks().dictionary_encode()
    index = codes.indices.to_numpy()
    latest = np.full(len(codes.dictionary), -1)
    np.maximum.at(latest, index, np.arange(len(index)))
    current = register.take(pa.array(latest))
    current = current.filter(pa.array(np.isin(np.array(current["status"].to_pylist()), ["active", "abnormal"])))
    rng = np.random.default_rng([city.config.seed, seed])
    chosen = current.take(pa.array(rng.permutation(current.num_rows)[:count]))
    amounts = rng.integers(5, 200, chosen.num_rows) * 10_000.0
    columns = ["uscc", "enterprise_name", "legal_representative_key", "enterprise_type", "industry_code"]
    return (
        chosen.select(columns)
        .append_column("requested_amount", money(amounts))
        .append_column("term_months", pa.array(rng.choice([6, 12, 24], chosen.num_rows).astype(np.int32)))
    )
