"""Settings resolve addresses and secrets in one place, and never invent a secret for production."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from credit301.errors import ConfigError
from credit301.settings import Profile, Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_an_embedded_secret_is_made_once_and_readable_by_its_owner_only(settings: Settings) -> None:
    first = settings.secret("redis_password")
    assert len(first) >= 24
    assert settings.secret("redis_password") == first
    mode = stat.S_IMODE((settings.home / "secrets" / "redis_password").stat().st_mode)
    assert mode == 0o600


def test_production_has_no_secret_of_its_own(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, profile=Profile.PRODUCTION)
    with pytest.raises(ConfigError, match="CREDIT301_API_KEYS is not set"):
        settings.secret("api_keys")
    assert not (tmp_path / "secrets").exists()


def test_the_environment_goes_before_the_kept_secret(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = settings.secret("api_key")
    monkeypatch.setenv("CREDIT301_API_KEY", "from-the-environment")
    assert kept != "from-the-environment"
    assert settings.secret("api_key") == "from-the-environment"


@pytest.mark.parametrize("address", ["redis_address", "mlflow_address", "exchange_address"])
def test_production_insists_on_every_address(tmp_path: Path, address: str) -> None:
    settings = Settings(home=tmp_path, profile=Profile.PRODUCTION)
    with pytest.raises(ConfigError, match="is not set"):
        getattr(settings, address)()


def test_embedded_addresses_are_on_loopback(settings: Settings) -> None:
    addresses = [
        settings.redis_address(),
        settings.mlflow_address(),
        settings.exchange_address(),
        settings.postgres_address("x"),
    ]
    assert all("127.0.0.1" in address for address in addresses)


def test_a_postgres_address_that_is_set_names_each_database(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, profile=Profile.PRODUCTION, postgres_url="postgresql://u:p@db:5432/")
    assert settings.postgres_address("mlflow") == "postgresql://u:p@db:5432/mlflow"
