"""Dependencies side by side with FastAPI's: microseconds to set up, serve and end one connection, in memory.

    scripts/bench dependencies

Each endpoint is written once and given either framework's names. An application is called as a server calls it, with
everything that it does around the endpoint; the client connects and the endpoint accepts and returns. A ratio is
FastAPI's time through ours, of the same round.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import fastapi

import trunkline
from benchmarks.paired import compare, header

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS = 300
GOAL = 1.0
SCOPE: dict[str, Any] = {
    "type": "websocket",
    "path": "/rooms/blue",
    "root_path": "",
    "query_string": b"limit=20&q=hello",
    "headers": [
        (b"host", b"example.com"),
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"sec-websocket-version", b"13"),
        (b"x-token", b"s3cret"),
        (b"cookie", b"session=abc; theme=dark"),
    ],
    "subprotocols": [],
}
THEIRS = SimpleNamespace(**{name: getattr(fastapi, name) for name in fastapi.__dir__()}, App=fastapi.FastAPI)


def nothing(f: Any) -> Any:
    """The endpoint alone."""

    async def endpoint(websocket: Any) -> None:
        await websocket.accept()
        await websocket.close()

    endpoint.__annotations__["websocket"] = f.WebSocket
    return endpoint


def parameters(f: Any) -> Any:
    """Two query parameters and one of the path."""

    async def endpoint(websocket: Any, room: Any, limit: Any, q: Any) -> None:
        await websocket.accept()
        await websocket.close()

    endpoint.__annotations__ |= {"websocket": f.WebSocket, "room": str, "limit": int, "q": str}
    return endpoint


def five(f: Any, *, is_async: bool = True, yields: bool = False) -> Any:
    """Five dependencies, of which one depends on two others: header, cookie, query, connection."""

    async def token(x_token: Any) -> Any:
        return x_token

    async def session(session: Any) -> Any:
        return session

    async def generator() -> Any:
        yield "database"

    async def plain() -> Any:
        return "database"

    async def user(token: Any, database: Any) -> Any:
        return token, database

    async def page(limit: Any, conn: Any) -> Any:
        return limit

    async def endpoint(websocket: Any, room: Any, user: Any, session: Any, page: Any) -> None:
        await websocket.accept()
        await websocket.close()

    database = generator if yields else plain
    token.__annotations__["x_token"] = Annotated[str, f.Header()]
    session.__annotations__["session"] = Annotated[str | None, f.Cookie()]
    user.__annotations__ |= {"token": depends(f, token, is_async), "database": depends(f, database, is_async)}
    page.__annotations__ |= {"limit": Annotated[int, f.Query(ge=1, le=100)], "conn": fastapi_or_ours(f)}
    endpoint.__annotations__ |= {
        "websocket": f.WebSocket,
        "room": str,
        "user": depends(f, user, is_async),
        "session": depends(f, session, is_async),
        "page": depends(f, page, is_async),
    }
    return endpoint


def fastapi_or_ours(f: Any) -> Any:
    return f.HTTPConnection if f is trunkline else fastapi.requests.HTTPConnection


def depends(f: Any, call: Any, is_async: bool) -> Any:
    if is_async:
        return Annotated[Any, f.Depends(call)]

    def in_thread(**values: Any) -> Any:
        try:
            call(**values).send(None)
        except StopIteration as done:
            return done.value

    in_thread.__signature__ = inspect.signature(call)  # type: ignore[attr-defined]
    return Annotated[Any, f.Depends(in_thread)]


def application(f: Any, make: Callable[[Any], Any]) -> Any:
    app = f.App()
    app.websocket("/rooms/{room}")(make(f))
    return app


async def connections(app: Any) -> float:
    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    sent: list[str] = []
    scopes = [dict(SCOPE) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for scope in scopes:
        await app(scope, receive, send)
    elapsed = time.perf_counter() - began
    if sent != ["websocket.accept", "websocket.close"] * CONNECTIONS:
        raise RuntimeError(f"not every connection was accepted and closed: {set(sent)}")
    return elapsed / CONNECTIONS * 1e6


def measured(runner: asyncio.Runner, app: Any) -> float:
    return runner.run(connections(app))


def main() -> None:
    header("FastAPI")
    cases: list[tuple[str, Callable[[Any], Any]]] = [
        ("no parameters", nothing),
        ("3 parameters", parameters),
        ("5 dependencies, async", five),
        ("5 dependencies, one yields", partial(five, yields=True)),
        ("5 dependencies, in threads", partial(five, is_async=False)),
    ]
    with asyncio.Runner() as runner:
        for name, make in cases:
            ours, theirs = (application(f, make) for f in (trunkline, THEIRS))
            compare(name, partial(measured, runner, ours), partial(measured, runner, theirs), GOAL)


if __name__ == "__main__":
    main()
