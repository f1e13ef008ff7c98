"""Settings: defaults, the environment, and one line for every bad value."""

import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from ledgercore import OPTION_RANGES, Options
from ledgercore.service.settings import (
    RANGES,
    InvalidSetting,
    Settings,
    describe,
    environment_name,
    flag_name,
    is_of_cluster,
)


def test_defaults() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.durability) == ("127.0.0.1", 8000, "sync")


def test_environment() -> None:
    settings = Settings.from_environment(
        {"LEDGERCORE_PORT": "81", "LEDGERCORE_DATA": "/tmp/x", "LEDGERCORE_SEGMENTS": ""}
    )
    assert (settings.port, settings.data, settings.segments) == (81, "/tmp/x", 1)


@pytest.mark.parametrize("address", ["tcp://10.96.0.12:8000", "udp://10.96.0.12:53"])
def test_what_a_cluster_sets_for_a_service_of_this_name_is_ignored(address: str) -> None:
    texts = {environment_name(name): address for name in Settings.meanings()}
    more = {"LEDGERCORE_SERVICE_HOST": "10.96.0.12", "LEDGERCORE_PORT_8000_TCP": address}
    assert Settings.from_environment(texts | more) == Settings()
    assert is_of_cluster(address) and not is_of_cluster("8000")
    # A collector of traces has an address as well.
    otlp = {"LEDGERCORE_OTLP": "http://collector:4318"}
    assert Settings.from_environment(otlp).otlp == "http://collector:4318"


def test_every_setting_can_come_from_the_environment() -> None:
    texts = {environment_name(name): str(getattr(Settings(), name)) for name in Settings.meanings()}
    assert Settings.from_environment(texts) == Settings()
    # What is empty as it stands counts as not given, so those names are asked once more, filled.
    named = {name: f"/x/{name}" for name in ("keys_file", "tls_cert", "tls_key")}
    settings = Settings.from_environment(
        {environment_name(name): text for name, text in named.items()}
    )
    assert {name: getattr(settings, name) for name in named} == named


def test_keys_are_in_the_directory_of_the_ledger_unless_told() -> None:
    assert str(Settings(data="/x").keys_path) == "/x/api-keys.json"
    assert str(Settings(data="/x", keys_file="/y/keys").keys_path) == "/y/keys"


def test_the_options_of_the_ledger_are_settings() -> None:
    assert RANGES | OPTION_RANGES == RANGES
    assert all(getattr(Settings(), name) == getattr(Options(), name) for name in Options.meanings())


def test_what_a_setting_means_names_flags() -> None:
    assert describe("keys_reserved") == Options.meanings()["keys_reserved"]
    assert "two times --key-ttl-s, so" in describe("keys_max")
    flags = {flag_name(name) for name in Settings.meanings()}
    told = "".join(map(describe, Settings.meanings()))
    assert "`" not in told and set(re.findall(r"--[a-z0-9-]*[a-z0-9]", told)) <= flags


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "http"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", " 80"),
        ("port", "8_0"),
        ("port", "+80"),
        ("port", "8.0"),
        ("port", "٨"),
        ("segments", "0"),
        ("workers_min", "0"),
        ("workers_max", "0"),
        ("queue_size", "0"),
        ("batch_max", "16385"),
        ("durability", "maybe"),
        ("durability", "SYNC"),
        ("integers", "text"),
        ("demo_accounts", "-1"),
        ("demo_funds", "9223372036854775808"),
        ("segment_bytes", "1"),
        ("key_ttl_s", "0"),
        ("host", "a\nb"),
        ("keys_file", "a\nb"),
        ("allow_host", "a\nb"),
        ("allow_host", "https://ledger.example"),
        ("allow_host", "ledger.example:443"),
        ("allow_host", "ledger.example,*"),
        ("client_rate", "-1"),
        ("client_rate", "0.5"),
        ("client_rate", "1000000001"),
        ("client_burst", "1000000001"),
        ("client_quota", "9223372036854775808"),
        ("quota_window_s", "0"),
        ("quota_window_s", "31536001"),
        ("global_rate", "-1"),
        ("global_burst", "many"),
        ("request_deadline_ms", "-1"),
        ("request_deadline_ms", "100000000"),
        ("connections_max", "0"),
    ],
)
def test_bad_value_is_named_in_one_line(name: str, text: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_environment({environment_name(name): text})
    assert caught.value.name == name
    assert str(caught.value).startswith(f"{environment_name(name)}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("batch_max", {"batch_max": 100, "queue_size": 10}),
        ("workers_min", {"workers_min": 3, "workers_max": 2}),
        ("demo_accounts", {"demo_accounts": 10, "accounts_max": 10}),
        ("demo_funds", {"demo_accounts": 2, "demo_funds": 2**62}),
        ("port", {"port": True}),
        ("data", {"data": ""}),
        ("tls_cert", {"tls_cert": "cert.pem"}),
        ("tls_cert", {"tls_key": "key.pem"}),
    ],
)
def test_values_that_do_not_go_together(name: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting) as caught:
        Settings(**values)
    assert caught.value.name == name
    assert str(caught.value).startswith(f"{flag_name(name)}: ")
    # Every name in it is one that can be typed.
    assert "_" not in str(caught.value)
