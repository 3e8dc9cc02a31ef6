"""The synchronous test client, side by side with the reference's where it claims to behave alike.

A *script* is a function of a client; it says what the test saw. Each runs through both clients, on asyncio and trio.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import httpx2
import pytest
import starlette.testclient
import starlette.websockets
from fastapi import FastAPI, WebSocket as FastAPIWebSocket
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from tests.lifespan_script import DOWN, FAILURES, UP, Broken, failure_id, lifespan_app
from trunkline._testscope import as_asgi3, is_disconnect
from trunkline.testclient import TestClient, WebSocketDenialResponse
from trunkline.websockets import WebSocket, WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from starlette.requests import Request

    from tests.conftest import ClientFactory
    from trunkline.types import ASGIApp, Message, Receive, Scope, Send

    Script = Callable[[Any], object]

ACCEPT: dict[str, Any] = {"type": "websocket.accept"}


def sends(*messages: dict[str, Any], then: BaseException | None = None) -> ASGIApp:
    """An application that sends these messages, then raises, or waits for the disconnect."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if then is not None:
            raise then
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return app


async def echo(websocket: starlette.websockets.WebSocket) -> None:
    await websocket.accept(subprotocol="chat", headers=[(b"x-accept", b"1")])
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        await websocket.send({**message, "type": "websocket.send"})


async def scope_of(websocket: starlette.websockets.WebSocket) -> None:
    await websocket.accept()
    plain = {name: websocket.scope[name] for name in SAME_IN_SCOPES}
    await websocket.send_text(repr(plain))


SAME_IN_SCOPES = (
    "type", "path", "raw_path", "root_path", "scheme", "query_string", "headers", "client", "server", "subprotocols",
    "state", "extensions",
)  # fmt: skip


async def refuse(websocket: starlette.websockets.WebSocket) -> None:
    await websocket.close(3000, "no")


async def deny(websocket: starlette.websockets.WebSocket) -> None:
    await websocket.send_denial_response(JSONResponse({"detail": "no"}, 401, {"www-authenticate": "Bearer"}))


async def close_with_code(websocket: starlette.websockets.WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("last")
    await websocket.close(4001, "done")


async def break_before_accept(websocket: starlette.websockets.WebSocket) -> None:
    raise Broken("before")


async def break_after_accept(websocket: starlette.websockets.WebSocket) -> None:
    await websocket.accept()
    raise Broken("after")


async def uncaught_disconnect(websocket: starlette.websockets.WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()


async def wrong_kind(websocket: starlette.websockets.WebSocket) -> None:
    await websocket.accept()
    await websocket.send_bytes(b"binary")
    await websocket.receive()


async def describe(request: Request) -> Response:
    body = await request.body()
    plain = {name: request.scope[name] for name in ("path", "raw_path", "query_string", "headers", "client", "server")}
    response = JSONResponse({"method": request.method, "body": body.decode(), "scope": repr(plain)})
    response.set_cookie("seen", request.cookies.get("seen", "") + "x")
    return response


async def redirect(request: Request) -> Response:
    return RedirectResponse("/describe?redirected=1")


async def fail(request: Request) -> Response:
    raise Broken("http")


async def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number

    return StreamingResponse(chunks())


@asynccontextmanager
async def life(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"from_lifespan": 1}


APP = Starlette(
    routes=[
        *(WebSocketRoute(f"/{function.__name__}", function) for function in (
            echo, scope_of, refuse, deny, close_with_code, break_before_accept, break_after_accept,
            uncaught_disconnect, wrong_kind,
        )),
        *(Route(f"/{function.__name__}", function, methods=["GET", "POST"]) for function in (
            describe, redirect, fail, stream,
        )),
    ],
    lifespan=life,
)  # fmt: skip


def outcome(script: Callable[[], object]) -> object:
    """What a script saw: its value, or the exception with what a test would look at."""
    try:
        return script()
    except Exception as error:
        if isinstance(error, httpx2.Response):
            return type(error).__name__, error.status_code, error.headers.multi_items(), error.content
        if is_disconnect(error):
            disconnect = cast("Any", error)
            return "WebSocketDisconnect", disconnect.code, disconnect.reason
        return type(error).__name__, str(error)


def talk(client: Any, path: str, *sent: Any, **options: Any) -> object:
    """Open, send, and see what comes back."""
    seen: list[object] = []
    with client.websocket_connect(path, **options) as session:
        seen.append((session.accepted_subprotocol, session.extra_headers))
        for item in sent:
            if isinstance(item, str):
                session.send_text(item)
                seen.append(outcome(session.receive_text))
            elif isinstance(item, bytes):
                session.send_bytes(item)
                seen.append(outcome(session.receive_bytes))
            else:
                session.send_json(item)
                session.send_json(item, mode="binary")
                seen.append(outcome(session.receive_json))
                seen.append(outcome(partial(session.receive_json, mode="binary")))
    return seen


def take(client: Any, path: str, count: int, **options: Any) -> object:
    with client.websocket_connect(path, **options) as session:
        return [session.receive() for _ in range(count)]


def text_of_all(client: Any, path: str) -> list[object]:
    with client.websocket_connect(path) as session:
        return [outcome(session.receive_text) for _ in range(2)]


def in_lifespan(script: Script) -> Script:
    def run(client: Any) -> object:
        with client:
            return script(client), client.app_state

    return run


def handshake(client: Any) -> object:
    return take(
        client, "/scope_of?a=%20b", 1, subprotocols=["a", "b"], headers={"X-Token": "1"}, params={"c": "ü"},
        cookies={"k": "v"}, auth=("user", "secret"),
    )  # fmt: skip


def answer(response: httpx2.Response) -> object:
    return response.status_code, response.headers.multi_items(), response.content, str(response.url)


SCRIPTS: dict[str, Script] = {
    "text, bytes and JSON": lambda client: talk(client, "/echo", "é", b"\xff", {"a": ["é"]}),
    "subprotocol": lambda client: talk(client, "/echo", "x", subprotocols=["chat"]),
    "handshake": handshake,
    "handshake without anything": lambda client: take(client, "/scope_of", 1),
    "absolute URL": lambda client: take(client, "wss://example.org:8443/scope_of", 1),
    "in a lifespan": in_lifespan(lambda client: take(client, "/scope_of", 1)),
    "refused": lambda client: talk(client, "/refuse"),
    "denied": lambda client: talk(client, "/deny"),
    "unknown path": lambda client: talk(client, "/nowhere"),
    "closed by the application": lambda client: text_of_all(client, "/close_with_code"),
    "raw messages": lambda client: take(client, "/close_with_code", 2),
    "fails before accept": lambda client: talk(client, "/break_before_accept"),
    "fails after accept": lambda client: talk(client, "/break_after_accept"),
    "fails while the test receives": lambda client: take(client, "/break_after_accept", 1),
    "an uncaught disconnect is raised": lambda client: talk(client, "/uncaught_disconnect"),
    "GET": lambda client: answer(client.get("/describe", params={"ä": "1"})),
    "POST": lambda client: answer(client.post("/describe", json={"a": 1})),
    "POST of pieces": lambda client: answer(client.post("/describe", content=iter([b"a", b"b"]))),
    "HEAD": lambda client: answer(client.head("/stream")),
    "redirect": lambda client: answer(client.get("/redirect")),
    "redirect not followed": lambda client: answer(client.get("/redirect", follow_redirects=False)),
    "cookies": lambda client: [answer(client.get("/describe")) for _ in range(2)] + [dict(client.cookies)],
    "error": lambda client: answer(client.get("/fail")),
    "stream": lambda client: answer(client.get("/stream")),
    "404": lambda client: answer(client.get("/nowhere")),
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"raise_server_exceptions": False, "root_path": "/root", "client": ("1.2.3.4", 5)},
        {"base_url": "https://h:1/p/"},
    ],
    ids=["plain", "options", "base_url"],
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_test_sees_the_same_through_both_clients(script: Script, options: dict[str, Any], backend: str) -> None:
    theirs = starlette.testclient.TestClient(APP, backend=cast("Any", backend), headers={"x-all": "1"}, **options)
    ours = TestClient(APP, backend=cast("Any", backend), headers={"x-all": "1"}, **options)
    assert outcome(lambda: script(ours)) == outcome(lambda: script(theirs))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before if "portal" in thread.name]
    assert left == []


@pytest.fixture(params=["asyncio", "trio"])
def client_of(request: pytest.FixtureRequest) -> ClientFactory:
    return cast("ClientFactory", partial(TestClient, backend=request.param))


def test_the_session_ends_for_the_test_when_the_application_ends(client_of: ClientFactory) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "last"})

    with client_of(app).websocket_connect("/") as session:
        session.send_text("into the void")
        assert session.receive_text() == "last"
        for receive in (session.receive, session.receive_text, session.receive_bytes, session.receive_json):
            with pytest.raises(WebSocketDisconnect) as end:
                cast("Any", receive)()
            assert (end.value.code, end.value.reason) == (1006, "")


def test_after_the_tests_own_close_the_end_has_its_code(client_of: ClientFactory) -> None:
    with client_of(sends(ACCEPT)).websocket_connect("/") as session:
        session.close(4000, "mine")
        with pytest.raises(WebSocketDisconnect) as end:
            session.receive_text()
        assert (end.value.code, end.value.reason) == (4000, "mine")


def test_after_the_applications_close_every_receive_says_so_though_it_still_runs(client_of: ClientFactory) -> None:
    app = sends(ACCEPT, {"type": "websocket.close", "code": 1001, "reason": None})
    with client_of(app).websocket_connect("/") as session:
        assert session.receive()["code"] == 1001
        for _ in range(2):
            with pytest.raises(WebSocketDisconnect) as end:
                session.receive()
            assert (end.value.code, end.value.reason) == (1001, "")


def test_messages_before_a_failure_are_received_and_the_failure_is_the_cause_of_the_end(
    client_of: ClientFactory,
) -> None:
    app = sends(ACCEPT, {"type": "websocket.send", "text": "last"}, then=Broken("reason"))
    with pytest.raises(Broken, match="reason"), client_of(app).websocket_connect("/") as session:
        assert session.receive_text() == "last"
        with pytest.raises(WebSocketDisconnect) as end:
            session.receive_text()
        assert isinstance(end.value.__cause__, Broken)


@pytest.mark.parametrize("started", [False, True])
def test_an_application_that_ends_without_a_whole_answer_does_not_hang_the_test(
    client_of: ClientFactory, started: bool
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if started:
            await send({"type": "websocket.http.response.start", "status": 403})

    expected = (WebSocketDisconnect, "1006") if started else (RuntimeError, "without an answer to the handshake")
    with pytest.raises(expected[0], match=expected[1]):
        client_of(app).websocket_connect("/").__enter__()


def test_a_denial_response_is_a_response_and_a_disconnect(client_of: ClientFactory) -> None:
    app = sends(
        {"type": "websocket.http.response.start", "status": 403},
        {"type": "websocket.http.response.body", "body": b"a", "more_body": True},
        {"type": "websocket.http.response.body"},
    )
    with pytest.raises(WebSocketDisconnect) as denied:
        client_of(app).websocket_connect("/").__enter__()
    response = denied.value
    assert isinstance(response, WebSocketDenialResponse)
    assert (response.status_code, response.content) == (403, b"a")
    assert (response.code, response.reason) == (1006, "Forbidden")
    assert str(response) == "WebSocket handshake refused: 403 Forbidden"


def test_another_message_within_a_denial_is_named(client_of: ClientFactory) -> None:
    app = sends({"type": "websocket.http.response.start", "status": 403}, ACCEPT)
    with pytest.raises(AssertionError, match=r"but got 'websocket\.accept'"):
        client_of(app).websocket_connect("/").__enter__()


def test_a_message_of_the_other_kind_is_a_keyerror_in_words(client_of: ClientFactory) -> None:
    app = sends(ACCEPT, {"type": "websocket.send", "bytes": b"b"}, {"type": "websocket.send", "text": "t"}, ACCEPT)
    with client_of(app).websocket_connect("/") as session:
        for receive, words in (
            (session.receive_text, r"application sent b'b'; use receive_bytes\(\)"),
            (session.receive_bytes, r"application sent 't'; use receive_text\(\)"),
            (session.receive_text, r"application sent \{'type': 'websocket.accept'\}"),
        ):
            with pytest.raises(KeyError, match=words):
                cast("Any", receive)()


def test_an_application_that_hears_of_the_disconnect_finishes_its_clean_up(client_of: ClientFactory) -> None:
    finished: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        assert (await receive())["type"] == "websocket.disconnect"
        await anyio.to_thread.run_sync(finished.append, "cleaned up")

    with client_of(app).websocket_connect("/"):
        pass
    assert finished == ["cleaned up"]


@pytest.mark.parametrize("deaf", [True, False])
def test_an_application_that_does_not_end_is_cancelled(client_of: ClientFactory, deaf: bool) -> None:
    cancelled: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        try:
            while not deaf and (await receive())["type"] != "websocket.disconnect":
                pass
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled.append(True)
            raise

    with client_of(app).websocket_connect("/"):
        pass
    assert cancelled == [True]


def test_the_disconnect_of_leaving_does_not_hide_why_the_test_left(client_of: ClientFactory) -> None:
    client = client_of(APP)
    with pytest.raises(ZeroDivisionError), client.websocket_connect("/uncaught_disconnect"):
        _ = 1 // 0
    with pytest.raises(Broken), client.websocket_connect("/break_after_accept"):
        _ = 1 // 0


def test_the_callers_headers_are_left_alone_and_may_repeat(client_of: ClientFactory) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket[Any](scope, receive, send)
        await websocket.accept()
        await websocket.send_json(websocket.headers.getlist("x-a"))

    client = client_of(app)
    mapping = {"x-a": "1"}
    for headers, seen in ((mapping, ["1"]), ([("x-a", "1"), ("X-A", "2")], ["1", "2"]), (None, [])):
        with client.websocket_connect("/", headers=headers) as session:
            assert session.receive_json() == seen
    assert mapping == {"x-a": "1"}
    constructor = {"x-b": "1"}
    client_of(app, headers=constructor)
    assert constructor == {"x-b": "1"}


def test_a_path_is_decoded_once_and_header_bytes_are_kept(client_of: ClientFactory) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        values = [value for name, value in scope["headers"] if name == b"x-a"]
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": repr([scope["path"], scope["raw_path"], *values])})

    with client_of(app).websocket_connect("/%2525/%C3%BC", headers=[(b"x-a", b"\xff")]) as session:
        assert session.receive_text() == repr(["/%25/ü", b"/%2525/%C3%BC", b"\xff"])


def test_a_websocket_needs_a_websocket_url(client_of: ClientFactory) -> None:
    with pytest.raises(RuntimeError, match="expected a URL of scheme ws or wss, or a path"):
        client_of(APP).websocket_connect("http://testserver/describe")


def test_fastapi_and_asgi2_applications_are_driven(client_of: ClientFactory) -> None:
    fastapi = FastAPI()

    @fastapi.websocket("/ws/{name}")
    async def greet(websocket: FastAPIWebSocket, name: str) -> None:
        await websocket.accept()
        await websocket.send_json({"hello": name})

    def asgi2(scope: Scope) -> Callable[[Receive, Send], Awaitable[None]]:
        return partial(fastapi, scope)

    class Asgi2:
        def __init__(self, scope: Scope) -> None:
            self.scope = scope

        async def __call__(self, receive: Receive, send: Send) -> None:
            await fastapi(self.scope, receive, send)

    apps: tuple[Any, ...] = (fastapi, asgi2, Asgi2)
    for app in apps:
        with client_of(app).websocket_connect("/ws/you") as session:
            assert session.receive_json() == {"hello": "you"}


def test_applications_are_told_apart_by_the_arguments_they_take() -> None:
    class Instance:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    class Awaited:
        def __init__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    def returns_an_awaitable(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return echo(cast("Any", None))

    for app in (Instance(), Awaited, returns_an_awaitable, partial(returns_an_awaitable), APP, dict):
        assert as_asgi3(cast("Any", app)) is cast("Any", app)
    double = cast("Any", lambda scope: None)
    assert as_asgi3(double) is not double


def test_a_response_body_comes_as_the_test_reads_it(client_of: ClientFactory) -> None:
    sent: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            sent.append(number)
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": number < 2})

    with client_of(app).stream("GET", "/") as response:
        chunks = response.iter_raw()
        assert next(chunks) == b"0"
        assert 2 not in sent
        assert list(chunks) == [b"1", b"2"]


def test_leaving_an_unfinished_response_cancels_and_a_finished_one_is_waited_for(client_of: ClientFactory) -> None:
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x", "more_body": scope["path"] == "/endless"})
        try:
            if scope["path"] == "/endless":
                await anyio.sleep_forever()
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"
            await anyio.to_thread.run_sync(lambda: None)
            ended.append("finished")
        except anyio.get_cancelled_exc_class():
            ended.append("cancelled")
            raise

    client = client_of(app)
    for path in ("/endless", "/whole"):
        with client.stream("GET", path) as response:
            assert next(response.iter_raw()) == b"x"
    assert ended == ["cancelled", "finished"]


@pytest.mark.parametrize("in_block", [True, False])
def test_closing_the_client_ends_the_responses_that_are_open(client_of: ClientFactory, in_block: bool) -> None:
    ended: list[str] = []

    async def background() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("ended")

    async def home(request: Request) -> Response:
        return PlainTextResponse("x", background=BackgroundTask(background))

    client = client_of(Starlette(routes=[Route("/", home)]))
    if in_block:
        with client:
            chunks = client.send(client.build_request("GET", "/"), stream=True).iter_raw()
            assert next(chunks) == b"x"
    else:
        chunks = client.send(client.build_request("GET", "/"), stream=True).iter_raw()
        assert next(chunks) == b"x"
        client.close()
    assert ended == ["ended"]


def test_an_application_that_does_not_answer_fails_the_request(client_of: ClientFactory) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    with pytest.raises(AssertionError, match="TestClient did not receive any response"):
        client_of(silent).get("/")
    assert client_of(silent, raise_server_exceptions=False).get("/").status_code == 500


def test_an_interrupt_while_waiting_for_the_answer_ends_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("ended")

    client = TestClient(hangs)
    with client:
        portal = client.portal
        assert portal is not None
        call = portal.call

        def interrupted(func: Any, *args: Any) -> Any:
            if getattr(func, "__name__", "") == "wait":
                call(anyio.sleep, 0)
                raise KeyboardInterrupt
            return call(func, *args)

        monkeypatch.setattr(portal, "call", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.get("/")
        monkeypatch.undo()
    assert ended == ["ended"]


START: dict[str, Any] = {"type": "http.response.start", "status": 200}
BODY: dict[str, Any] = {"type": "http.response.body", "body": b"x"}
TRAILERS: dict[str, Any] = {"type": "http.response.trailers", "headers": [(b"x-t", b"1")]}
WITH_TRAILERS = {**START, "trailers": True}


def http(*messages: Message) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([START, START], "multiple"),
        ([BODY], "without"),
        ([START, BODY, BODY], "after response completed"),
        ([WITH_TRAILERS, BODY, BODY], "after body completed"),
        ([START, TRAILERS], "without declaring trailers"),
        ([WITH_TRAILERS, TRAILERS], "before body completed"),
        ([WITH_TRAILERS, BODY, TRAILERS, TRAILERS], "after response completed"),
    ],
)
def test_http_messages_out_of_order_fail_the_request(
    client_of: ClientFactory, messages: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(AssertionError, match=words):
        client_of(http(*messages)).get("/")


def test_trailers_debug_information_and_unknown_messages(client_of: ClientFactory) -> None:
    debug = {"type": "http.response.debug", "info": {"template": "t", "context": {"a": 1}, "other": 2}}
    more = {**TRAILERS, "more_trailers": True}
    response = client_of(http(WITH_TRAILERS, {"type": "http.response.push"}, debug, BODY, more, TRAILERS)).get("/")
    assert response.content == b"x"
    assert response.extensions["http.response.trailers"] == [(b"x-t", b"1")] * 2
    assert response.extensions["http.response.debug"] == debug["info"]
    assert (cast("Any", response).template, cast("Any", response).context) == ("t", {"a": 1})


def test_a_timeout_is_warned_about(client_of: ClientFactory) -> None:
    with pytest.warns(DeprecationWarning, match="You should not use the 'timeout' argument with the TestClient"):
        client_of(APP).get("/describe", timeout=1)


@pytest.mark.parametrize(("app", "error", "words"), FAILURES, ids=failure_id)
def test_a_lifespan_that_fails_is_told(
    client_of: ClientFactory, app: ASGIApp, error: type[Exception], words: str
) -> None:
    client = client_of(app)
    with pytest.raises(error, match=words), client:
        assert client.portal is not None
        client.portal.call(anyio.lowlevel.checkpoint)
    assert client.portal is None


def test_a_lifespan_that_fails_and_goes_on_is_told_too(client_of: ClientFactory) -> None:
    client = client_of(lifespan_app("lifespan.startup.failed", "never asked for"))
    with pytest.raises(RuntimeError, match="reason"), client:
        pytest.fail("never started")


def test_a_lifespan_that_fails_with_its_own_exception_raises_that(client_of: ClientFactory) -> None:
    @asynccontextmanager
    async def broken(app: Starlette) -> AsyncIterator[None]:
        await anyio.lowlevel.checkpoint()
        _ = app.state.missing
        yield

    with pytest.raises(AttributeError, match="missing"), client_of(Starlette(lifespan=broken)):
        pytest.fail("never started")


def test_a_lifespan_runs_around_the_block_and_the_block_again(client_of: ClientFactory) -> None:
    client = client_of(lifespan_app(UP, DOWN))
    for _ in range(2):
        with client:
            assert client.app_state == {"phases": 2}
            assert client.portal is not None
        assert client.portal is None


def test_an_application_without_lifespan_is_no_error(client_of: ClientFactory) -> None:
    with client_of(lifespan_app()) as client:
        assert client.app_state == {"phases": 0}


def test_without_httpx2_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_httpx2(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "httpx2":
            raise ModuleNotFoundError("No module named 'httpx2'", name="httpx2")
        return real_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "trunkline.testclient")
    monkeypatch.setattr(builtins, "__import__", without_httpx2)
    with pytest.raises(ImportError, match=r"pip install 'trunkline\[testing\]'"):
        importlib.import_module("trunkline.testclient")
