"""The lifespans of an App and of what is mounted in it, and what happens where none arrives."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import JSONResponse as TheirJSONResponse
from starlette.routing import Mount as TheirMount, Route as TheirRoute

from tests.asgi_call import CONNECT, Outcome, call, http_scope, websocket_scope
from trunkline.applications import App, LifespanError
from trunkline.middleware import Middleware
from trunkline.responses import JSONResponse
from trunkline.routing import Host, Mount, Route, Router, WebSocketRoute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from tests.conftest import ClientFactory
    from trunkline.requests import Request
    from trunkline.types import ASGIApp, Receive, Scope, Send
    from trunkline.websockets import WebSocket

    Lifespan = Callable[[Any], Any]

pytestmark = pytest.mark.anyio

STARTUP = {"type": "lifespan.startup"}
SHUTDOWN = {"type": "lifespan.shutdown"}


class Diary:
    """What started and stopped, in order."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.apps: list[Any] = []

    def lifespan(self, name: str, state: Mapping[str, Any] | None = None, fail: str = "") -> Lifespan:
        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[Mapping[str, Any] | None]:
            if fail == "startup":
                raise ConnectionError(f"{name} cannot start")
            self.entries.append(f"+{name}")
            self.apps.append(app)
            yield state
            self.entries.append(f"-{name}")
            if fail == "shutdown":
                raise ConnectionError(f"{name} cannot stop")

        return lifespan


@pytest.fixture
def diary() -> Diary:
    return Diary()


async def run(app: ASGIApp) -> Outcome:
    """Start the application as a server does, and stop it."""
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    return await call(app, scope, [STARTUP, SHUTDOWN])


COMPLETE = [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


def show_state(request: Request) -> JSONResponse:
    return JSONResponse(dict(request.scope["state"]))


def their_state(request: Any) -> TheirJSONResponse:
    return TheirJSONResponse(dict(request.scope["state"]))


async def send_state(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(dict(websocket.scope["state"]))


STATE_ROUTES = [Route("/", show_state), WebSocketRoute("/ws", send_state)]


# Its own


async def test_it_starts_and_stops_with_the_server(diary: Diary) -> None:
    app = App(lifespan=diary.lifespan("app"))
    outcome = await run(app)
    assert outcome.sent == COMPLETE
    assert diary.entries == ["+app", "-app"]
    assert diary.apps == [app]


async def test_an_app_without_a_lifespan_completes() -> None:
    assert (await run(App())).sent == COMPLETE


def test_its_state_is_that_of_requests_and_websockets(diary: Diary, test_client_factory: ClientFactory) -> None:
    app = App(routes=STATE_ROUTES, lifespan=diary.lifespan("app", {"db": "a"}))
    with test_client_factory(app) as client:
        assert client.get("/").json() == {"db": "a"}
        with client.websocket_connect("/ws") as websocket:
            assert websocket.receive_json() == {"db": "a"}


async def test_a_failing_start_is_reported_with_its_traceback(diary: Diary) -> None:
    outcome = await run(App(lifespan=diary.lifespan("app", fail="startup")))
    assert [message["type"] for message in outcome.sent] == ["lifespan.startup.failed"]
    assert "Traceback" in outcome.sent[0]["message"]
    assert "ConnectionError: app cannot start" in outcome.sent[0]["message"]


async def test_a_failing_stop_is_reported_with_its_traceback(diary: Diary) -> None:
    outcome = await run(App(lifespan=diary.lifespan("app", fail="shutdown")))
    assert [message["type"] for message in outcome.sent] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    assert "ConnectionError: app cannot stop" in outcome.sent[1]["message"]


async def test_a_router_that_is_included_starts_inside(diary: Diary) -> None:
    app = App(lifespan=diary.lifespan("app"))
    app.include_router(Router(lifespan=diary.lifespan("router")))
    await run(app)
    assert diary.entries == ["+app", "+router", "-router", "-app"]


async def test_middleware_sees_the_lifespan_pass() -> None:
    seen: list[str] = []

    def watching(app: ASGIApp) -> ASGIApp:
        async def watch(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["type"])
            await app(scope, receive, send)

        return watch

    await run(App(middleware=[Middleware(watching)]))
    assert seen == ["lifespan"]


# Its children's


def passing(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return wrapped


def our_app(lifespan: Lifespan) -> ASGIApp:
    return App(routes=STATE_ROUTES, lifespan=lifespan)


def our_router(lifespan: Lifespan) -> ASGIApp:
    return Router(STATE_ROUTES, lifespan=lifespan)


def their_app(lifespan: Lifespan) -> ASGIApp:
    return Starlette(routes=[TheirRoute("/", their_state)], lifespan=lifespan)


def fastapi_app(lifespan: Lifespan) -> ASGIApp:
    app = FastAPI(lifespan=lifespan)
    app.add_route("/", their_state)
    return app


MAKERS = pytest.mark.parametrize("make", [our_app, our_router, their_app, fastapi_app])

ROUTES: dict[str, Callable[[ASGIApp], list[Any]]] = {
    "mount": lambda app: [Mount("/in", app)],
    "host": lambda app: [Host("testserver", Router([Mount("/in", app)]))],
    "mount with middleware": lambda app: [Mount("/in", app, middleware=[Middleware(passing)])],
    "mount in routes": lambda app: [Mount("", routes=[Mount("/in", app)])],
    "mount in a router": lambda app: [Mount("", Router([Mount("/in", app)]))],
    "mount in an app": lambda app: [Mount("", App(routes=[Mount("/in", app)]))],
}


@MAKERS
@pytest.mark.parametrize("routes", ROUTES.values(), ids=ROUTES)
def test_a_child_starts_inside_and_has_its_own_state(
    make: Callable[[Lifespan], ASGIApp],
    routes: Callable[[ASGIApp], list[Any]],
    diary: Diary,
    test_client_factory: ClientFactory,
) -> None:
    child = make(diary.lifespan("child", {"db": "child", "cache": 1}))
    own = [Route("/own", show_state), *routes(child)]
    app = App(routes=own, lifespan=diary.lifespan("app", {"db": "app", "name": "outer"}))
    for _ in range(2):
        with test_client_factory(app) as client:
            assert diary.entries == ["+app", "+child"]
            assert client.get("/own").json() == {"db": "app", "name": "outer"}
            assert client.get("/in/").json() == {"db": "child", "name": "outer", "cache": 1}
            assert client.get("/own").json() == {"db": "app", "name": "outer"}
        assert diary.entries == ["+app", "+child", "-child", "-app"]
        diary.entries.clear()


def test_a_websocket_of_a_child_has_the_childs_state(diary: Diary, test_client_factory: ClientFactory) -> None:
    app = App(routes=[Mount("/in", our_app(diary.lifespan("child", {"db": "child"})))])
    with test_client_factory(app) as client, client.websocket_connect("/in/ws") as websocket:
        assert websocket.receive_json() == {"db": "child"}


@MAKERS
async def test_the_outer_middleware_finds_the_outer_state_again(
    make: Callable[[Lifespan], ASGIApp], diary: Diary
) -> None:
    afterwards: list[Any] = []

    def watching(app: ASGIApp) -> ASGIApp:
        async def watch(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)
            afterwards.append(scope["state"])

        return watch

    child = make(diary.lifespan("child", {"db": "child"}))
    app = App(routes=[Mount("/in", child)], middleware=[Middleware(watching)])
    async with app.lifespan():
        await call(app, http_scope("/in/", state={"db": "app"}))
    assert afterwards == [{"db": "app"}]


async def test_mounts_are_as_before_when_it_has_stopped(diary: Diary) -> None:
    child = our_router(diary.lifespan("child", {"db": 1}))
    app = App(routes=[Mount("/in", child)])
    async with app.lifespan():
        pass
    assert app.routes == [Mount("/in", child)]


async def test_an_application_that_is_mounted_twice_starts_once(diary: Diary) -> None:
    child = their_app(diary.lifespan("child", {"db": "child"}))
    app = App(routes=[Mount("/a", child), Mount("/b", child)])
    async with app.lifespan():
        for path in ("/a/", "/b/"):
            assert b'"db":"child"' in (await call(app, http_scope(path, state={}))).body
    assert diary.entries == ["+child", "-child"]


async def test_children_stop_in_the_opposite_order(diary: Diary) -> None:
    children = [Mount(f"/{name}", make(diary.lifespan(name))) for name, make in (("a", our_app), ("b", their_app))]
    await run(App(routes=children))
    assert diary.entries == ["+a", "+b", "-b", "-a"]


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"


async def returning(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def raising_late(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    raise RuntimeError("no such scope")


@pytest.mark.parametrize("plain", [raising, returning, raising_late])
async def test_a_child_without_a_lifespan_is_tolerated(plain: ASGIApp, diary: Diary) -> None:
    app = App(routes=[Mount("/plain", plain), Mount("/in", our_app(diary.lifespan("child")))])
    assert (await run(app)).sent == COMPLETE
    assert diary.entries == ["+child", "-child"]


async def test_a_child_that_speaks_the_protocol_is_spoken_to() -> None:
    heard: list[str] = []

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["state"] == {}
        while True:
            message = await receive()
            heard.append(message["type"])
            await send({"type": f"{message['type']}.complete"})

    assert (await run(App(routes=[Mount("/", plain)]))).sent == COMPLETE
    assert heard == ["lifespan.startup", "lifespan.shutdown"]


@MAKERS
async def test_a_child_that_cannot_start_stops_the_start(make: Callable[[Lifespan], ASGIApp], diary: Diary) -> None:
    first = Mount("/first", their_app(diary.lifespan("first")))
    bad = Mount("/bad", make(diary.lifespan("bad", fail="startup")))
    outcome = await run(App(routes=[first, bad], lifespan=diary.lifespan("app")))
    assert [message["type"] for message in outcome.sent] == ["lifespan.startup.failed"]
    assert "bad cannot start" in outcome.sent[0]["message"]
    assert "ExceptionGroup" not in outcome.sent[0]["message"]
    assert diary.entries[:2] == ["+app", "+first"]


@MAKERS
async def test_a_child_that_cannot_stop_is_reported(make: Callable[[Lifespan], ASGIApp], diary: Diary) -> None:
    outcome = await run(App(routes=[Mount("/bad", make(diary.lifespan("bad", fail="shutdown")))]))
    assert [message["type"] for message in outcome.sent] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    assert "bad cannot stop" in outcome.sent[1]["message"]


async def test_a_child_that_fails_while_running_is_reported_at_the_end() -> None:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ConnectionError("lost the database")

    app = App(routes=[Mount("/", plain)])
    with pytest.raises(LifespanError, match="failed") as caught:
        async with app.lifespan():
            await anyio.wait_all_tasks_blocked()
    assert isinstance(caught.value.__cause__, ConnectionError)


async def test_an_error_of_whoever_runs_it_leaves_as_it_is(diary: Diary) -> None:
    app = App(routes=[Mount("/in", their_app(diary.lifespan("child")))])
    with pytest.raises(ZeroDivisionError):
        async with app.lifespan():
            raise ZeroDivisionError
    assert diary.entries == ["+child", "-child"]


# In another framework


def mounted_in_fastapi(live: App, **options: Any) -> ASGIApp:
    app = FastAPI(**options)
    app.mount("/live", live)
    return app


def mounted_in_starlette(live: App, **options: Any) -> ASGIApp:
    return Starlette(routes=[TheirMount("/live", live)], **options)


OUTER = pytest.mark.parametrize("outer", [mounted_in_fastapi, mounted_in_starlette])


@OUTER
def test_its_lifespan_can_be_given_to_the_outer_application(
    outer: Callable[..., ASGIApp],
    diary: Diary,
    test_client_factory: ClientFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    child = Mount("/child", their_app(diary.lifespan("child", {"db": "child"})))
    live = App(routes=[*STATE_ROUTES, child], lifespan=diary.lifespan("live", {"db": "live"}))
    with test_client_factory(outer(live, lifespan=live.lifespan)) as client:
        assert client.get("/live/").json() == {"db": "live"}
        assert client.get("/live/child/").json() == {"db": "child"}
        with client.websocket_connect("/live/ws") as websocket:
            assert websocket.receive_json() == {"db": "live"}
    assert diary.entries == ["+live", "+child", "-child", "-live"]
    assert diary.apps[0] is live
    assert caplog.records == []


@OUTER
def test_its_lifespan_can_be_entered_by_the_outer_applications_own(
    outer: Callable[..., ASGIApp], diary: Diary, test_client_factory: ClientFactory
) -> None:
    live = App(routes=STATE_ROUTES, lifespan=diary.lifespan("live", {"db": "live"}))

    @asynccontextmanager
    async def both(app: Any) -> AsyncIterator[Mapping[str, Any]]:
        async with live.lifespan(app):
            yield {"db": "outer", "name": "outer"}

    with test_client_factory(outer(live, lifespan=both)) as client:
        assert client.get("/live/").json() == {"db": "live", "name": "outer"}
    assert diary.entries == ["+live", "-live"]


class OnAsyncio:
    """Where nobody gave the lifespan to the outer application; asyncio only."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"


class TestStartingByItself(OnAsyncio):
    @OUTER
    def test_the_first_connection_starts_it_and_the_end_of_the_loop_stops_it(
        self, outer: Callable[..., ASGIApp], diary: Diary, caplog: pytest.LogCaptureFixture
    ) -> None:
        live = App(routes=STATE_ROUTES, lifespan=diary.lifespan("live", {"db": "live"}))
        app = outer(live)

        async def serve() -> list[bytes]:
            assert diary.entries == []
            bodies = [(await call(app, http_scope("/live/", state={"name": "outer"}))).body for _ in range(2)]
            assert diary.entries == ["+live"]
            return bodies

        assert asyncio.run(serve()) == [b'{"name":"outer","db":"live"}'] * 2
        assert diary.entries == ["+live", "-live"]
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("trunkline", logging.WARNING)
        name = type(app).__name__
        assert f"an App mounted in {name}, where no lifespan reaches it" in record.getMessage()
        assert f"write {name}(lifespan=live.lifespan)" in record.getMessage()

    def test_another_loop_starts_it_again_and_the_log_stays_quiet(
        self, diary: Diary, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = mounted_in_starlette(App(routes=STATE_ROUTES, lifespan=diary.lifespan("live")))
        for _ in range(2):
            asyncio.run(call(app, http_scope("/live/", state={})))
        assert diary.entries == ["+live", "-live"] * 2
        assert len(caplog.records) == 1

    async def test_a_websocket_starts_it_too(self, diary: Diary) -> None:
        live = App(routes=STATE_ROUTES, lifespan=diary.lifespan("live", {"db": "live"}))
        outcome = await call(mounted_in_fastapi(live), websocket_scope("/live/ws"), [CONNECT])
        assert outcome.sent[1]["text"] == '{"db":"live"}'

    async def test_connections_that_come_together_wait_for_one_start(self) -> None:
        entered: list[Any] = []
        may_start = asyncio.Event()

        @asynccontextmanager
        async def slow(app: App) -> AsyncIterator[Mapping[str, Any]]:
            entered.append(app)
            await may_start.wait()
            yield {"db": "live"}

        app = mounted_in_starlette(App(routes=STATE_ROUTES, lifespan=slow))
        first, *others = [asyncio.create_task(call(app, http_scope("/live/"))) for _ in range(5)]
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        may_start.set()
        assert [(await other).body for other in others] == [b'{"db":"live"}'] * 4
        assert len(entered) == 1
        with pytest.raises(asyncio.CancelledError):
            await first

    async def test_a_failing_start_fails_the_connection_and_the_next_one_tries_again(self, diary: Diary) -> None:
        lifespans = [diary.lifespan("live", fail="startup"), diary.lifespan("live")]

        def lifespan(app: App) -> Any:
            return lifespans.pop(0)(app)

        app = mounted_in_starlette(App(routes=STATE_ROUTES, lifespan=lifespan))
        failed = await call(app, http_scope("/live/", state={}))
        assert isinstance(failed.error, LifespanError)
        assert "live cannot start" in str(failed.error)
        assert isinstance(failed.error.__cause__, ConnectionError)
        assert failed.status == 500
        assert (await call(app, http_scope("/live/", state={}))).body == b"{}"
        assert diary.entries == ["+live"]

    def test_a_failing_stop_is_logged(self, diary: Diary, caplog: pytest.LogCaptureFixture) -> None:
        app = mounted_in_starlette(App(routes=STATE_ROUTES, lifespan=diary.lifespan("live", fail="shutdown")))
        asyncio.run(call(app, http_scope("/live/", state={})))
        assert "failed at shutdown" in caplog.records[-1].getMessage()
        assert "live cannot stop" in (caplog.records[-1].exc_text or "")

    async def test_it_does_not_live_in_the_context_of_the_first_connection(self) -> None:
        user = ContextVar("user", default="nobody")
        seen: list[str] = []

        @asynccontextmanager
        async def lifespan(app: App) -> AsyncIterator[None]:
            seen.append(user.get())
            yield

        user.set("the first visitor")
        await call(mounted_in_starlette(App(routes=STATE_ROUTES, lifespan=lifespan)), http_scope("/live/", state={}))
        assert seen == ["nobody"]

    async def test_its_children_start_with_it(self, diary: Diary) -> None:
        live = App(routes=[Mount("/child", their_app(diary.lifespan("child", {"db": "child"})))])
        outcome = await call(mounted_in_fastapi(live), http_scope("/live/child/"))
        assert outcome.body == b'{"db":"child"}'

    @pytest.mark.parametrize("routes", [[], [Mount("/plain", raising)]], ids=["nothing", "plain"])
    async def test_where_there_is_nothing_to_start_nothing_is_said(
        self, routes: list[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        app = mounted_in_starlette(App(routes=[*STATE_ROUTES, *routes]))
        before = asyncio.all_tasks()
        for _ in range(2):
            assert (await call(app, http_scope("/live/", state={}))).body == b"{}"
        await anyio.wait_all_tasks_blocked()
        assert asyncio.all_tasks() == before
        assert caplog.records == []

    async def test_an_app_that_is_not_mounted_does_not_start_by_itself(self, diary: Diary) -> None:
        inner = App(routes=STATE_ROUTES, lifespan=diary.lifespan("inner"))
        app = App(routes=[*STATE_ROUTES, Mount("/in", inner)], lifespan=diary.lifespan("app"))
        for path in ("/", "/in/"):
            assert (await call(app, http_scope(path, state={}))).body == b"{}"
        assert diary.entries == []

    async def test_a_lifespan_that_does_arrive_starts_nothing_by_itself(self, diary: Diary) -> None:
        live = App(lifespan=diary.lifespan("live"))

        async def forwarding(scope: Scope, receive: Receive, send: Send) -> None:
            await live({**scope, "app": forwarding}, receive, send)

        assert (await run(forwarding)).sent == COMPLETE
        assert diary.entries == ["+live", "-live"]


class TestOnTrio:
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "trio"

    async def test_it_cannot_start_by_itself_and_says_so_once(
        self, diary: Diary, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = mounted_in_starlette(App(routes=STATE_ROUTES, lifespan=diary.lifespan("live")))
        for _ in range(2):
            assert (await call(app, http_scope("/live/", state={}))).body == b"{}"
        assert diary.entries == []
        (record,) = caplog.records
        assert "which needs asyncio to start by itself, was not started" in record.getMessage()
        assert "Starlette(lifespan=live.lifespan)" in record.getMessage()
