"""The application that every server of the contract suite serves: one endpoint per behaviour.

Each endpoint notes what it sees in its `Run`, which the client names by the header `x-run`. Two endpoints serve the
suite itself: `/gate/{key}` lets a waiting endpoint go on, `/seen/{key}` waits for its end and sends the notes. They
are WebSockets too, so that whatever can run the cases can also ask for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.contracts import script
from trunkline import App, HTTPException, Router, WebSocket, WebSocketDisconnect, WebSocketException
from trunkline.endpoints import WebSocketEndpoint
from trunkline.responses import PlainTextResponse
from trunkline.routing import Mount, WebSocketRoute
from trunkline.websockets import WebSocketDisconnected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trunkline.states import CloseInfo

    Endpoint = Callable[[WebSocket, "Run"], Awaitable[None]]

# A client gives up after `script.SECONDS`: an endpoint holds out longer, so that it never decides the race, and the
# answer about its notes comes sooner.
SECONDS_AT_THE_GATE = script.SECONDS * 3
SECONDS_FOR_NOTES = script.SECONDS / 2


class Run:
    """One run of one case, as its endpoint sees it."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.gate = asyncio.Event()
        self.ended = asyncio.Event()

    def note(self, text: str) -> None:
        self.notes.append(text)

    async def wait_for_gate(self) -> None:
        async with asyncio.timeout(SECONDS_AT_THE_GATE):
            await self.gate.wait()


class HandledError(Exception):
    """Has a handler in the application."""


runs: defaultdict[str, Run] = defaultdict(Run)
routes: list[WebSocketRoute] = []


def end_of(info: CloseInfo | WebSocketDisconnect) -> str:
    """Code and reason; the code by its number, because some servers give a member of an enumeration."""
    return f"{info.code:d} {info.reason}".rstrip()


def behaviour(path: str) -> Callable[[Endpoint], Endpoint]:
    """Register an endpoint that gets its `Run` beside the WebSocket, and note how it ends."""

    def register(function: Endpoint) -> Endpoint:
        async def endpoint(websocket: WebSocket) -> None:
            run = runs[websocket.headers["x-run"]]
            try:
                await function(websocket, run)
            except WebSocketDisconnect as exc:
                run.note(f"disconnected: {end_of(exc)}")
                raise
            except BaseException as exc:
                run.note(f"raised {exc!r}")
                raise
            else:
                run.note("returned")
            finally:
                run.ended.set()

        routes.append(WebSocketRoute(path, endpoint, name=function.__name__))
        return function

    return register


# Messages


@behaviour("/echo/text")
async def echo_text(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@behaviour("/echo/bytes")
async def echo_bytes(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    async for data in websocket.iter_bytes():
        await websocket.send_bytes(data)


@behaviour("/echo/json/{mode}")
async def echo_json(websocket: WebSocket, run: Run) -> None:
    mode = websocket.path_params["mode"]
    await websocket.accept()
    while True:
        await websocket.send_json(await websocket.receive_json(mode), mode)


@behaviour("/echo/any")
async def echo_any(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    async for message in websocket:
        await (websocket.send_text(message) if isinstance(message, str) else websocket.send_bytes(message))


@behaviour("/count/{number:int}")
async def count(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    for number in range(websocket.path_params["number"]):
        await websocket.send_text(str(number))
    await websocket.close(4000, "counted")


@behaviour("/read-late")
async def read_late(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    await websocket.send_text("ready")
    await run.wait_for_gate()
    while True:
        run.note(await websocket.receive_text())


# The handshake


@behaviour("/refuse")
async def refuse(websocket: WebSocket, run: Run) -> None:
    await websocket.close(4003, "not here")


@behaviour("/deny")
async def deny(websocket: WebSocket, run: Run) -> None:
    await websocket.send_denial_response(PlainTextResponse("closed today", 418, headers={"x-why": "a holiday"}))


@behaviour("/accept")
async def accept_with_headers(websocket: WebSocket, run: Run) -> None:
    await websocket.accept(headers=[(b"x-welcome", b"yes"), (b"x-twice", b"1"), (b"x-twice", b"2")])
    await websocket.close()


@behaviour("/subprotocol")
async def select_subprotocol(websocket: WebSocket, run: Run) -> None:
    offered = websocket.scope["subprotocols"]
    run.note(f"offered {', '.join(offered)}")
    await websocket.accept("v2" if "v2" in offered else None)
    await websocket.close()


@behaviour("/facts/{name}/{number:int}")
async def facts(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    seen = {
        "path": websocket.scope["path"],
        "parameters": websocket.path_params,
        "query": websocket.query_params.multi_items(),
        "x-thing": websocket.headers.getlist("X-Thing"),
        "cookies": websocket.cookies,
        "scheme": websocket.url.scheme,
        "url_for": websocket.url_for("facts", name="ab", number=2).path,
    }
    for item, value in seen.items():
        run.note(f"{item}: {value}")
    await websocket.close()


@behaviour("/path/{rest:path}")
async def path_and_url(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    run.note(f"{websocket.path_params['rest']!r} {str(websocket.url).partition('://')[2].partition('/')[2]!r}")
    await websocket.close()


@behaviour("/headers")
async def headers_and_cookies(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    many, big = websocket.headers.getlist("x-many"), websocket.cookies["big"]
    run.note(f"{len(many)} headers, a cookie of {len(big)}")
    await websocket.close()


@behaviour("/state")
async def state_of_the_lifespan(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    run.note(websocket.state.greeting)
    await websocket.close()


# Failing: before accept, then after


def failure(what: str) -> Exception:
    """An exception by the name that a client asks for: an HTTP status, or one of the table."""
    if what.isdigit():
        return HTTPException(int(what), "as told")
    return {
        "RuntimeError": RuntimeError("a secret of the server"),
        "WebSocketException": WebSocketException(4001, "as told"),
        "HandledError": HandledError(),
    }[what]


@behaviour("/raise/before/{what}")
async def raise_before_accept(websocket: WebSocket, run: Run) -> None:
    raise failure(websocket.path_params["what"])


@behaviour("/raise/after/{what}")
async def raise_after_accept(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    await websocket.send_text("before")
    raise failure(websocket.path_params["what"])


@behaviour("/close-then-raise")
async def raise_after_close(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    await websocket.close(4002, "done")
    raise RuntimeError("nobody is there to hear this")


@behaviour("/return")
async def return_without_closing(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    await websocket.send_text("that is all")


# The end


@behaviour("/receive")
async def receive_until_the_end(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    await websocket.send_text("ready")
    while True:
        run.note(await websocket.receive_text())


@behaviour("/receive-again")
async def receive_after_the_end(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.receive_text()
    run.note(f"closed: {websocket.closed}")
    await websocket.receive_text()


@behaviour("/wait-closed")
async def only_send(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    await websocket.send_text("ready")
    first, second = await asyncio.gather(websocket.wait_closed(), websocket.wait_closed())
    run.note(f"closed: {end_of(first)}, {first == second}, {websocket.closed}")


@behaviour("/wait-closed-unread")
async def wait_closed_then_read(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    await websocket.send_text("ready")
    run.note(f"closed: {end_of(await websocket.wait_closed())}")
    while True:
        run.note(await websocket.receive_text())


@behaviour("/wait-closed-own")
async def wait_for_the_own_close(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    await websocket.close(4005, "enough")
    run.note(f"closed: {end_of(await websocket.wait_closed())}")


@behaviour("/tasks/{reader}")
async def work_in_tasks(websocket: WebSocket, run: Run) -> None:
    async def work() -> None:
        try:
            await websocket.send_text("ready")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            run.note("work cancelled")
            raise

    async def read() -> None:
        async for message in websocket:
            run.note(f"read {message!r}")
        await asyncio.Event().wait()

    await websocket.accept()
    async with websocket.tasks() as group:
        group.create_task(work())
        if websocket.path_params["reader"] == "read":
            group.create_task(read())


@behaviour("/tasks-fail")
async def fail_in_a_task(websocket: WebSocket, run: Run) -> None:
    async def fail() -> None:
        raise ValueError("of a child")

    await websocket.accept()
    async with websocket.tasks() as group:
        group.create_task(fail())


@behaviour("/try-send-after-the-end")
async def try_send_after_the_end(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.receive_text()
    run.note(f"try_send_text: {await websocket.try_send_text('anyone?')}")
    await websocket.send_text("anyone?")


@behaviour("/send-unread")
async def send_while_the_end_is_unread(websocket: WebSocket, run: Run) -> None:
    await websocket.accept()
    run.note(f"try_send_text: {await websocket.try_send_text('ready')}")
    await run.wait_for_gate()
    run.note(f"try_send_text: {await websocket.try_send_text('anyone?')}")
    # A server that tells of the end before anything is sent leaves it to this send to find the client gone.
    try:
        await websocket.send_text("anyone?")
    except (WebSocketDisconnect, WebSocketDisconnected):
        run.note("send_text: gone")
    else:
        run.note("send_text: sent")


class JSONListener(WebSocketEndpoint):
    encoding = "json"

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_json({"heard": data})

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        run = runs[websocket.headers["x-run"]]
        run.note(f"on_disconnect {close_code}")
        run.ended.set()


async def mounted(websocket: WebSocket) -> None:
    run = runs[websocket.headers["x-run"]]
    await websocket.accept()
    run.note(f"{websocket.scope['root_path']} {websocket.url.path} {websocket.url_for('live:inner', room='b').path}")
    run.ended.set()
    await websocket.close()


# The suite's own


async def open_gate(websocket: WebSocket) -> None:
    await websocket.accept()
    runs[websocket.path_params["key"]].gate.set()
    await websocket.close()


async def send_seen(websocket: WebSocket) -> None:
    run = runs[websocket.path_params["key"]]
    await websocket.accept()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS_FOR_NOTES):
            await run.ended.wait()
    notes = run.notes if run.ended.is_set() else [*run.notes, f"the endpoint has not ended in {SECONDS_FOR_NOTES} s"]
    await websocket.send_text(json.dumps(notes))
    await websocket.close()


async def handle(websocket: WebSocket, exc: Exception) -> None:
    await websocket.close(4004, "handled")


@contextlib.asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[dict[str, str]]:
    yield {"greeting": "hello"}


app = App(
    routes=[
        *routes,
        WebSocketRoute("/listener", JSONListener),
        Mount("/live", Router([WebSocketRoute("/rooms/{room}", mounted, name="inner")]), name="live"),
        WebSocketRoute("/gate/{key}", open_gate),
        WebSocketRoute("/seen/{key}", send_seen),
    ],
    exception_handlers={HandledError: handle},
    lifespan=lifespan,
)
