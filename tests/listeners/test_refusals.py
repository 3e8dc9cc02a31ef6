"""What cannot be a listener or a stream is refused when its route is made, in words that say what to write instead."""

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from trunkline import App, Depends, WebSocket
from trunkline.dependencies import DependencyError
from trunkline.endpoints import EndpointError
from trunkline.messages import CodecError, MessageSettings
from trunkline.routing import ListenerRoute, RouteError, StreamRoute


class Join(BaseModel):
    type: Literal["join"] = "join"


class Leave(TypedDict):
    type: Literal["leave"]


def nothing(websocket: WebSocket, room: str, q: int = 0) -> None: ...


def two(first: str, second: str) -> None: ...


def unannotated(message) -> None:  # type: ignore[no-untyped-def]
    ...


def by_position(message: str, /) -> None: ...


def starred(message: str, *more: str) -> None: ...


def unresolved(message: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
    ...


def generator(message: str) -> Iterator[str]:
    yield message


async def async_generator(message: str) -> AsyncIterator[str]:
    yield message


def plain(message: str) -> None: ...


class NoMethods:
    def join(self, message: Join) -> None: ...


class TwoParameters:
    def on_join(self, message: Join, websocket: WebSocket) -> None: ...


class Unannotated:
    def on_join(self, message) -> None:  # type: ignore[no-untyped-def]
        ...


class Yielding:
    def on_join(self, message: Join) -> Iterator[str]:
        yield ""


class Twice:
    def on_join(self, message: Join) -> None: ...
    def on_again(self, message: Join | str) -> None: ...


class OfDictionaries:
    def on_join(self, message: Join) -> None: ...
    def on_leave(self, message: Leave) -> None: ...


class WrongEnd:
    def on_join(self, message: Join) -> None: ...
    def on_disconnect(self) -> None: ...


class WrongBeginning:
    def on_join(self, message: Join) -> None: ...
    def on_connect(self, websocket: WebSocket) -> None: ...


@pytest.mark.parametrize(
    ("listener", "error", "words"),
    [
        (nothing, EndpointError, "write for example `message: str`"),
        (two, EndpointError, "'first', 'second'; mark the others with Query, Header, Cookie or Depends"),
        (unannotated, EndpointError, "is the message, but has no annotation; write `message: str` for text"),
        (by_position, EndpointError, "remove the `/`"),
        (starred, DependencyError, "takes any number of values"),
        (unresolved, DependencyError, "has the annotation 'Nowhere', which cannot be resolved"),
        (generator, EndpointError, "a listener returns its answer, but generator"),
        (async_generator, EndpointError, "or write a stream"),
        (functools.partial(async_generator), EndpointError, "or write a stream"),
        ("text", EndpointError, "a listener is a function that takes a message, or a class, but got 'text'"),
        (NoMethods, EndpointError, "the names of such methods begin with on_"),
        (TwoParameters, EndpointError, "takes the message alone, but TwoParameters.on_join"),
        (Unannotated, EndpointError, "is the message, but has no annotation"),
        (Yielding, EndpointError, "Yielding.on_join .* is a generator"),
        (Twice, EndpointError, "on_again and on_join of Twice both take Join|on_join and on_again"),
        (OfDictionaries, EndpointError, "on_leave of OfDictionaries takes .*Leave.*, of which there are no instances"),
        (WrongEnd, EndpointError, r"write `def on_disconnect\(self, close_code\)`, which WrongEnd.on_disconnect"),
        (WrongBeginning, EndpointError, r"write `def on_connect\(self\)`"),
    ],
)
def test_what_cannot_listen(listener: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ListenerRoute("/{room}", listener, name="x")


def test_what_cannot_stream() -> None:
    async def no_generator() -> None: ...

    async def twice(a: AsyncIterator[str], b: AsyncIterator[bytes]) -> AsyncIterator[str]:
        yield ""

    for stream in (plain, no_generator, generator):
        with pytest.raises(EndpointError, match=r"is not; write `async def` and `yield`"):
            StreamRoute("/", stream)
    with pytest.raises(EndpointError, match="does so in 'a', 'b'; write a union"):
        StreamRoute("/", twice)


def test_paths_and_options() -> None:
    with pytest.raises(RouteError, match="write '/x'"):
        ListenerRoute("x", plain)
    with pytest.raises(RouteError, match="write '/x'"):
        StreamRoute("x", async_generator)
    with pytest.raises(ValueError, match="expected 1 or more as concurrency, but got 0"):
        ListenerRoute("/", plain, concurrency=0)
    with pytest.raises(EndpointError, match=r"concurrency=2 is for functions that wait, but plain .* is not async"):
        ListenerRoute("/", plain, concurrency=2)
    ListenerRoute("/", plain, concurrency=2, threaded=True)


def test_types_that_a_codec_cannot_handle() -> None:
    def typed(message: Join) -> None: ...

    async def stream(messages: AsyncIterator[Join]) -> AsyncIterator[str]:
        yield ""

    settings = MessageSettings(subprotocols={"packed": "msgpack"})
    with pytest.raises(CodecError, match="it does not know Join"):
        ListenerRoute("/", typed, messages=settings)
    with pytest.raises(CodecError, match="it does not know Join"):
        StreamRoute("/", stream, messages=settings)


def test_a_stream_has_no_messages_to_live_as_long_as() -> None:
    async def stream(_: Annotated[None, Depends(lambda: None, scope="message")]) -> AsyncIterator[str]:
        yield ""

    with pytest.raises(DependencyError, match="only a listener has messages"):
        StreamRoute("/", stream)


def test_what_comes_with_a_message_cannot_be_had_before() -> None:
    def depends(message: str) -> None: ...

    def listener(message: str, _: Annotated[None, Depends(depends)]) -> None: ...

    with pytest.raises(DependencyError, match='give it the scope "message" too'):
        App().listener("/")(listener)
