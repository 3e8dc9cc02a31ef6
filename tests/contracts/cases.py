"""The behaviours: what a client does, and what both sides see, whatever the server.

Where a server differs, `deviations.py` says so; nothing here bends for one.
"""

from __future__ import annotations

from tests.contracts.script import Case, Outcome, Step, brief, close, drop, end, gate, receive, send

__all__ = ["CASES"]

UNICODE = "grüß dich, 世界 🚊"
BIG_TEXT = UNICODE * 50_000
BIG_BYTES = bytes(range(256)) * 4096

BYE = "disconnected: 3005 bye"
LOST = "disconnected: 1006"


def echo(name: str, path: str, *messages: str | bytes) -> Case:
    """Everything sent comes back."""
    steps: list[Step] = []
    for message in messages:
        steps += send(message), receive()
    received = tuple(brief(message) for message in messages)
    return Case(name=name, path=path, steps=(*steps, close()), expected=Outcome(received=received, seen=("returned",)))


def closes(name: str, path: str, code: int, reason: str, *seen: str, sends: tuple[Step, ...] = ()) -> Case:
    """The server ends the connection, after one message to be sure that it was open."""
    received = ("before",) if path.startswith("/raise/") else ()
    return Case(
        name=name, path=path, steps=sends, expected=Outcome(received=received, closed=(code, reason), seen=seen)
    )


def refused(name: str, path: str, status: int, body: str = "", *seen: str) -> Case:
    """The handshake is not completed."""
    return Case(name=name, path=path, expected=Outcome(refused=status, body=body, seen=seen))


def ended_by_client(name: str, path: str, *steps: Step, seen: tuple[str, ...]) -> Case:
    """The endpoint says "ready", the client ends the connection, the endpoint notes what it sees of that."""
    return Case(name=name, path=path, steps=(receive(), *steps), expected=Outcome(received=("ready",), seen=seen))


def at_path(name: str, raw: str, parameter: str, url: str) -> Case:
    """A path parameter that takes everything, and the path of the connection's URL."""
    seen = (f"{parameter!r} {f'path/{url}'!r}", "returned")
    return Case(name=name, path=f"/path/{raw}", expected=Outcome(closed=(1000, ""), seen=seen))


MESSAGES = (
    echo("text is echoed, empty and not ASCII too", "/echo/text", "hello", "", UNICODE),
    echo("bytes are echoed, empty and any value too", "/echo/bytes", b"hello", b"", b"\x00\xff"),
    echo("a big text arrives whole", "/echo/text", BIG_TEXT),
    echo("big bytes arrive whole", "/echo/bytes", BIG_BYTES),
    echo("both types come as they are", "/echo/any", "text", b"bytes", "", b""),
    Case(
        name="JSON is compact and not escaped",
        path="/echo/json/text",
        steps=(send('{"a": [1, 2.5, null, true], "ä": "世界"}'), receive(), close(3005, "bye")),
        expected=Outcome(received=('{"a":[1,2.5,null,true],"ä":"世界"}',), seen=(BYE,)),
    ),
    Case(
        name="JSON in binary messages",
        path="/echo/json/binary",
        steps=(send('{"ä": 1}'.encode()), receive(), close(3005, "bye")),
        expected=Outcome(received=('{"ä":1}'.encode(),), seen=(BYE,)),
    ),
    Case(
        name="a class-based endpoint with an encoding",
        path="/listener",
        steps=(send("[1]"), receive(), close(3005, "bye")),
        expected=Outcome(received=('{"heard":[1]}',), seen=("on_disconnect 3005",)),
    ),
    Case(
        name="many messages, then a close, arrive in order",
        path="/count/300",
        expected=Outcome(received=tuple(map(str, range(300))), closed=(4000, "counted"), seen=("returned",)),
    ),
    Case(
        name="messages unread at a clean close are read first",
        path="/read-late",
        steps=(receive(), send("a"), send("b"), send("c"), close(3005, "bye"), gate()),
        expected=Outcome(received=("ready",), seen=("a", "b", "c", BYE)),
    ),
)

HANDSHAKE = (
    refused("an unknown path is refused", "/nowhere", 403),
    refused("a path parameter that does not convert is refused", "/count/many", 403),
    refused("an unknown path inside a mount is refused", "/live/nowhere", 403),
    refused("a line break in a path is in no route", "/path/a%0D%0Ab", 403),
    refused("closed before accept is refused", "/refuse", 403, "", "returned"),
    Case(
        name="a page of another origin is refused",
        path="/echo/text",
        headers=(("origin", "http://elsewhere.example"),),
        expected=Outcome(refused=403),
    ),
    Case(
        name="a page of the same origin is let in",
        path="/return",
        headers=(("origin", "http://{host}"),),
        expected=Outcome(received=("that is all",), closed=(1000, ""), seen=("returned",)),
    ),
    Case(
        name="a denial response",
        path="/deny",
        expected=Outcome(refused=418, body="closed today", headers=(("x-why", "a holiday"),), seen=("returned",)),
    ),
    Case(
        name="headers of accept",
        path="/accept",
        expected=Outcome(
            headers=(("x-welcome", "yes"), ("x-twice", "1"), ("x-twice", "2")), closed=(1000, ""), seen=("returned",)
        ),
    ),
    Case(
        name="a subprotocol is selected",
        path="/subprotocol",
        subprotocols=("v1", "v2"),
        expected=Outcome(subprotocol="v2", closed=(1000, ""), seen=("offered v1, v2", "returned")),
    ),
    Case(
        name="no subprotocol is selected",
        path="/subprotocol",
        subprotocols=("v1", "v3"),
        not_with={"ws": "it fails when it offers some and none is selected"},
        expected=Outcome(closed=(1000, ""), seen=("offered v1, v3", "returned")),
    ),
    Case(
        name="path, query, headers and cookies are seen",
        path="/facts/J%C3%BCrgen%20M/7?q=a+b&q=%C3%A4&empty=",
        headers=(("x-thing", "1"), ("X-Thing", "2"), ("cookie", "a=1; b=two")),
        expected=Outcome(
            closed=(1000, ""),
            seen=(
                "path: /facts/Jürgen M/7",
                "parameters: {'name': 'Jürgen M', 'number': 7}",
                "query: [('q', 'a b'), ('q', 'ä'), ('empty', '')]",
                "x-thing: ['1', '2']",
                "cookies: {'a': '1', 'b': 'two'}",
                "scheme: ws",
                "url_for: /facts/ab/2",
                "returned",
            ),
        ),
    ),
    at_path("a path that is not UTF-8 has replacement characters", "a%FFb", "a\ufffdb", "a\ufffdb"),
    at_path("an encoded slash is a slash", "a%2Fb", "a/b", "a/b"),
    at_path("an encoded question mark is no query", "a%3Fb", "a?b", "a%3Fb"),
    at_path("slashes in a path are kept", "//elsewhere.example", "//elsewhere.example", "//elsewhere.example"),
    Case(
        name="many headers and a big cookie are seen",
        path="/headers",
        headers=(*[("x-many", "1")] * 80, ("cookie", f"big={'c' * 4000}")),
        expected=Outcome(closed=(1000, ""), seen=("80 headers, a cookie of 4000", "returned")),
    ),
    Case(
        name="a mounted router",
        path="/live/rooms/a",
        expected=Outcome(closed=(1000, ""), seen=("/live /live/rooms/a /live/rooms/b",)),
    ),
    Case(
        name="the state of the lifespan is seen",
        path="/state",
        expected=Outcome(closed=(1000, ""), seen=("hello", "returned")),
    ),
)

FAILURES = (
    refused(
        "HTTPException before accept is a denial response",
        "/raise/before/404",
        404,
        "as told",
        "raised HTTPException(status_code=404, detail='as told')",
    ),
    refused(
        "WebSocketException before accept is a refusal",
        "/raise/before/WebSocketException",
        403,
        "",
        "raised WebSocketException(code=4001, reason='as told')",
    ),
    refused(
        "any other exception before accept is a failed request",
        "/raise/before/RuntimeError",
        500,
        "",
        "raised RuntimeError('a secret of the server')",
    ),
    closes(
        "an exception after accept is 1011 without internals",
        "/raise/after/RuntimeError",
        1011,
        "",
        "raised RuntimeError('a secret of the server')",
    ),
    closes(
        "WebSocketException after accept closes as it says",
        "/raise/after/WebSocketException",
        4001,
        "as told",
        "raised WebSocketException(code=4001, reason='as told')",
    ),
    closes(
        "an exception with a handler is the handler's",
        "/raise/after/HandledError",
        4004,
        "handled",
        "raised HandledError()",
    ),
    *(
        closes(
            f"HTTPException {status} after accept is {code}",
            f"/raise/after/{status}",
            code,
            "as told",
            f"raised HTTPException(status_code={status}, detail='as told')",
        )
        for status, code in ((401, 3000), (403, 3003), (404, 1008), (408, 3008), (503, 1011))
    ),
    closes(
        "bytes where text is wanted is 1003",
        "/echo/text",
        1003,
        "a text message was expected",
        "raised WebSocketMessageTypeError('text')",
        sends=(send(b"bytes"),),
    ),
    closes(
        "text where bytes are wanted is 1003",
        "/echo/bytes",
        1003,
        "a binary message was expected",
        "raised WebSocketMessageTypeError('bytes')",
        sends=(send("text"),),
    ),
    closes(
        "invalid JSON is 1007",
        "/echo/json/text",
        1007,
        "the message is not valid JSON",
        "raised JSONDecodeError('Expecting value: line 1 column 1 (char 0)')",
        sends=(send("nonsense"),),
    ),
    closes(
        "invalid JSON for a class-based endpoint is 1003",
        "/listener",
        1003,
        "",
        "on_disconnect 1011",
        sends=(send("nonsense"),),
    ),
    closes(
        "an exception after the own close changes nothing",
        "/close-then-raise",
        4002,
        "done",
        "raised RuntimeError('nobody is there to hear this')",
    ),
    Case(
        name="returning without closing is 1000",
        path="/return",
        expected=Outcome(received=("that is all",), closed=(1000, ""), seen=("returned",)),
    ),
)

ENDS = (
    ended_by_client("the client's close, code and reason", "/receive", send("a"), close(3005, "bye"), seen=("a", BYE)),
    ended_by_client(
        "the client's close without a code",
        "/receive",
        close(None),
        seen=("disconnected: 1005",),
    ),
    ended_by_client("a client that vanishes", "/receive", drop(), seen=(LOST,)),
    Case(
        name="receiving after the end is refused",
        path="/receive-again",
        steps=(close(),),
        expected=Outcome(
            seen=(
                "closed: True",
                "raised WebSocketDisconnected('Cannot call \"receive\" once a disconnect message has been received.')",
            )
        ),
    ),
    ended_by_client(
        "an endpoint that only sends waits for the end",
        "/wait-closed",
        close(3005, "bye"),
        seen=("closed: 3005 bye, True, True", "returned"),
    ),
    ended_by_client(
        "an endpoint that only sends waits for a client that vanishes",
        "/wait-closed",
        drop(),
        seen=("closed: 1006, True, True", "returned"),
    ),
    ended_by_client(
        "waiting for the end keeps what came before it",
        "/wait-closed-unread",
        send("a"),
        send("b"),
        close(3005, "bye"),
        seen=("closed: 3005 bye", "a", "b", BYE),
    ),
    closes(
        "waiting for the end after the own close gives the own code",
        "/wait-closed-own",
        4005,
        "enough",
        "closed: 4005 enough",
        "returned",
    ),
    ended_by_client(
        "tasks are cancelled when the client closes",
        "/tasks/idle",
        close(3005, "bye"),
        seen=("work cancelled", BYE),
    ),
    ended_by_client(
        "tasks are cancelled when the client vanishes",
        "/tasks/idle",
        drop(),
        seen=("work cancelled", LOST),
    ),
    ended_by_client(
        "a task that reads gets what came before the close",
        "/tasks/read",
        send("a"),
        send("b"),
        close(3005, "bye"),
        seen=("read 'a'", "read 'b'", "work cancelled", BYE),
    ),
    closes(
        "a task's failure leaves as a group and is 1011",
        "/tasks-fail",
        1011,
        "",
        "raised ExceptionGroup('unhandled errors in a TaskGroup', [ValueError('of a child')])",
    ),
    Case(
        name="sending after the end was read",
        path="/try-send-after-the-end",
        steps=(close(3005, "bye"),),
        expected=Outcome(seen=("try_send_text: False", LOST)),
    ),
    ended_by_client(
        "sending while the end is unread",
        "/send-unread",
        close(3005, "bye"),
        end(),
        gate(),
        seen=("try_send_text: True", "try_send_text: False", "send_text: gone", "returned"),
    ),
)

CASES = (*MESSAGES, *HANDSHAKE, *FAILURES, *ENDS)
