"""Files of deliveries: the same records as the city that is served, month by month."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit301.errors import ConfigError
from credit301.workspace import Workspace
from simulator import config as config_module
from simulator.city import City, generate
from simulator.config import CityConfig
from simulator.drops import write_drops
from simulator.schema import PRIMARY_KEYS, SCHEMAS, SEQUENCE
from simulator.verbs import simulate

SMALL = CityConfig(enterprises=150, months=24)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[City, Path]:
    """A city of four blocks, in memory and as deliveries with an increment."""
    directory = tmp_path_factory.mktemp("drops") / "deliveries"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_module, "BLOCK", 40)
        write_drops(SMALL, directory, increment=True)
        return generate(SMALL), directory


def delivered(directory: Path, source: str) -> dict[str, pa.Table]:
    return {path.stem: pq.read_table(path) for path in sorted((directory / source).iterdir())}


@pytest.mark.parametrize("source", SCHEMAS)
def test_the_history_is_delivered_whole_and_the_increment_is_its_last_part(
    made: tuple[City, Path], source: str
) -> None:
    city, directory = made
    files = list(delivered(directory, source).values())
    order = [(name, "ascending") for name in ("available_at", *PRIMARY_KEYS[source])]
    served = city.sources[source].drop([SEQUENCE])
    served = served.filter(pa.array(served["available_at"].to_numpy() < np.datetime64(SMALL.end)))
    assert pa.concat_tables(files).sort_by(order).equals(served.sort_by(order))
    assert files[-1].schema == SCHEMAS[source]
    # The first of four blocks chooses where the increment begins.
    assert 0 < files[-1].num_rows <= 0.03 * served.num_rows + 4


@pytest.mark.parametrize("source", ["tax_payment", "bank_account_flow", "business_registration"])
def test_the_order_of_the_names_is_the_order_of_delivery(made: tuple[City, Path], source: str) -> None:
    files = delivered(made[1], source)
    assert len(files) == SMALL.months + 1
    assert next(iter(files)) == f"{source}_2023-10"
    known = [table["available_at"].to_numpy() for table in files.values()]
    months = [moments.astype("datetime64[M]") for moments in known]
    filled = [moments for moments in known if len(moments)]
    assert all(earlier.max() < later.min() for earlier, later in pairwise(filled))
    named = [np.datetime64(name.removeprefix(f"{source}_")) for name in files]
    assert all(np.all(found == name) for name, found in zip(named[1:-2], months[1:-2], strict=True))


def test_simulate_writes_deliveries_and_never_replaces_other_files(wuhan: Workspace, tmp_path: Path) -> None:
    manifest = simulate(wuhan, enterprises=60, months=24, drops=tmp_path / "drops")
    assert not (wuhan.paths.root / "city").exists()
    assert len(list((tmp_path / "drops" / "housing_fund").iterdir())) == 24
    assert simulate(wuhan, enterprises=60, months=24, drops=tmp_path / "drops") == manifest
    with pytest.raises(ConfigError, match="--force"):
        simulate(wuhan, enterprises=60, months=24, drops=tmp_path / "drops", increment=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(ConfigError, match="other files"):
        simulate(wuhan, enterprises=60, months=24, drops=tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep"
    with pytest.raises(ConfigError, match="--drops"):
        simulate(wuhan, enterprises=60, months=24, increment=True)
