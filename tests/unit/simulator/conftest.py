"""One small city for all tests of the simulator: it is made once and never changed."""

from __future__ import annotations

import pytest

from simulator.city import City, generate
from simulator.config import CityConfig


@pytest.fixture(scope="session")
def city() -> City:
    return generate(CityConfig(enterprises=4000))
