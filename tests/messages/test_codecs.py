"""The contract of codecs, against each of them; then what is particular to one, and which is chosen."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID  # noqa: TC003  # msgspec reads the annotations

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator
from typing_extensions import TypeAliasType

from tests.messages.vocabulary import (
    LANGUAGES,
    DataJoin,
    DictJoin,
    DictLeave,
    Language,
    ModelJoin,
    ModelLeave,
    ModelSay,
    StructJoin,
    StructLeave,
)
from trunkline import TrunklineError
from trunkline.messages import (
    Codec,
    CodecError,
    ErrorMessage,
    InvalidMessage,
    _codecs,
    _msgspec,
    _pydantic,
    codec_for,
    encode,
    register_codec,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES: list[tuple[str, dict[str, Any]]] = [
    ("join", {"room": "blue"}),
    ("say", {"room": "blue", "text": "hi"}),
    ("say", {"room": "", "text": 'ü\n"\x00\U0001f600', "number": -(2**63), "tags": ["a", ""]}),
    ("leave", {}),
]

every_language = pytest.mark.parametrize("language", LANGUAGES, ids=str)


def codec_of(language: Language) -> Codec[Any]:
    codec: Codec[Any] = codec_for(language.type, language.codec)
    return codec


# --- the contract ----------------------------------------------------------------------------------------------------


@every_language
@pytest.mark.parametrize(("kind", "values"), MESSAGES)
def test_what_is_encoded_is_decoded_to_the_same(language: Language, kind: str, values: dict[str, Any]) -> None:
    message = language.message(kind, **values)
    data = encode(message, language.codec)
    assert codec_of(language).decode(data) == message
    assert language.plain(data) == {"type": kind, **({"number": 0, "tags": []} if kind == "say" else {}), **values}


@every_language
def test_the_codec_of_the_type_encodes_as_that_of_its_member(language: Language) -> None:
    message = language.message("say", room="blue", text="hi")
    assert codec_of(language).encode(message) == encode(message, language.codec)


@every_language
def test_a_frame_is_of_the_kind_of_the_codec(language: Language) -> None:
    kind = bytes if language.codec == "msgpack" else str
    assert type(encode(language.message("leave"), language.codec)) is kind


@every_language
def test_json_is_taken_from_binary_messages_too(language: Language) -> None:
    data = language.wire({"type": "join", "room": "ü"})
    binary = data.encode() if isinstance(data, str) else data
    assert codec_of(language).decode(binary) == language.message("join", room="ü")


def refused(language: Language, data: str | bytes) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as caught:
        codec_of(language).decode(data)
    assert isinstance(caught.value, TrunklineError)
    assert isinstance(caught.value, ValueError)
    assert all(set(error) == {"type", "loc", "msg"} for error in caught.value.errors)
    answer = encode(caught.value.answer, language.codec)
    assert codec_for(ErrorMessage, language.codec).decode(answer) == caught.value.answer
    return caught.value


@every_language
@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"type": "say", "room": "blue"}, "text"),
        ({"type": "say", "room": 5, "text": "hi", "number": 0, "tags": []}, "room"),
        ({"type": "say", "room": "blue", "text": "hi", "number": 0, "tags": ["a", 5]}, 1),
        ({"type": "join"}, "room"),
    ],
)
def test_an_error_says_where(language: Language, value: Any, place: str | int) -> None:
    error = refused(language, language.wire(value))
    assert error.close_code == 1008
    assert place in [detail["loc"][-1] for detail in error.errors if detail["loc"]]
    assert str(error).startswith("invalid message: ")


@every_language
@pytest.mark.parametrize("value", [{"type": "shout"}, {"type": 5}, {}, {"room": "blue"}, [], 5, "join", None, True])
def test_what_is_none_of_the_types_is_refused(language: Language, value: Any) -> None:
    assert refused(language, language.wire(value)).close_code == 1008


@every_language
def test_what_is_cut_off_cannot_be_decoded(language: Language) -> None:
    data = language.wire({"type": "join", "room": "blue"})
    for end in range(len(data)):
        error = refused(language, data[:end])
        assert error.close_code == 1007
        assert [detail["loc"] for detail in error.errors] == [[]]


@every_language
@pytest.mark.parametrize(
    "data", [b"\xff", b"\xc1", b'"\xff"', b'{"type":"join","room":"\xff"}', b"\xa1\xff", b"\x81\xa1\xff\xc0"]
)
def test_bad_utf_8_is_invalid(language: Language, data: bytes) -> None:
    refused(language, data)


@every_language
@pytest.mark.parametrize(
    "data", ["[" * 100_000, '{"type":"say","tags":' + "[" * 100_000, "9" * 5_000, "\ud800", '"\ud800', ""]
)
def test_texts_that_break_parsers_are_invalid(language: Language, data: str) -> None:
    refused(language, data)


@every_language
@given(data=st.binary(max_size=200))
def test_random_bytes_are_a_message_or_invalid(language: Language, data: bytes) -> None:
    _decode_or_invalid(language, data)


@every_language
@given(data=st.text(st.characters(), max_size=200))
def test_random_texts_are_a_message_or_invalid(language: Language, data: str) -> None:
    _decode_or_invalid(language, data)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
NEARLY = st.fixed_dictionaries(
    {"type": st.sampled_from(["join", "say", "leave"]) | JSON_VALUES},
    optional={
        "room": JSON_VALUES,
        "text": JSON_VALUES,
        "number": JSON_VALUES,
        "tags": JSON_VALUES,
        "more": JSON_VALUES,
    },
)


@every_language
@given(value=NEARLY | JSON_VALUES, place=st.floats(0, 1), byte=st.integers(0, 255))
def test_mutated_messages_are_a_message_or_invalid(language: Language, value: Any, place: float, byte: int) -> None:
    try:
        data = language.wire(value)
    except OverflowError:  # MessagePack has integers of 64 bits
        return
    _decode_or_invalid(language, data)
    mutated = bytearray(data.encode() if isinstance(data, str) else data)
    mutated[int(place * (len(mutated) - 1))] = byte
    _decode_or_invalid(language, bytes(mutated))


def _decode_or_invalid(language: Language, data: str | bytes) -> None:
    try:
        message = codec_of(language).decode(data)
    except InvalidMessage as error:
        invalid = error
    else:
        assert codec_of(language).decode(codec_of(language).encode(message)) == message
        return
    assert invalid.close_code in (1003, 1007, 1008)
    assert 1 <= len(invalid.errors) <= 10
    assert language.plain(encode(invalid.answer, language.codec)) == invalid.answer


TEXTS = st.text(st.characters(codec="utf-8"))


@every_language
@given(room=TEXTS, text=TEXTS, number=st.integers(-(2**63), 2**63 - 1), tags=st.lists(TEXTS))
def test_round_trips(language: Language, room: str, text: str, number: int, tags: list[str]) -> None:
    for message in (
        language.message("say", room=room, text=text, number=number, tags=tags),
        language.message("join", room=room),
    ):
        data = encode(message, language.codec)
        assert codec_of(language).decode(data) == message


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@every_language
@pytest.mark.parametrize("value", [object(), {"a": object()}, "\ud800", [1, {2, (lambda: 3)}], CYCLE])
def test_what_cannot_be_encoded_is_a_codec_error(language: Language, value: Any) -> None:
    with pytest.raises(CodecError, match=r"cannot be|expected a type"):
        encode(value, language.codec)


@every_language
@pytest.mark.parametrize("value", ["a", 5, None, [1, "b"], {"c": [True, None]}, 1.5])
def test_plain_values_are_encoded_too(language: Language, value: Any) -> None:
    assert language.plain(encode(value, language.codec)) == value


@every_language
def test_a_codec_is_made_once(language: Language) -> None:
    assert codec_of(language) is codec_of(language)
    assert codec_for(type(language.message("leave")), language.codec) is codec_for(
        type(language.message("leave")), language.codec
    )


# --- pydantic and msgspec side by side -------------------------------------------------------------------------------


class SimpleModel(BaseModel):
    """Strict, because msgspec is; `Struct`s ignore fields that they do not know, and so do models."""

    model_config = ConfigDict(strict=True)

    name: str
    count: Annotated[int, Field(ge=0, lt=2**31)]
    on: bool
    tags: list[str]
    scores: dict[str, int]
    kind: Literal["a", "b"] = "a"
    parent: str | None = None


class SimpleStruct(msgspec.Struct):
    name: str
    count: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    on: bool
    tags: list[str]
    scores: dict[str, int]
    kind: Literal["a", "b"] = "a"
    parent: str | None = None


SMALL = st.integers(-(2**31), 2**31)  # msgspec takes integers of 64 bits, pydantic of any size
SCALARS = (
    st.none()
    | st.booleans()
    | SMALL
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda n: n % 1 != 0)
    | TEXTS
)


def mostly(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(strategy, strategy, strategy, SCALARS, st.lists(SCALARS, max_size=2))


SIMPLE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "name": mostly(TEXTS),
        "count": mostly(SMALL),
        "on": mostly(st.booleans()),
        "tags": mostly(st.lists(TEXTS, max_size=3)),
        "scores": mostly(st.dictionaries(TEXTS, SMALL, max_size=3)),
        "kind": mostly(st.sampled_from(["a", "b", "c"])),
        "parent": mostly(st.none() | TEXTS),
        "unknown": SCALARS,
    },
) | st.builds(
    dict,
    name=TEXTS,
    count=SMALL,
    on=st.booleans(),
    tags=st.lists(TEXTS, max_size=3),
    scores=st.dictionaries(TEXTS, SMALL, max_size=3),
    kind=st.sampled_from(["a", "b", "c"]),
    parent=mostly(st.none() | TEXTS),
)


@given(value=SIMPLE)
@settings(max_examples=500)
def test_pydantic_and_msgspec_agree_on_simple_types(value: Any) -> None:
    """Left out is what they document differently: numbers as texts, 1.0 as an integer, integers beyond 64 bits."""
    results = []
    for type_ in (SimpleModel, SimpleStruct):
        try:
            message: Any = codec_for(type_).decode(json.dumps(value))
        except InvalidMessage as error:
            results.append(error.close_code)
        else:
            results.append(json.loads(codec_for(type_).encode(message)))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("data", "type_", "loc"),
    [
        ('{"type":"join"}', "missing", ["room"]),
        ('{"type":"say","room":"a","text":"b","tags":[1]}', None, ["tags", 0]),
        ("{", "json_invalid", []),
        ('{"type":"shout"}', None, None),
    ],
)
def test_their_errors_have_one_shape(data: str, type_: str | None, loc: list[str | int] | None) -> None:
    models = refused(LANGUAGES[0], data).errors[0]
    structs = refused(LANGUAGES[5], data).errors[0]
    tagged = data.partition('"type":"')[2].partition('"')[0]
    if type_ is not None:
        assert models["type"] == structs["type"] == type_
    if loc is not None:
        assert structs["loc"] == loc
        assert models["loc"] == ([tagged, *loc] if tagged else loc)  # pydantic's begins with the tag of the union


# --- errors of msgspec -----------------------------------------------------------------------------------------------


class Point(msgspec.Struct, forbid_unknown_fields=True):
    x: Annotated[int, msgspec.Meta(ge=0)] = 0
    id: UUID | None = None
    more: dict[str, Point] = {}
    line: list[Point] = []
    pair: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.x == 13:
            raise ValueError("13 is unlucky")


@pytest.mark.parametrize(
    ("data", "type_", "loc", "msg"),
    [
        ('{"x":"a"}', "type_error", ["x"], "Expected `int`, got `str`"),
        ('{"x":-1}', "value_error", ["x"], "Expected `int` >= 0"),
        ('{"id":"a"}', "value_error", ["id"], "Invalid UUID"),
        ('{"pair":[1]}', "value_error", ["pair"], "Expected `array` of length 2"),
        ('{"x":13}', "value_error", [], "13 is unlucky"),
        (
            '{"more":{"a.b":{"line":[{},{"x":null}]}}}',
            "type_error",
            ["more", "...", "line", 1, "x"],
            "Expected `int`, got `null`",
        ),
        ('{"a `b` - at `$.c`":1}', "extra_forbidden", None, None),
        ("5", "type_error", [], "Expected `object`, got `int`"),
    ],
)
def test_an_error_of_msgspec_becomes_one_of_ours(data: str, type_: str, loc: list[Any] | None, msg: str | None) -> None:
    with pytest.raises(InvalidMessage) as caught:
        codec_for(Point).decode(data)
    (error,) = caught.value.errors
    assert error["type"] == type_
    assert loc is None or error["loc"] == loc
    assert msg is None or error["msg"] == msg


def test_a_text_message_for_msgpack_says_what_is_expected() -> None:
    with pytest.raises(InvalidMessage) as caught:
        codec_for(StructJoin, "msgpack").decode("{}")
    assert caught.value.errors == [
        {"type": "frame_type", "loc": [], "msg": "Expected a binary message, but got a text message"}
    ]
    assert (caught.value.close_code, caught.value.reason) == (1003, "the message is of the wrong kind, text or binary")


# --- errors are bounded, and tell nothing of the inside --------------------------------------------------------------


class Numbers(BaseModel):
    numbers: list[int]


class NumbersByName(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Tree(BaseModel):
    children: list[Tree] = []


def test_only_the_first_errors_are_told() -> None:
    with pytest.raises(InvalidMessage) as caught:
        codec_for(Numbers).decode(json.dumps({"numbers": ["a"] * 500}))
    assert [error["loc"] for error in caught.value.errors] == [["numbers", index] for index in range(10)]


def test_very_many_errors_are_only_counted() -> None:
    with pytest.raises(InvalidMessage) as caught:
        codec_for(Numbers).decode(json.dumps({"numbers": ["a"] * 100_000}))
    assert caught.value.errors == [
        {"type": "too_many_errors", "loc": [], "msg": "100000 parts of the message are invalid"}
    ]


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        (NumbersByName, json.dumps({"n" * 100_000: 1})),
        (LANGUAGES[0].type, json.dumps({"type": "t" * 100_000})),
        (LANGUAGES[5].type, json.dumps({"type": "t" * 100_000})),
        (Point, json.dumps({"n" * 100_000: 1})),
        (Tree, '{"children":[' * 60 + "1" + "]}" * 60),
    ],
)
def test_what_the_client_sent_is_hardly_repeated(type_: Any, data: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        codec_for(type_).decode(data)
    assert len(encode(caught.value.answer)) < 1000


def test_a_validators_words_are_told_and_its_exception_is_not() -> None:
    class Even(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def even(cls, number: int) -> int:
            if number % 2:
                raise ValueError("an even number is expected")
            return number

    with pytest.raises(InvalidMessage) as caught:
        codec_for(Even).decode('{"number": 3}')
    assert caught.value.errors == [
        {"type": "value_error", "loc": ["number"], "msg": "Value error, an even number is expected"}
    ]


def test_a_mistake_in_a_validator_is_no_invalid_message() -> None:
    class Broken(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def broken(cls, number: int) -> int:
            raise LookupError(number)

    with pytest.raises(LookupError):
        codec_for(Broken).decode('{"number": 3}')


# --- which codec takes a type ----------------------------------------------------------------------------------------

Alias = TypeAliasType("Alias", StructJoin | StructLeave)


@pytest.mark.parametrize(
    ("type_", "class_"),
    [
        (StructJoin, _msgspec.MsgspecJson),
        (StructJoin | StructLeave, _msgspec.MsgspecJson),
        (StructJoin | None, _msgspec.MsgspecJson),
        (list[StructJoin | StructLeave], _msgspec.MsgspecJson),
        (dict[str, StructJoin], _msgspec.MsgspecJson),
        (Annotated[StructJoin | StructLeave, "both"], _msgspec.MsgspecJson),
        (Alias, _msgspec.MsgspecJson),
        (ModelJoin, _pydantic.PydanticJson),
        (ModelJoin | ModelLeave, _pydantic.PydanticJson),
        (DataJoin, _pydantic.PydanticJson),
        (DictJoin, _pydantic.PydanticJson),
        (dict[str, Any], _pydantic.PydanticJson),
        (dict[str, str], _pydantic.PydanticJson),
        (int | str, _pydantic.PydanticJson),
        (Literal["a", "b"], _pydantic.PydanticJson),
        (None, _pydantic.PydanticJson),
    ],
)
def test_json_is_of_the_library_that_the_type_belongs_to(type_: Any, class_: type) -> None:
    assert isinstance(codec_for(type_), class_)


@dataclass
class HasAModel:
    model: ModelJoin


class StructHasAModel(msgspec.Struct):
    models: list[ModelJoin]


class Untagged(msgspec.Struct):
    room: str


class AlsoUntagged(msgspec.Struct):
    room: str


@pytest.mark.parametrize(
    ("type_", "codec", "text"),
    [
        (StructJoin | ModelJoin, "json", "names both: ModelJoin, StructJoin; write all of them as one or the other"),
        (list[StructJoin | ModelJoin], "json", "names both"),
        (
            Untagged | AlsoUntagged,
            "json",
            r"must be tagged.*; give each a tag: class Join\(msgspec.Struct, tag='join'\)",
        ),
        (Untagged | AlsoUntagged, "msgpack", "give each a tag"),
        (StructJoin | DataJoin, "json", "may not contain more than one dict-like type.*; write all of them as Structs"),
        (
            ModelJoin,
            "msgpack",
            "the codec 'msgpack' can decode, but got .*ModelJoin.*it does not know ModelJoin; use Structs",
        ),
        (ModelJoin | ModelSay, "msgpack", "may not contain more than one custom type"),
        (DictJoin | DictLeave, "msgpack", "more than one TypedDict type.*; write all of them as Structs"),
        (StructHasAModel, "json", "it does not know ModelJoin"),
        (HasAModel, "json-msgspec", "it does not know ModelJoin"),
        (StructJoin, "json-pydantic", "expected a type that pydantic can validate, but got .*StructJoin"),
        (object(), "json", "expected a type that pydantic can validate"),
        ("Missing", "json", "expected a type that pydantic can validate, but got 'Missing'"),
        (ModelJoin, "protobuf", "expected one of the codecs 'json', 'json-pydantic', .*, but got 'protobuf'"),
    ],
)
def test_a_type_that_a_codec_cannot_handle_is_refused_in_words(type_: Any, codec: str, text: str) -> None:
    with pytest.raises(CodecError, match=text) as caught:
        codec_for(type_, codec)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("codec", ["msgpack", "json-msgspec"])
def test_without_msgspec_the_error_says_what_to_install(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_msgspec, "INSTALLED", False)
    with pytest.raises(CodecError, match=r"needs msgspec, which is not installed: pip install 'trunkline\[msgspec\]'"):
        codec_for(list[bytes], codec)
    assert isinstance(codec_for(list[bytes]), _pydantic.PydanticJson)


def test_everything_else_works_without_msgspec() -> None:
    program = """
import sys
sys.modules["msgspec"] = None  # importing it fails
from trunkline.messages import CodecError, MessageSettings, codec_for
print(codec_for(int | str).decode("5"))
try:
    MessageSettings(subprotocols={"chat.msgpack": "msgpack"})
except CodecError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "5",
        "the codec 'msgpack' needs msgspec, which is not installed: pip install 'trunkline[msgspec]'",
    ]


def test_what_cannot_be_a_key_is_made_each_time() -> None:
    type_: Any = Annotated[int, {"unhashable": True}]
    assert codec_for(type_).decode("5") == 5


# --- unions are discriminated where they can be ----------------------------------------------------------------------


class Ping(BaseModel):
    op: Literal["ping"] = "ping"
    type: Literal["control"] = "control"


class Pong(BaseModel):
    op: Literal["pong", "gnop"] = "pong"
    type: Literal["control"] = "control"


class Aliased(BaseModel):
    op: Literal["aliased"] = Field("aliased", alias="o")


class Free(BaseModel):
    anything: str = ""


@pytest.mark.parametrize(
    ("type_", "data", "type_of_error"),
    [
        (Ping | Pong, '{"op":"bang"}', "union_tag_invalid"),
        (Ping | Pong, "{}", "union_tag_not_found"),
        (DictJoin | DictLeave, '{"type":"bang"}', "union_tag_invalid"),
        (DictJoin | DictLeave, '{"type":"join"}', "missing"),
        (DataJoin | DictLeave | Pong, '{"type":"bang"}', "union_tag_invalid"),
        (Ping | None, "{}", None),
        (Ping | Free, '{"anything":"a"}', None),
        (Ping | Aliased, '{"o":"aliased"}', None),
        (int | str, "null", "int_type"),
    ],
)
def test_a_union_is_discriminated_by_its_literals(type_: Any, data: str, type_of_error: str | None) -> None:
    if type_of_error is None:
        assert codec_for(type_).decode(data) is not None
        return
    with pytest.raises(InvalidMessage) as caught:
        codec_for(type_).decode(data)
    assert caught.value.errors[0]["type"] == type_of_error


def test_what_a_union_says_of_itself_counts() -> None:
    codec = codec_for(Annotated[Ping | Pong, Field(discriminator="op")])
    assert codec.decode('{"op":"ping"}') == Ping()
    tagged = Annotated[
        Annotated[Ping, Tag("1")] | Annotated[Pong, Tag("2")], Discriminator(lambda value: value["kind"])
    ]
    assert codec_for(tagged).decode('{"kind":"2"}') == Pong()


class PlainJoin(typing.TypedDict):
    type: Literal["join"]


class PlainLeave(typing.TypedDict):
    type: Literal["leave"]


def test_a_typed_dict_of_the_standard_library() -> None:
    if sys.version_info >= (3, 12):
        assert codec_for(PlainJoin | PlainLeave).decode('{"type":"leave"}') == {"type": "leave"}
        return
    with pytest.raises(CodecError, match=r"write `from typing_extensions import TypedDict`$"):
        codec_for(PlainJoin | PlainLeave)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement `type` is new in Python 3.12")
def test_an_alias_may_speak_of_itself() -> None:
    names: dict[str, Any] = {}
    exec("type Json = dict[str, Json] | list[Json] | int", names)
    assert codec_for(names["Json"]).decode('{"a":[1]}') == {"a": [1]}


def test_the_discriminator_is_the_field_whose_values_differ() -> None:
    assert codec_for(Ping | Pong).decode('{"op":"gnop"}') == Pong(op="gnop")


def test_classes_made_in_a_function_are_a_plain_union() -> None:
    class Here(BaseModel):
        kind: Literal["here"] = "here"

    @dataclass
    class There:
        here: Here
        kind: Literal["there"] = "there"

    codec_for(Here)
    with pytest.raises(CodecError, match="name 'Here' is not defined"):
        codec_for(Here | There)


def test_fields_go_under_their_aliases_both_ways() -> None:
    codec = codec_for(Aliased)
    assert codec.encode(codec.decode('{"o":"aliased"}')) == '{"o":"aliased"}'


# --- one's own -------------------------------------------------------------------------------------------------------


class Lines:
    """Texts of `type:room`, and nothing else."""

    def __init__(self, type_: Any) -> None:
        self.type = type_

    def decode(self, data: str | bytes) -> Any:
        kind, colon, room = str(data).partition(":")
        if not colon:
            raise InvalidMessage([{"type": "no_colon", "loc": [], "msg": "Expected a colon"}], 1007)
        return {"type": kind, "room": room}

    def encode(self, value: Any) -> str:
        return f"{value['type']}:{value.get('room') or value['errors'][0]['msg']}"


@pytest.fixture
def lines() -> Iterator[str]:
    register_codec("lines", Lines)
    yield "lines"
    del _codecs._MAKERS["lines"]


def test_a_codec_of_ones_own_is_used_by_its_name(lines: str) -> None:
    codec: Codec[Any] = codec_for(dict, lines)
    assert codec.decode("join:blue") == {"type": "join", "room": "blue"}
    assert encode({"type": "join", "room": "blue"}, lines) == "join:blue"


def test_a_name_is_given_anew_but_not_one_of_ours(lines: str) -> None:
    before: Codec[Any] = codec_for(dict, lines)
    register_codec(lines, Lines)
    assert codec_for(dict, lines) is not before
    with pytest.raises(ValueError, match="expected a name that no codec of trunkline has, but got 'json'"):
        register_codec("json", Lines)
