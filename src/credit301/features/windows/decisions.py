"""Windows at past decisions, for training: the device, network, person and address are those of the application."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from credit301.derive.dbt import LABELS_MODEL
from credit301.errors import FeatureStoreError
from credit301.features.windows.definition import WindowSet, window_sets
from credit301.features.windows.history import ARRIVED, arrived, counts_at
from credit301.files import replacing

if TYPE_CHECKING:
    from credit301.workspace import Workspace


def windows_at_decisions(workspace: Workspace) -> tuple[Path, int, int]:
    """Write the windows at each labelled decision as Parquet: the entity's key, ``decision_time``, and every window.

    The subjects of a decision are those of the enterprise's last event known at it.

    Returns:
        The file's path, its rows, and its windows.

    Raises:
        FeatureStoreError: there are no labels, or no windows.
    """
    labels, sets, key = workspace.paths.mart(LABELS_MODEL), window_sets(workspace), workspace.entity.key
    if not labels.is_file() or not sets:
        raise FeatureStoreError(
            "There are no decisions to compute windows at.",
            hint="Windows are declared in a contract; labels come with `credit301 build`.",
        )
    with duckdb.connect(config={"threads": workspace.settings.cpu_threads}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        decisions: pa.Table = connection.execute(
            f'SELECT "{key}", decision_time, epoch_us(decision_time) AS at FROM read_parquet($1) ORDER BY 2, 1',
            [str(labels)],
        ).to_arrow_table()
        table = decisions.drop_columns(["at"])
        for windows in sets:
            arrived(connection, workspace, windows)
            counted = counts_at(connection, windows, _points(connection, windows, decisions, key))
            for name in counted.column_names:
                table = table.append_column(name.replace(":", "__"), counted.column(name))
    target = workspace.paths.window_features
    with replacing(target) as temporary:
        pq.write_table(table, temporary)
    return target, table.num_rows, table.num_columns - 2


def _points(connection: duckdb.DuckDBPyConnection, windows: WindowSet, decisions: pa.Table, key: str) -> pa.Table:
    came = f'epoch_us("{windows.contract.time.available_at}")'
    others = [subject.column for subject in windows.subjects if subject.column != key]
    last = "".join(f', max_by(e."{name}", {came}) AS "{name}"' for name in others)
    connection.register("_decisions", decisions)
    points = connection.sql(
        f'SELECT d.at, d."{key}"{last} FROM _decisions d LEFT JOIN {ARRIVED} e '
        f'ON e."{key}" = d."{key}" AND {came} <= d.at GROUP BY d.at, d."{key}" ORDER BY d.at, d."{key}"'
    ).to_arrow_table()
    connection.unregister("_decisions")
    return points
