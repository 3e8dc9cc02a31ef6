"""An asynchronous client for tests, on the test's own event loop, that can also fail on demand. asyncio only.

    async with connect(app, "/chat?room=1") as ws:
        await ws.send_text("hello")
        assert await ws.receive_text() == "hello"

It checks the application as a strict server does: messages out of order raise `RuntimeError` in the application's
`send`, wrong types `TypeError`, forbidden values `ValueError`. `drop()`, `stall()` and `resume()` make the faults that
a network makes.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from trunkline._testpeer import Peer, WebSocketDenied, waiting_at
from trunkline._testscope import as_asgi3, handshake_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from trunkline._testscope import ASGI2App, ASGI3App
    from trunkline.types import Message

__all__ = ["Peer", "WebSocketDenied", "connect", "lifespan"]


def connect(
    app: ASGI2App | ASGI3App,
    url: str,
    *,
    headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]] | None = None,
    subprotocols: Sequence[str] | None = None,
    client: tuple[str, int] | None = ("testclient", 50000),
    timeout: float = 5.0,
    state: Mapping[str, Any] | None = None,
) -> Peer:
    """Connect to the WebSocket of an application: `async with connect(app, "/chat") as ws`.

    Args:
        app: Any ASGI application.
        url: Path with query, or whole URL of scheme `ws` or `wss`.
        headers: Headers of the handshake; they replace those of the same name that a client sends by itself.
        subprotocols: The subprotocols to offer, the preferred one first.
        client: The client's address and port, as the application sees it.
        timeout: Seconds that anything may take.
        state: The state that connections see, as `lifespan` gives it.

    Returns:
        The peer. Entering it raises `WebSocketDenied` if the application refuses the handshake.

    Raises:
        ValueError: The URL is not one of a WebSocket.
    """
    return Peer(as_asgi3(app), handshake_scope(url, headers, subprotocols, client, state or {}), timeout)


@asynccontextmanager
async def lifespan(app: ASGI2App | ASGI3App, *, timeout: float = 5.0) -> AsyncIterator[dict[str, Any]]:
    """Start the application's lifespan, and stop it afterwards; gives the state for `connect(..., state=state)`.

    Args:
        app: Any ASGI application.
        timeout: Seconds that start and stop may take, each.

    Raises:
        RuntimeError: Start or stop failed with a message and no exception.
        TimeoutError: The application did not answer in time.
    """
    running = _Lifespan(as_asgi3(app), timeout)
    try:
        await running.phase("startup")
        try:
            yield running.state
        finally:
            await running.phase("shutdown")
    finally:
        await running.cancel()


class _Lifespan:
    """The lifespan of an application, as one task. A None among its messages says that the task has ended."""

    def __init__(self, app: ASGI3App, timeout: float) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._timeout = timeout
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(2)
        self._outbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(), name="lifespan of the application")
        self._task.add_done_callback(lambda _: self._outbox.put_nowait(None))

    async def phase(self, phase: Literal["startup", "shutdown"]) -> None:
        """Ask for a phase and wait for the answer; an application that has returned has no lifespan."""
        if self._task.done():
            return await self._task
        self._inbox.put_nowait({"type": f"lifespan.{phase}"})
        answer = asyncio.create_task(self._answer(phase))
        try:
            await asyncio.wait({answer}, timeout=self._timeout)
            if not answer.done():
                raise TimeoutError(
                    f"the application did not finish lifespan.{phase} within {self._timeout:g} s; "
                    f"it is waiting at {waiting_at(self._task)}"
                )
            return answer.result()
        finally:
            answer.cancel()

    async def cancel(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=self._timeout)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        await self._app(scope, self._inbox.get, self._outbox.put)

    async def _answer(self, phase: Literal["startup", "shutdown"]) -> None:
        """Wait for the answer, and for the application to return where none or no other phase follows."""
        message = await self._outbox.get()
        expected = f"lifespan.{phase}.complete"
        if message is None or phase == "shutdown" or message["type"] != expected:
            await self._task
        if message is None:
            return
        if message["type"] == f"lifespan.{phase}.failed":
            raise RuntimeError(f"The lifespan {phase} of the application failed: {message.get('message', '')}")
        if message["type"] != expected:
            raise RuntimeError(f'Expected ASGI message "{expected}", but got {message["type"]!r}')
