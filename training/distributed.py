"""Boosting on a Dask cluster: for more rows than one machine's memory holds, through LightGBM's own Dask interface.

Workers read their part of the rows and agree on histograms over the network (LightGBM's data-parallel learner); what
comes back is an ordinary LightGBM model in text form. Rows stay where they are: the driver sees neither the matrix nor
the labels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from credit301.errors import ConfigError, ModelError
from training.frames import encode

if TYPE_CHECKING:
    from distributed import Client

    from training.dataset import Categories
    from training.specs import ModelSpec

LOOPBACK = "127.0.0.1"
_HINT = "Install the extra: pip install 'credit301[distributed]' (dask, distributed)."
# LightGBM's Dask interface sets these itself, from the cluster.
_OWN = frozenset({"num_threads", "objective", "seed", "metric", "force_row_wise"})
_PLACES = ("[machines:", "[machine_list_filename:", "[local_listen_port:")
PARTS_OF_A_WORKER = 2


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


@dataclass(frozen=True)
class Part:
    """Rows of one row group of a Parquet file; ``chosen`` are bits, one a row of the group, and empty for all."""

    path: str
    group: int
    rows: int
    chosen: bytes = b""


def parts(path: Path, places: np.ndarray | None, workers: int) -> list[Part]:
    """The rows of a file with the ascending numbers ``places`` (or all), as parts of about the same size.

    There are at least two parts for each of the ``workers``, if there are as many rows.
    """
    found: list[Part] = []
    with pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    total = sum(groups) if places is None else len(places)
    most, first = max(1, -(-total // (PARTS_OF_A_WORKER * workers))), 0
    for number, rows in enumerate(groups):
        if places is None:
            own = np.arange(rows)
        else:
            own = places[slice(*np.searchsorted(places, [first, first + rows]))] - first
        for piece in np.array_split(own, max(1, -(-len(own) // most))):
            if len(piece) == rows:
                found.append(Part(str(path), number, rows))
            elif len(piece):
                bits = np.zeros(rows, dtype=bool)
                bits[piece] = True
                found.append(Part(str(path), number, len(piece), np.packbits(bits).tobytes()))
        first += rows
    return found


@contextmanager
def joined_to(address: str, path: Path) -> Iterator[Client | None]:
    """A client of the scheduler at ``address`` whose workers can read the training set; none without an address.

    Raises:
        ConfigError: as :func:`cluster` and :func:`check`.
    """
    if not address:
        yield None
        return
    with cluster(address) as client:
        check(client, path)
        yield client


def check(client: Client, path: Path) -> None:
    """See that every worker runs this code and can read the training set.

    Raises:
        ConfigError: there is no worker, or one of them cannot.
    """
    if not client.nthreads():
        raise ConfigError(
            "The Dask scheduler has no worker. Dask 调度器没有可用的 worker。", hint="Start some: dask worker ADDRESS."
        )
    try:
        reading = client.run(_sees, str(path))
    except Exception as error:
        raise ConfigError(
            f"A Dask worker cannot run this platform's code: {error}. Dask worker 无法运行平台代码。",
            hint="Install the same version of credit301 on every worker, and start it in the project's folder.",
        ) from error
    blind = sorted(name for name, sees in reading.items() if not sees)
    if blind:
        raise ConfigError(
            f"{len(blind)} Dask workers cannot read {path.name} ({blind[0]}). 部分 Dask worker 读不到训练集。",
            hint="CREDIT301_HOME must be a file system that all of them share.",
        )


def fit(
    client: Client,
    pieces: Sequence[Part],
    spec: ModelSpec,
    categories: Categories,
    label: str,
    parameters: dict[str, Any],
    trees: int,
    *,
    seed: int,
) -> str:
    """Learn ``label`` as ``spec`` says over the rows of ``pieces``, whose files every worker can read.

    Args:
        client: of the cluster.
        pieces: there must be at least as many as workers.
        spec: what to learn from.
        categories: values of each categorical column in code order, as the sub-models have them.
        label: name of the column with 0 or 1.
        parameters: LightGBM's; how many threads a worker has is the cluster's to say.
        trees: how many.
        seed: of the draws.

    Returns:
        LightGBM's text, equal in form to that of a model fitted in one process.

    Raises:
        ModelError: there are fewer pieces than workers, a column is missing, or training failed.
    """
    import dask.array as da
    from dask.delayed import delayed
    from lightgbm import DaskLGBMClassifier

    names = [*(item.column for item in spec.inputs), label]
    for path in {piece.path for piece in pieces}:
        missing = sorted(set(names) - set(pq.read_schema(path).names))
        if missing:
            raise ModelError(
                f"{Path(path).name} has no column {', '.join(missing)}.", hint="Build the training set again."
            )
    workers = len(client.nthreads())
    if len(pieces) < workers:
        raise ModelError(
            f"There are {len(pieces)} rows for {workers} workers: some would have nothing to do.",
            hint="Use fewer workers.",
        )
    columns = len(spec.inputs)
    matrices, labels = [], []
    for piece in pieces:
        loaded = delayed(_load, nout=2)(piece, spec, categories, label)
        matrices.append(da.from_delayed(loaded[0], (piece.rows, columns), dtype=np.float64))
        labels.append(da.from_delayed(loaded[1], (piece.rows,), dtype=np.float64))
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
    return _without_addresses(str(model.booster_.model_to_string()))


def _without_addresses(text: str) -> str:
    """LightGBM's text without the lines that say where it was trained."""
    return "\n".join(line for line in text.split("\n") if not line.startswith(_PLACES))


def _sees(path: str) -> bool:
    """Whether this process can read a file; runs on a worker."""
    return os.access(path, os.R_OK)


def _load(piece: Part, spec: ModelSpec, categories: Categories, label: str) -> tuple[np.ndarray, np.ndarray]:
    """A part's matrix, coded as the scorer codes it, and its labels; runs on a worker."""
    with pq.ParquetFile(piece.path) as file:
        table = file.read_row_group(piece.group, columns=[*(item.column for item in spec.inputs), label])
    if piece.chosen:
        bits = np.unpackbits(np.frombuffer(piece.chosen, dtype=np.uint8), count=len(table))
        table = table.take(np.flatnonzero(bits))
    frame = table.to_pandas()
    return encode(frame, spec, categories), frame[label].to_numpy(np.float64)
