"""API keys: one caller each, kept as digests, and never a default outside the embedded profile."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from credit301.errors import ConfigError
from credit301.settings import Profile, Settings
from serving.auth import ApiKeys

FIRST, SECOND = "a" * 24, "b" * 24


def test_a_key_names_its_caller_and_anything_else_nobody() -> None:
    keys = ApiKeys(f"city_bank:{FIRST}, rural_bank:{SECOND}")
    assert keys.name_of(FIRST) == "city_bank"
    assert keys.name_of(SECOND) == "rural_bank"
    for wrong in (None, "", FIRST[:-1], FIRST + "a", "city_bank", f"city_bank:{FIRST}", "\ud800"):
        assert keys.name_of(wrong) is None


@pytest.mark.parametrize("text", ["", "x", f":{FIRST}", "bank:short", f"a:{FIRST},a:{SECOND}", f"a:{FIRST},"])
def test_a_list_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="name:key"):
        ApiKeys(text)


def test_keys_are_not_kept_in_clear() -> None:
    keys = ApiKeys(f"bank:{FIRST}")
    assert FIRST not in repr(vars(keys))


def test_the_embedded_profile_makes_one_key_and_keeps_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    keys = ApiKeys.from_settings(settings)
    assert keys.name_of(settings.secret("api_key")) == "demo"
    assert ApiKeys.from_settings(Settings(home=tmp_path)).name_of(settings.secret("api_key")) == "demo"


def test_production_insists_on_being_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(home=tmp_path, profile=Profile.PRODUCTION)
    with pytest.raises(ConfigError, match="CREDIT301_API_KEYS"):
        ApiKeys.from_settings(settings)
    monkeypatch.setenv("CREDIT301_API_KEYS", f"bank:{FIRST}")
    assert ApiKeys.from_settings(settings).name_of(FIRST) == "bank"


def test_a_key_may_be_given_by_its_digest() -> None:
    digest = hashlib.sha256(FIRST.encode()).hexdigest()
    keys = ApiKeys(f"bank:sha256={digest}")
    assert keys.name_of(FIRST) == "bank"
    assert keys.name_of(f"sha256={digest}") is None
    with pytest.raises(ConfigError):
        ApiKeys("bank:sha256=00")


def test_two_clients_do_not_share_a_key() -> None:
    with pytest.raises(ConfigError, match="distinct"):
        ApiKeys(f"a:{FIRST},b:{FIRST}")
