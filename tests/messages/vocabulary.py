"""One small language, `join | say | leave`, written in every way that a codec takes, and how each looks on the wire."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, Field, dataclasses as pydantic_dataclasses

if sys.version_info >= (3, 12):
    from typing import TypedDict
else:
    from typing_extensions import TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable


class ModelJoin(BaseModel):
    type: Literal["join"] = "join"
    room: str


class ModelSay(BaseModel):
    type: Literal["say"] = "say"
    room: str
    text: str
    number: int = 0
    tags: list[str] = []


class ModelLeave(BaseModel):
    type: Literal["leave"] = "leave"


@dataclass
class DataJoin:
    room: str
    type: Literal["join"] = "join"


@dataclass
class DataSay:
    room: str
    text: str
    number: int = 0
    tags: list[str] = dataclasses.field(default_factory=list)
    type: Literal["say"] = "say"


@dataclass
class DataLeave:
    type: Literal["leave"] = "leave"


@pydantic_dataclasses.dataclass
class CheckedJoin:
    room: str
    type: Literal["join"] = "join"


@pydantic_dataclasses.dataclass
class CheckedSay:
    room: str
    text: str
    number: int = 0
    tags: list[str] = Field(default_factory=list)
    type: Literal["say"] = "say"


@pydantic_dataclasses.dataclass
class CheckedLeave:
    type: Literal["leave"] = "leave"


class DictJoin(TypedDict):
    type: Literal["join"]
    room: str


class DictSay(TypedDict):
    type: Literal["say"]
    room: str
    text: str
    number: int
    tags: list[str]


class DictLeave(TypedDict):
    type: Literal["leave"]


class StructJoin(msgspec.Struct, tag="join"):
    room: str


class StructSay(msgspec.Struct, tag="say"):
    room: str
    text: str
    number: int = 0
    tags: list[str] = []


class StructLeave(msgspec.Struct, tag="leave"):
    pass


Discriminated = Annotated[ModelJoin | ModelSay | ModelLeave, Field(discriminator="type")]


def text_of(value: Any) -> str:
    """A value as JSON, by another library."""
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Language:
    """One way to write it.

    Attributes:
        name: What the tests call it.
        codec: The name of the codec.
        type: The union.
        join: The class of its first member, to make messages of.
        say: Of its second.
        leave: Of its third.
        wire: Makes of plain values what comes from a client, without the codec.
        plain: Makes plain values of what goes to a client, without the codec.
    """

    name: str
    codec: str
    type: Any
    join: Callable[..., Any]
    say: Callable[..., Any]
    leave: Callable[..., Any]
    wire: Callable[[Any], str | bytes] = text_of
    plain: Callable[[Any], Any] = json.loads

    def message(self, kind: str, **values: Any) -> Any:
        """A message with all its fields, whichever class it is of."""
        if kind == "say":
            values = {"number": 0, "tags": [], **values}
        if self.name == "typed dicts":
            values = {"type": kind, **values}
        make: Callable[..., Any] = getattr(self, kind)
        return make(**values)

    def __str__(self) -> str:
        return self.name


_STRUCTS = StructJoin | StructSay | StructLeave
_STRUCT_CLASSES = (StructJoin, StructSay, StructLeave)
_MODEL_CLASSES = (ModelJoin, ModelSay, ModelLeave)

LANGUAGES = (
    Language("models", "json", ModelJoin | ModelSay | ModelLeave, *_MODEL_CLASSES),
    Language("models, discriminated", "json-pydantic", Discriminated, *_MODEL_CLASSES),
    Language("dataclasses", "json", DataJoin | DataSay | DataLeave, DataJoin, DataSay, DataLeave),
    Language(
        "pydantic's dataclasses", "json", CheckedJoin | CheckedSay | CheckedLeave, CheckedJoin, CheckedSay, CheckedLeave
    ),
    Language("typed dicts", "json", DictJoin | DictSay | DictLeave, DictJoin, DictSay, DictLeave),
    Language("structs", "json", _STRUCTS, *_STRUCT_CLASSES),
    Language("structs, by name", "json-msgspec", _STRUCTS, *_STRUCT_CLASSES),
    Language("msgpack", "msgpack", _STRUCTS, *_STRUCT_CLASSES, msgspec.msgpack.encode, msgspec.msgpack.decode),
)
