"""The verbs simulate and exchange, called as the command line calls them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from credit301.errors import ConfigError, NotFound, SourceError
from credit301.workspace import Workspace
from simulator.city import MANIFEST, clock_of
from simulator.verbs import advance, city_directory, exchange, simulate
from tests.support.ports import free_port


def test_simulate_makes_a_city_and_says_what_is_in_it(wuhan: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = simulate(wuhan, enterprises=60, months=24)
    assert manifest["records"]["business_registration"] >= 60
    assert (city_directory(wuhan) / "truth.parquet").exists()
    told = capsys.readouterr().err
    assert "tax_declaration" in told
    assert "Bayes limit" in told


def test_simulate_keeps_the_same_city_and_replaces_another_one_only_by_force(wuhan: Workspace) -> None:
    first = simulate(wuhan, enterprises=60, months=24)
    written = (city_directory(wuhan) / "truth.parquet").stat().st_mtime_ns
    assert simulate(wuhan, enterprises=60, months=24) == first
    assert (city_directory(wuhan) / "truth.parquet").stat().st_mtime_ns == written
    with pytest.raises(ConfigError, match="--force"):
        simulate(wuhan, enterprises=60, months=24, seed=7)
    assert simulate(wuhan, enterprises=60, months=24, seed=7, force=True)["fingerprint"] != first["fingerprint"]


def an_earlier_version_wrote(directory: Path) -> None:
    manifest = json.loads((directory / MANIFEST).read_text())
    (directory / MANIFEST).write_text(json.dumps({**manifest, "format": 1}))


def test_a_city_of_an_earlier_version_is_replaced_where_nothing_was_pulled_from_it(wuhan: Workspace) -> None:
    first = simulate(wuhan, enterprises=60, months=24)
    an_earlier_version_wrote(city_directory(wuhan))
    assert simulate(wuhan, enterprises=60, months=24) == first


def test_a_city_of_an_earlier_version_that_was_pulled_from_is_refused_with_what_to_do(wuhan: Workspace) -> None:
    simulate(wuhan, enterprises=60, months=24)
    an_earlier_version_wrote(city_directory(wuhan))
    pulled = wuhan.paths.landing / "tax_payment" / "a.parquet"
    pulled.parent.mkdir(parents=True)
    pulled.touch()
    with pytest.raises(SourceError, match="format 1") as refused:
        simulate(wuhan, enterprises=60, months=24)
    assert "make clean" in str(refused.value)


def test_the_exchange_says_what_to_do_where_no_city_is(wuhan: Workspace) -> None:
    with pytest.raises(NotFound, match="simulate"):
        exchange(wuhan)


def test_the_exchange_refuses_a_clock_that_is_no_time(wuhan: Workspace) -> None:
    simulate(wuhan, enterprises=60, months=24)
    with pytest.raises(ConfigError, match="ISO"):
        exchange(wuhan, as_of="yesterday")


def test_time_goes_on_in_the_city_as_far_as_records_were_made_and_stays_there(wuhan: Workspace) -> None:
    # No exchange of anybody's is told.
    wuhan.settings.exchange_port = free_port()
    simulate(wuhan, enterprises=60, months=24)
    directory = city_directory(wuhan)
    end = clock_of(directory)
    moved = advance(wuhan, days=30)
    assert (moved["from"], moved["exchange_told"]) == (end.isoformat(), False)
    assert clock_of(directory) == end + timedelta(days=30)
    for earlier_or_later in (end.isoformat(), (end + timedelta(days=63)).isoformat()):
        with pytest.raises(ConfigError, match="its records end on"):
            advance(wuhan, to=earlier_or_later)
    assert clock_of(directory) == end + timedelta(days=30)
    with pytest.raises(ConfigError, match="no ISO time"):
        advance(wuhan, to="soon")
    # Another city has a time of its own.
    simulate(wuhan, enterprises=60, months=24, seed=7, force=True)
    assert clock_of(directory) == end
