"""Boosting on a Dask cluster: for more rows than one machine's memory holds, through LightGBM's own Dask interface.

Workers read their part of the rows and agree on histograms over the network (LightGBM's data-parallel learner); what
comes back is an ordinary LightGBM model in text form. Rows stay where they are: the driver sees neither the matrix nor
the labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from credit301.errors import ConfigError, ModelError
from training.submodels import Categories, encode

if TYPE_CHECKING:
    from distributed import Client

    from training.specs import ModelSpec

LOOPBACK = "127.0.0.1"
_HINT = "Install the extra: pip install 'credit301[distributed]' (dask, distributed)."
# LightGBM's Dask interface sets these itself, from the cluster.
_OWN = frozenset({"num_threads", "objective", "seed", "metric", "force_row_wise"})


@contextmanager
def cluster(address: str = "", *, workers: int = 2, memory: str = "auto", patience: float = 10.0) -> Iterator[Client]:
    """A client of the scheduler at ``address``; without one, of ``workers`` processes of this machine's own.

    Args:
        address: such as ``tcp://scheduler:8786``.
        workers: processes, of one thread each.
        memory: of each worker, such as ``4GiB``.
        patience: seconds to wait for the scheduler.

    Raises:
        ConfigError: Dask's scheduler is not installed, or nobody answers at ``address``.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ConfigError(
            "Training on a cluster needs Dask's scheduler, which is not installed.", hint=_HINT
        ) from error
    if address:
        try:
            client = Client(address, timeout=patience)
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigError(
                f"No Dask scheduler answers at {address}.", hint="Start one: dask scheduler; dask worker ADDRESS."
            ) from error
        with client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host=LOOPBACK,
            dashboard_address=None,
            memory_limit=memory,
        ) as local,
        Client(local) as client,
    ):
        yield client


def fit(
    client: Client,
    files: Sequence[Path],
    spec: ModelSpec,
    categories: Categories,
    label: str,
    parameters: dict[str, Any],
    trees: int,
    *,
    seed: int,
) -> str:
    """Learn ``label`` as ``spec`` says over the rows of Parquet ``files``, which every worker can read.

    Args:
        client: of the cluster.
        files: each row group is a part; there must be at least as many parts as workers.
        spec: what to learn from.
        categories: values of each categorical column in code order, as the sub-models have them.
        label: name of the column with 0 or 1.
        parameters: LightGBM's; how many threads a worker has is the cluster's to say.
        trees: how many.
        seed: of the draws.

    Returns:
        LightGBM's text, equal in form to that of a model fitted in one process.

    Raises:
        ModelError: there are fewer parts than workers, a column is missing, or training failed.
    """
    import dask.array as da
    from dask.delayed import delayed
    from lightgbm import DaskLGBMClassifier

    parts = _parts(files, [*(item.column for item in spec.inputs), label])
    workers = len(client.scheduler_info()["workers"])
    if len(parts) < workers:
        raise ModelError(
            f"There are {len(parts)} parts of data for {workers} workers: some would have nothing to do.",
            hint="Write more row groups (or files), or use fewer workers.",
        )
    columns = len(spec.inputs)
    matrices, labels = [], []
    for path, group, rows in parts:
        loaded = delayed(_load, nout=2)(path, group, spec, categories, label)
        matrices.append(da.from_delayed(loaded[0], (rows, columns), dtype=np.float64))
        labels.append(da.from_delayed(loaded[1], (rows,), dtype=np.float64))
    model = DaskLGBMClassifier(
        client=client,
        n_estimators=trees,
        random_state=seed,
        monotone_constraints=[item.monotone for item in spec.inputs],
        **{name: value for name, value in parameters.items() if name not in {*_OWN, "monotone_constraints"}},
    )
    try:
        model.fit(
            da.concatenate(matrices),
            da.concatenate(labels),
            feature_name=[item.column for item in spec.inputs],
            categorical_feature=[number for number, item in enumerate(spec.inputs) if item.category],
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"Training on the cluster failed: {error}", hint="See the workers' logs; each must read every file."
        ) from error
    return str(model.booster_.model_to_string())


def _parts(files: Sequence[Path], columns: Sequence[str]) -> list[tuple[str, int, int]]:
    """File, row group and its rows."""
    found = []
    for path in files:
        with pq.ParquetFile(path) as file:
            missing = sorted(set(columns) - set(file.schema_arrow.names))
            if missing:
                raise ModelError(
                    f"{path.name} has no column {', '.join(missing)}.", hint="Build the training set again."
                )
            found += [
                (str(path), group, file.metadata.row_group(group).num_rows) for group in range(file.num_row_groups)
            ]
    return [part for part in found if part[2]]


def _load(path: str, group: int, spec: ModelSpec, categories: Categories, label: str) -> tuple[np.ndarray, np.ndarray]:
    """A part's matrix, coded as the scorer codes it, and its labels; runs on a worker."""
    with pq.ParquetFile(path) as file:
        frame = file.read_row_group(group, columns=[*(item.column for item in spec.inputs), label]).to_pandas()
    return encode(frame, spec, categories), frame[label].to_numpy(np.float64)
