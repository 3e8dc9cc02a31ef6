"""The same scripted conversations through the reference's `WebSocket` and ours: everything seen must be equal.

Neither side suspends: the scripted server answers at once, so a coroutine is driven to its end by one `send(None)`.
The differences that our interface names are listed in `same`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import starlette.responses
import starlette.websockets
from hypothesis import example, given, settings, strategies as st

import trunkline.websockets
from trunkline.websockets import WebSocketMessageTypeError, WebSocketPayloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trunkline.types import Message, Scope

Operation = tuple[str, tuple[Any, ...]]


class ScriptEndedError(Exception):
    """The scripted server has nothing more to say."""


@dataclass
class ScriptedServer:
    """An ASGI server that gives its messages in order and may lose the peer at the n-th send."""

    incoming: list[Message]
    lost_at: int | None
    sent: list[Message] = field(default_factory=list)

    async def receive(self) -> Message:
        if not self.incoming:
            raise ScriptEndedError
        return self.incoming.pop(0)

    async def send(self, message: Message) -> None:
        if self.lost_at is not None and len(self.sent) >= self.lost_at:
            raise BrokenPipeError("the peer is gone")
        self.sent.append(dict(message))


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a scripted server never makes anybody wait")


async def collected(iterator: Any) -> list[Any]:
    return [item async for item in iterator]


def outcome(websocket: Any, operation: Operation) -> tuple[str, Any]:
    name, arguments = operation
    try:
        call: Callable[..., Any] = getattr(websocket, name)
        result = call(*arguments)
        return "returned", run(collected(result) if name.startswith("iter_") else result)
    except Exception as error:
        return "raised", error


def same(reference: tuple[str, Any], ours: tuple[str, Any]) -> bool:
    kind, value = ours
    if isinstance(value, WebSocketMessageTypeError):
        # The reference lets a KeyError out, or gives the None that a server put there, or fails on that None.
        return reference == ("returned", None) or isinstance(reference[1], (KeyError, TypeError, AttributeError))
    if kind == "returned" or reference[0] == "returned":
        return reference == ours
    expected = reference[1]
    if isinstance(value, WebSocketPayloadError):
        return type(expected) is UnicodeDecodeError and str(expected) == str(value)
    if type(expected).__name__ != type(value).__name__:
        return False
    if isinstance(value, trunkline.websockets.WebSocketDisconnect):
        # Only our text says what happened.
        return (expected.code, expected.reason) == (value.code, value.reason)
    return str(expected) == str(value)


def states(websocket: Any) -> tuple[str, str]:
    return websocket.client_state.name, websocket.application_state.name


data_messages = st.one_of(
    st.builds(lambda text: {"type": "websocket.receive", "text": text}, st.sampled_from(["", "hi", '{"a":1}', "{"])),
    st.builds(
        lambda data: {"type": "websocket.receive", "bytes": data},
        st.sampled_from([b"", b"hi", b"[1,2]", b"\xff", '"ü"'.encode()]),
    ),
    st.just({"type": "websocket.receive", "text": "both keys", "bytes": None}),
    st.just({"type": "websocket.receive", "text": None, "bytes": b"both keys"}),
)
disconnects = st.builds(
    lambda code, reason: {"type": "websocket.disconnect", "code": code, **reason},
    st.sampled_from([1000, 1001, 1005, 1006, 3005]),
    st.sampled_from([{}, {"reason": None}, {"reason": ""}, {"reason": "bye"}]),
)
odd_messages = st.sampled_from([{"type": "websocket.connect"}, {"type": "http.request"}, {"type": "websocket.accept"}])
scripts = st.one_of(
    st.builds(
        lambda data, end: [{"type": "websocket.connect"}, *data, *end],
        st.lists(data_messages, max_size=5),
        st.lists(disconnects, max_size=2),
    ),
    st.lists(st.one_of(data_messages, disconnects, odd_messages), max_size=6),
)

raw_messages = st.sampled_from(
    [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "text": "raw"},
        {"type": "websocket.close", "code": 1000},
        {"type": "websocket.close", "code": 4000, "reason": "raw"},
        {"type": "websocket.http.response.start", "status": 401, "headers": []},
        {"type": "websocket.http.response.body", "body": b"no", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"no"},
        {"type": "websocket.unknown"},
        {"type": "http.response.start"},
    ]
)
operations = st.one_of(
    st.just(("accept", ())),
    st.just(("accept", ("chat", [(b"x-a", b"1")]))),
    st.sampled_from([("receive", ()), ("receive_text", ()), ("receive_bytes", ()), ("receive_json", ())]),
    st.sampled_from([("receive_json", ("binary",)), ("receive_json", ("text",)), ("receive_json", ("other",))]),
    st.sampled_from([("iter_text", ()), ("iter_bytes", ()), ("iter_json", ())]),
    st.builds(lambda text: ("send_text", (text,)), st.text(max_size=5)),
    st.builds(lambda data: ("send_bytes", (data,)), st.binary(max_size=5)),
    st.builds(
        lambda value, mode: ("send_json", (value, *mode)),
        st.sampled_from([None, 1.5, "ü", {"a": [1, 2]}, float("inf"), {1, 2}]),
        st.sampled_from([(), ("text",), ("binary",), ("other",)]),
    ),
    st.builds(
        lambda code, reason: ("close", (code, *reason)),
        st.sampled_from([1000, 1001, 1008, 3000, 4999]),
        st.sampled_from([(), (None,), ("",), ("why",)]),
    ),
    st.builds(lambda message: ("send", (message,)), raw_messages),
    st.just(("send_denial_response", (starlette.responses.PlainTextResponse("no", 401),))),
)
extensions: list[dict[str, Any]] = [{}, {"extensions": {}}, {"extensions": {"websocket.http.response": {}}}]


@settings(max_examples=300)
@given(
    script=scripts,
    program=st.lists(operations, max_size=8),
    accepted=st.booleans(),
    lost_at=st.one_of(st.none(), st.integers(0, 4)),
    extension=st.sampled_from(extensions),
)
@example(
    script=[{"type": "websocket.connect"}],
    program=[("send_text", ("lost",)), ("send_text", ("again",)), ("close", (1000,)), ("receive_text", ())],
    accepted=True,
    lost_at=1,
    extension={},
)
@example(
    script=[{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}],
    program=[("receive_text", ()), ("receive_text", ()), ("send_text", ("late",)), ("receive", ())],
    accepted=True,
    lost_at=None,
    extension={},
)
def test_every_conversation_is_the_same_as_with_the_reference(
    script: list[Message],
    program: list[Operation],
    accepted: bool,
    lost_at: int | None,
    extension: dict[str, Any],
) -> None:
    scope: Scope = {"type": "websocket", "path": "/", "headers": [], **extension}
    their_server = ScriptedServer(list(script), lost_at)
    our_server = ScriptedServer(list(script), lost_at)
    theirs = starlette.websockets.WebSocket(scope, their_server.receive, their_server.send)
    ours: Any = trunkline.websockets.WebSocket(scope, our_server.receive, our_server.send)
    for operation in [("accept", ()), *program] if accepted else program:
        expected, got = outcome(theirs, operation), outcome(ours, operation)
        if isinstance(got[1], WebSocketMessageTypeError) and operation[0].startswith("iter_"):
            # The reference goes on after a None: from here on the two have read different things.
            return
        assert same(expected, got), f"{operation}: expected {expected!r}, but got {got!r}"
        assert states(theirs) == states(ours), operation
        assert their_server.sent == our_server.sent, operation
        assert their_server.incoming == our_server.incoming, operation
