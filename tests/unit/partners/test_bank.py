"""A bank's file: what is wrong is told with its line, and nobody is entitled to what is not named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from credit301.errors import ConfigError, ContractError, NotFound
from credit301.partners.bank import Bank, address_of, find_bank, load_banks, reachable_banks
from credit301.partners.keys import keys_of, platform_key, platform_ring, published_keys, sealing_keys, simulated_key
from credit301.settings import Profile, Settings
from credit301.signing.keys import Algorithm, PrivateKey
from credit301.workspace import Workspace

BANK = "name: some_bank\ntitle: {zh: 银行, en: Bank}\nmodes: [standard]\naddress: https://bank.example\n"


def with_bank(wuhan: Workspace, folder: Path, text: str, name: str = "some_bank") -> Workspace:
    place = folder / "banks" / name
    place.mkdir(parents=True)
    (place / "bank.yaml").write_text(text, encoding="utf-8")
    return replace(wuhan, directory=folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BANK + "colour: red\n", "bank.yaml:5: colour: unknown key"),
        (BANK + "entitled:\n  data: [no_such_source]\n", "bank.yaml:6: entitled.data.0: there is no 'no_such_source'"),
        (BANK + "entitled:\n  dimensions: [soul]\n", "bank.yaml:6: entitled.dimensions.0: there is no 'soul'"),
        (BANK + "timeouts: {answer: 25}\n", "bank.yaml:5: timeouts.answer"),
        (BANK.replace("https", "http") + "mutual_tls: true\n", "bank.yaml:4: address: mutual TLS"),
        (BANK.replace("some_bank", "other"), "bank.yaml:1: name: the folder is called 'some_bank'"),
        (BANK + "encryption: jwe\n", "an ed25519 key is not for encryption by jwe"),
        (BANK + "algorithm: ecdsa-p256-sha256\nencryption: sm4\n", "key is not for encryption by sm4"),
        (BANK + "must_seal: true\n", "what must be sealed needs encryption"),
        (BANK + "modes: []\n", "bank.yaml"),
        (
            BANK + 'keys:\n  - {id: k1, valid_from: "2027-01-01T00:00:00Z", valid_until: "2026-01-01T00:00:00Z"}\n',
            "never valid",
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_line(wuhan: Workspace, tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ContractError) as caught:
        load_banks(with_bank(wuhan, tmp_path, text))
    assert said in caught.value.message


def test_a_bank_is_entitled_to_nothing_that_is_not_named(wuhan: Workspace, tmp_path: Path) -> None:
    entitled = find_bank(with_bank(wuhan, tmp_path, BANK), "some_bank").entitled
    assert not any(entitled.model_dump().values())
    with pytest.raises(NotFound, match="some_bank"):
        find_bank(with_bank(wuhan, tmp_path / "more", BANK), "nobody")


def test_a_workspace_without_banks_has_none(wuhan: Workspace, tmp_path: Path) -> None:
    assert load_banks(replace(wuhan, directory=tmp_path)) == {}


def test_the_addresses_of_the_reference_city_are_those_of_its_simulated_banks(wuhan: Workspace) -> None:
    banks = load_banks(wuhan)
    assert {name: address_of(wuhan, bank) for name, bank in banks.items()} == {
        "demo": "http://127.0.0.1:8310",
        "demo_standard": "http://127.0.0.1:8311",
    }


def test_in_production_a_bank_that_is_not_set_up_is_left_out_and_one_in_the_environment_is_not(
    wuhan: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    production = replace(wuhan, settings=Settings(home=wuhan.settings.home, profile=Profile.PRODUCTION))
    assert reachable_banks(production) == {}
    with pytest.raises(ConfigError, match="CREDIT301_BANK_DEMO_URL"):
        address_of(production, load_banks(production)["demo"])
    monkeypatch.setenv("CREDIT301_BANK_DEMO_URL", "https://bank.example/")
    found = reachable_banks(production)
    assert [address_of(production, bank) for bank in found.values()] == ["https://bank.example"]
    with pytest.raises(ConfigError, match="CREDIT301_SIGNING_KEY_FILE"):
        platform_key(production)


class TestKeys:
    def test_those_of_the_simulation_are_made_once_and_kept_for_their_owner_alone(self, wuhan: Workspace) -> None:
        bank = load_banks(wuhan)["demo_standard"]
        first, second = simulated_key(wuhan, bank), simulated_key(wuhan, bank)
        assert first.public_pem() == second.public_pem()
        assert first.algorithm is Algorithm.P256
        assert platform_key(wuhan).public_pem() == next(iter(platform_ring(wuhan))).pem()
        files = list((wuhan.settings.home / "secrets" / "signing").iterdir())
        assert sorted(path.name for path in files) == ["wuhan-demo_standard.pem", "wuhan-platform.pem"]
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}

    def test_those_of_a_real_bank_are_read_from_its_folder_with_their_validity(
        self, wuhan: Workspace, tmp_path: Path
    ) -> None:
        keys = 'keys:\n  - {id: k-2026, valid_until: "2027-01-01T00:00:00+08:00"}\n'
        workspace = with_bank(wuhan, tmp_path, BANK + keys)
        (tmp_path / "banks" / "some_bank" / "keys").mkdir()
        made = PrivateKey.generate(Algorithm.ED25519, "k-2026")
        (tmp_path / "banks" / "some_bank" / "keys" / "k-2026.pem").write_text(made.public_pem())
        (key,) = keys_of(workspace, load_banks(workspace).values())
        assert (key.key_id, key.owner, key.thumbprint) == ("k-2026", "some_bank", made.thumbprint)
        assert key.valid_until is not None
        assert key.valid_until.year == 2027

    def test_the_platforms_own_is_the_file_that_the_setting_names(self, wuhan: Workspace, tmp_path: Path) -> None:
        path = tmp_path / "platform-2026.pem"
        path.write_text(PrivateKey.generate(Algorithm.P256, "x").pem())
        settings: Any = Settings(home=tmp_path, profile=Profile.PRODUCTION, signing_key_file=path)
        key = platform_key(replace(wuhan, settings=settings))
        assert (key.key_id, key.algorithm) == ("platform-2026", Algorithm.P256)

    def test_a_bank_that_takes_one_way_only_is_signed_to_so_or_it_is_said(
        self, wuhan: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bank = load_banks(wuhan)["demo"].model_copy(update={"platform_algorithm": "sm2-sm3"})
        assert platform_key(wuhan, bank).algorithm is Algorithm.SM2
        for name, algorithm in (("p256", Algorithm.P256), ("sm2", Algorithm.SM2)):
            (tmp_path / f"{name}.pem").write_text(PrivateKey.generate(algorithm, "x").pem())
        settings: Any = Settings(home=tmp_path, profile=Profile.PRODUCTION, signing_key_file=tmp_path / "p256.pem")
        production = replace(wuhan, settings=settings)
        with pytest.raises(ConfigError, match=r"takes sm2-sm3.*SIGNING_KEY_FILE names signs by ecdsa-p256-sha256"):
            platform_key(production, bank)
        monkeypatch.setenv("CREDIT301_BANK_DEMO_SIGNING_KEY_FILE", str(tmp_path / "sm2.pem"))
        assert platform_key(production, bank).key_id == "sm2"
        assert platform_key(production).key_id == "p256"


class TestSealingKeys:
    """What a bank seals its messages to the platform to."""

    @pytest.fixture
    def bank(self, wuhan: Workspace) -> Bank:
        return load_banks(wuhan)["demo_standard"]

    @pytest.fixture
    def production(self, wuhan: Workspace, tmp_path: Path) -> Workspace:
        return replace(wuhan, settings=Settings(home=tmp_path, profile=Profile.PRODUCTION))

    def test_in_the_simulation_one_is_made_of_the_kind_that_the_bank_seals_by(
        self, wuhan: Workspace, bank: Bank
    ) -> None:
        (key,) = sealing_keys(wuhan, bank)
        assert key.algorithm is Algorithm.X25519
        assert sealing_keys(wuhan, bank)[0].public_pem() == key.public_pem()
        (national,) = sealing_keys(wuhan, bank.model_copy(update={"encryption": "sm4"}))
        assert national.algorithm is Algorithm.SM2
        assert sealing_keys(wuhan, load_banks(wuhan)["demo"]) == ()
        ((published, banks),) = published_keys(wuhan)
        assert (published.pem(), banks) == (key.public_pem(), ("demo_standard",))

    def test_in_production_they_are_the_files_that_the_setting_names_the_new_one_first(
        self, production: Workspace, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, algorithm in (("new", Algorithm.X25519), ("old", Algorithm.P256)):
            (tmp_path / f"{name}.pem").write_text(PrivateKey.generate(algorithm, "x").pem())
        monkeypatch.setenv(
            "CREDIT301_BANK_DEMO_STANDARD_SEALING_KEY_FILE", f"{tmp_path / 'new.pem'}, {tmp_path / 'old.pem'}"
        )
        assert [key.key_id for key in sealing_keys(production, bank)] == ["new", "old"]

    def test_who_must_seal_needs_one_and_who_may_does_without(self, production: Workspace, bank: Bank) -> None:
        with pytest.raises(ConfigError, match="CREDIT301_BANK_DEMO_STANDARD_SEALING_KEY_FILE is not set"):
            sealing_keys(production, bank)
        assert sealing_keys(production, bank.model_copy(update={"must_seal": False})) == ()
        assert published_keys(production) == []

    @pytest.mark.parametrize(
        ("encryption", "algorithm", "said"),
        [
            ("sm4", Algorithm.P256, r"seals by sm4.*a key of ecdsa-p256-sha256"),
            ("jwe", Algorithm.SM2, "seals by jwe"),
            ("jwe", Algorithm.ED25519, "seals by jwe"),
        ],
    )
    def test_one_of_another_kind_than_was_agreed_is_said(
        self,
        production: Workspace,
        bank: Bank,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        encryption: str,
        algorithm: Algorithm,
        said: str,
    ) -> None:
        (tmp_path / "k.pem").write_text(PrivateKey.generate(algorithm, "x").pem())
        monkeypatch.setenv("CREDIT301_BANK_DEMO_STANDARD_SEALING_KEY_FILE", str(tmp_path / "k.pem"))
        with pytest.raises(ConfigError, match=said):
            sealing_keys(production, bank.model_copy(update={"encryption": encryption}))

    def test_a_file_that_is_not_there_is_said(
        self, production: Workspace, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CREDIT301_BANK_DEMO_STANDARD_SEALING_KEY_FILE", str(tmp_path / "none.pem"))
        with pytest.raises(ConfigError, match=r"none\.pem, which"):
            sealing_keys(production, bank)
