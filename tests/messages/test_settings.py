"""What the settings refuse, what they agree on, and what they make of invalid messages, without a connection."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from trunkline.messages import CodecError, InvalidMessage, MessageSettings, _codecs, _msgspec
from trunkline.states import CloseInfo

SPOKEN = MessageSettings(subprotocols={"chat.msgpack": "msgpack", "chat.json": "json"})
INVALID = InvalidMessage([{"type": "missing", "loc": ["text"], "msg": "Field required"}])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"codec": "yaml"}, CodecError, "expected one of the codecs 'json', .*, but got 'yaml'"),
        ({"subprotocols": {"a": "yaml"}}, CodecError, "but got 'yaml'"),
        ({"invalid": "ignore"}, ValueError, "expected 'reply', 'close' or 'raise' as invalid, but got 'ignore'"),
        ({"max_invalid": -1}, ValueError, "expected 0 or more as max_invalid, but got -1"),
    ],
)
def test_wrong_settings_are_refused_in_words(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        MessageSettings(**arguments)


def test_a_codec_whose_library_is_missing_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_msgspec, "INSTALLED", False)
    monkeypatch.setattr("trunkline.messages._codecs._made", _codecs._make)
    MessageSettings()
    with pytest.raises(CodecError, match=r"pip install 'trunkline\[msgspec\]'"):
        MessageSettings(codec="msgpack")


def test_the_subprotocols_cannot_be_changed_from_outside() -> None:
    given = {"chat.json": "json"}
    settings = MessageSettings(subprotocols=given)
    given["chat.json"] = "msgpack"
    assert settings.subprotocols == {"chat.json": "json"}


@pytest.mark.parametrize(
    ("offered", "agreed", "codec"),
    [
        (["chat.json", "chat.msgpack"], "chat.json", "json"),
        (["v9", "chat.msgpack", "chat.json"], "chat.msgpack", "msgpack"),
        (["v9"], None, "json"),
        ([], None, "json"),
    ],
)
def test_the_first_offer_that_has_a_codec_is_taken(offered: list[str], agreed: str | None, codec: str) -> None:
    assert SPOKEN.agree(offered) == agreed
    assert SPOKEN.speaking(agreed).codec == codec
    assert SPOKEN.speaking(agreed).subprotocols == SPOKEN.subprotocols


def test_to_reply_is_an_answer_until_there_are_too_many() -> None:
    settings = MessageSettings(max_invalid=2)
    for in_a_row in (1, 2):
        answer = settings.verdict(INVALID, in_a_row)
        assert isinstance(answer, str)
        assert json.loads(answer) == {"type": "error", "code": "invalid_message", "errors": INVALID.errors}
    assert settings.verdict(INVALID, 3) == CloseInfo(1008, "too many invalid messages")
    assert MessageSettings(max_invalid=0).verdict(INVALID, 1) == CloseInfo(1008, "too many invalid messages")


def test_the_answer_is_in_the_codec() -> None:
    answer = MessageSettings(codec="msgpack").verdict(INVALID, 1)
    assert isinstance(answer, bytes)
    assert msgspec.msgpack.decode(answer) == {"type": "error", "code": "invalid_message", "errors": INVALID.errors}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1003, "the message is of the wrong kind, text or binary"),
        (1007, "the message cannot be decoded"),
        (1008, "the message is not of an expected type"),
        (4000, ""),
    ],
)
def test_to_close_is_by_the_code_of_the_error(code: int, reason: str) -> None:
    error = InvalidMessage(INVALID.errors, code)
    assert MessageSettings(invalid="close").verdict(error, 1) == CloseInfo(code, reason)


@pytest.mark.parametrize("code", [0, 1006, 5000])
def test_a_close_code_that_may_not_be_sent_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match="a close code that may be sent is expected"):
        InvalidMessage(INVALID.errors, code)


def test_to_raise_is_the_error_itself_however_many_there_are() -> None:
    with pytest.raises(InvalidMessage) as caught:
        MessageSettings(invalid="raise", max_invalid=0).verdict(INVALID, 100)
    assert caught.value is INVALID
    assert str(INVALID) == "invalid message: text: Field required"
