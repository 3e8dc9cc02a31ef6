"""Convertors: what they take, what they give, and back."""

from __future__ import annotations

import re
import uuid
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
import starlette.convertors
from hypothesis import given, strategies as st

from tests.asgi_call import http
from trunkline import convertors
from trunkline.convertors import CONVERTOR_TYPES, Convertor, ParameterError, register_url_convertor
from trunkline.exceptions import TrunklineError
from trunkline.routing import Route, Router

if TYPE_CHECKING:
    from collections.abc import Iterator

THEIRS = starlette.convertors.CONVERTOR_TYPES
VALUES = {
    "str": st.text(),
    "path": st.text(),
    "int": st.integers(),
    "float": st.floats(),
    "uuid": st.uuids(),
}


class DateConvertor(Convertor[date]):
    regex = "[0-9]{4}-[0-9]{2}-[0-9]{2}"

    def convert(self, value: str) -> date:
        return date.fromisoformat(value)

    def to_string(self, value: date) -> str:
        return value.isoformat()


@pytest.fixture
def _dates() -> Iterator[None]:
    register_url_convertor("date", DateConvertor())
    yield
    del CONVERTOR_TYPES["date"]


def outcome(convertor: Any, value: object) -> str:
    try:
        return repr(convertor.to_string(value))
    except (AssertionError, ValueError) as error:
        return "refused" if isinstance(error, AssertionError) else type(error).__name__


@pytest.mark.parametrize("key", sorted(THEIRS))
@given(data=st.data())
def test_values_are_written_and_refused_as_in_the_reference(key: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[key])
    assert outcome(CONVERTOR_TYPES[key], value) == outcome(THEIRS[key], value)


@pytest.mark.parametrize("key", sorted(THEIRS))
@given(data=st.data())
def test_texts_match_and_convert_as_in_the_reference(key: str, data: st.DataObject) -> None:
    ours, theirs = CONVERTOR_TYPES[key], THEIRS[key]
    text = data.draw(st.one_of(st.from_regex(theirs.regex, fullmatch=True), st.text()))
    assert bool(re.fullmatch(ours.regex, text)) == bool(re.fullmatch(theirs.regex, text))
    if re.fullmatch(theirs.regex, text):
        assert ours.convert(text) == theirs.convert(text)


@pytest.mark.parametrize("key", sorted(THEIRS))
@given(data=st.data())
def test_what_is_written_is_read_back(key: str, data: st.DataObject) -> None:
    value = data.draw({**VALUES, "float": st.floats(0, 1e15).map(lambda number: round(number, 3))}[key])
    try:
        text = CONVERTOR_TYPES[key].to_string(value)
    except ParameterError:
        return
    assert CONVERTOR_TYPES[key].convert(text) == value


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("str", "", "must not be empty"),
        ("str", "a/b", "use path"),
        ("int", -1, "no sign"),
        ("float", -0.5, "at least 0"),
        ("float", float("nan"), "at least 0"),
        ("float", float("inf"), "at least 0"),
    ],
)
def test_a_value_that_cannot_stand_in_a_url_is_refused_in_words(key: str, value: object, word: str) -> None:
    with pytest.raises(ParameterError, match=word) as caught:
        CONVERTOR_TYPES[key].to_string(value)
    assert isinstance(caught.value, TrunklineError)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AssertionError)


@pytest.mark.usefixtures("_dates")
def test_an_own_convertor_works_both_ways() -> None:
    seen: list[object] = []

    class Endpoint:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["path_params"]["day"])
            await send({"type": "http.response.start", "status": 204, "headers": []})

    router = Router([Route("/days/{day:date}", Endpoint(), name="day")])
    assert http(router, "/days/2026-11-22").status == 204
    assert seen == [date(2026, 11, 22)]
    assert router.url_path_for("day", day=date(2026, 1, 2)) == "/days/2026-01-02"


@pytest.mark.usefixtures("_dates")
def test_a_text_that_fits_the_expression_but_is_no_value_does_not_match() -> None:
    router = Router([Route("/days/{day:date}", lambda request: None, name="day")])
    assert http(router, "/days/2026-02-31").status == 404


def test_an_integer_of_more_digits_than_python_converts_does_not_match() -> None:
    router = Router([Route("/{number:int}", lambda request: None)])
    assert http(router, "/" + "9" * 10_000).status == 404


def test_a_class_in_place_of_an_instance_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write DateConvertor\(\)"):
        register_url_convertor("date", DateConvertor)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["", "a-b", "9a", "a b", "{x}"])
def test_a_key_that_no_path_can_name_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="convertor's key"):
        register_url_convertor(key, DateConvertor())
    assert key not in CONVERTOR_TYPES


def test_an_expression_that_does_not_compile_is_refused() -> None:
    class Broken(DateConvertor):
        regex = "[0-9"

    with pytest.raises(ValueError, match="regex of convertor 'broken' is not valid"):
        register_url_convertor("broken", Broken())
    assert "broken" not in CONVERTOR_TYPES


def test_the_uuid_expression_is_that_of_32_digits() -> None:
    convertor = convertors.UUIDConvertor()
    assert convertor.convert("ec38df32ceda4cfa9b4a1aeb94ad551a") == uuid.UUID("ec38df32-ceda-4cfa-9b4a-1aeb94ad551a")
