"""The limits of a connection, and where they come from."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tests.engine.served import engine
from trunkline.engine import DeflateSettings
from trunkline.engine.settings import EngineSettings, from_environment, from_uvicorn


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MAX_MESSAGE", "65536", 65536),
        ("CLOSE_TIMEOUT", "1.5", 1.5),
        ("PING_INTERVAL", "5", 5.0),
        ("PING_INTERVAL", "none", None),
        ("SEND_TIMEOUT", "0", None),
        ("HANDSHAKE_TIMEOUT", "", None),
        ("COMPRESSION", "off", False),
        ("COMPRESSION", "True", True),
        ("COMPRESSION", "takeover", DeflateSettings(context_takeover=True)),
    ],
)
def test_a_variable_sets_its_limit_and_no_other(name: str, text: str, value: object) -> None:
    changed = from_environment(EngineSettings(compression=not value), {f"TRUNKLINE_WS_{name}": text})
    assert getattr(changed, name.lower()) == value
    others = [field.name for field in fields(changed) if field.name not in (name.lower(), "compression")]
    assert all(getattr(changed, other) == getattr(EngineSettings(), other) for other in others)


def test_without_variables_the_settings_stay_the_same_object() -> None:
    settings = EngineSettings(max_message=5)
    assert from_environment(settings, {"TRUNKLINE_WS": "1", "PATH": "/"}) is settings


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("MAX_MESSAGE", "1M", "a whole number"),
        ("CLOSE_TIMEOUT", "none", "seconds"),
        ("SEND_TIMEOUT", "soon", "seconds or none"),
        ("COMPRESSION", "maybe", "on, off or takeover"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_name_of_its_variable(name: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^expected {words} as TRUNKLINE_WS_{name}, but got '{text}'$"):
        from_environment(EngineSettings(), {f"TRUNKLINE_WS_{name}": text})


def test_under_uvicorns_own_command_the_first_connection_tells_of_a_wrong_value() -> None:
    with engine("--ws-max-queue", "0") as server, server.client("/echo") as client:
        assert client.ended()
        server.log.wait_for("--ws-max-queue 0 of uvicorn cannot be kept: expected 1 or more as inbound_messages")


def test_uvicorns_options_that_were_given_set_limits() -> None:
    options = {
        "ws_max_size": 5,
        "ws_max_queue": 32,
        "ws_ping_interval": 0,
        "ws_ping_timeout": 7.0,
        "ws_per_message_deflate": False,
    }
    changed = from_uvicorn(EngineSettings(inbound_messages=9), options.__getitem__)
    assert changed == EngineSettings(
        max_message=5, inbound_messages=9, ping_interval=None, ping_timeout=7, compression=False
    )
    with pytest.raises(ValueError, match=r"^--ws-max-queue 0 of uvicorn cannot be kept: expected 1 or more"):
        from_uvicorn(EngineSettings(), {**options, "ws_max_queue": 0}.__getitem__)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_message": 0}, "expected 1 or more as max_message of EngineSettings, but got 0"),
        ({"inbound_messages": 0}, "1 or more as inbound_messages"),
        ({"high_water": -1}, "1 or more as high_water"),
        ({"ping_interval": 0}, "seconds above 0, or None for none, as ping_interval"),
        ({"send_timeout": float("nan")}, "as send_timeout"),
        ({"drain_window": -0.1}, "0 or more seconds as drain_window"),
        ({"compression": "takeover"}, "context_takeover=True. as compression of EngineSettings, but got 'takeover'"),
        ({"compression": None}, "expected True, False or for example DeflateSettings"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(limits: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EngineSettings(**limits)  # type: ignore[arg-type]  # that is what is tested


def test_zero_is_allowed_where_it_means_at_once() -> None:
    assert EngineSettings(close_timeout=0, drain_window=0).close_timeout == 0


def test_compression_is_off_or_has_its_settings() -> None:
    mine = DeflateSettings(window_bits=9)
    assert [EngineSettings(compression=value).deflate for value in (False, True, mine)] == [
        None,
        DeflateSettings(),
        mine,
    ]
