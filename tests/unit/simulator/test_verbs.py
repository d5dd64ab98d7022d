"""The verbs simulate and exchange, called as the command line calls them."""

from __future__ import annotations

import pytest

from credit301.errors import ConfigError, NotFound
from credit301.workspace import Workspace
from simulator.verbs import city_directory, exchange, simulate


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


def test_the_exchange_says_what_to_do_where_no_city_is(wuhan: Workspace) -> None:
    with pytest.raises(NotFound, match="simulate"):
        exchange(wuhan)


def test_the_exchange_refuses_a_clock_that_is_no_time(wuhan: Workspace) -> None:
    simulate(wuhan, enterprises=60, months=24)
    with pytest.raises(ConfigError, match="ISO"):
        exchange(wuhan, as_of="yesterday")
