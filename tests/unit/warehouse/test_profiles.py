"""The connection that dbt makes to each engine."""

from __future__ import annotations

from ruamel.yaml import YAML

from credit301.warehouse.project import PROJECT


def test_where_duckdb_spills_to_is_said_when_the_file_is_opened() -> None:
    """A connection that sets the directory after another one has spilled fails, and with it the build of a large city."""
    duckdb = YAML(typ="safe").load(PROJECT / "profiles.yml")["credit301"]["outputs"]["duckdb"]
    assert {"temp_directory", "memory_limit"} <= set(duckdb["config_options"])
    assert "settings" not in duckdb
