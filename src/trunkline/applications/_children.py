"""The lifespans of what is mounted in an application.

The ASGI specification leaves a mounted application without a lifespan: the server speaks the protocol with the
outermost one only. So the outer one runs those of its children, inside its own: a router's and an `App`'s as the
context managers that they are, a foreign application's by speaking the protocol with it (ASGI spec, Lifespan
Protocol), as a server would. What a child gives as state is laid over the outer state for the child's connections.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from trunkline.exceptions import TrunklineError
from trunkline.routing import Host, Mount, Router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from trunkline.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("trunkline")


class LifespanError(TrunklineError, RuntimeError):
    """Raised when a mounted application says that it could not start or stop, or an application could not start."""


def mounts(routes: Iterable[Any]) -> Iterator[Mount | Host]:
    """The mounts and hosts among routes, and those inside mounted routers."""
    for route in routes:
        if isinstance(route, Mount | Host):
            yield route
            app = mounted_app(route)
            if isinstance(app, Router):
                yield from mounts(app.routes)


def mounted_app(route: Mount | Host) -> ASGIApp:
    """The application that a route leads to, inside the middleware of a mount."""
    return route._base_app if isinstance(route, Mount) else route.app


async def call_with_state(app: ASGIApp, state: Mapping[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
    """Call an application with its own state over the outer one, which stands in the scope again afterwards."""
    outer = scope.setdefault("state", {})
    scope["state"] = {**outer, **state}
    try:
        await app(scope, receive, send)
    finally:
        scope["state"] = outer


class _WithState:
    """A mounted application while it is started."""

    __slots__ = ("app", "state")

    def __init__(self, app: ASGIApp, state: Mapping[str, Any]) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await call_with_state(self.app, self.state, scope, receive, send)


class Started(NamedTuple):
    """What a child's lifespan gave.

    Attributes:
        state: Its state; empty if there is none, or if the child lays it over by itself.
        any: Whether there was anything to start.
    """

    state: Mapping[str, Any]
    any: bool


@asynccontextmanager
async def running(
    routes: Iterable[Any], start: Callable[[ASGIApp], AbstractAsyncContextManager[Started]]
) -> AsyncIterator[bool]:
    """Run the lifespans of everything mounted among `routes`, one after the other, each application once.

    Args:
        routes: Where mounts and hosts are looked for.
        start: Gives the lifespan of an application.

    Yields:
        Whether there was anything to start.
    """
    started: dict[int, Started] = {}
    async with AsyncExitStack() as stack:
        for route in mounts(routes):
            app = mounted_app(route)
            if id(app) not in started:
                started[id(app)] = await stack.enter_async_context(start(app))
            state = started[id(app)].state
            if state:
                stack.callback(setattr, route, "app", route.app)
                route.app = _WithState(route.app, state)
        yield any(child.any for child in started.values())


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[Started]:
    """The lifespan of any ASGI application, run by speaking the protocol with it.

    One that raises, or returns, before it has answered has no lifespan: that is how servers see it, too.

    Raises:
        LifespanError: The application answered that its start-up or its shutdown failed.
    """
    conversation = _Conversation(app)
    # Raised behind the task group, which would wrap it in an ExceptionGroup.
    error: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(conversation.run)
        await conversation.answered.wait()
        if conversation.failure is None:
            try:
                yield Started(conversation.state, conversation.supported)
            except Exception as raised:
                error = raised
            conversation.stopping.set()
            await conversation.ended.wait()
        group.cancel_scope.cancel()
    error = error or conversation.failure
    if error is not None:
        raise error


class _Conversation:
    """The server's side of the lifespan protocol."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self.supported = False
        self.failure: Exception | None = None
        self.answered = anyio.Event()
        self.stopping = anyio.Event()
        self.ended = anyio.Event()
        self._to_receive = iter(("lifespan.startup", "lifespan.shutdown"))

    async def run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self.receive, self.send)
        except Exception as error:
            self._failed_with(error)
        finally:
            self.answered.set()
            self.ended.set()

    def _failed_with(self, error: Exception) -> None:
        if self.failure is not None:
            self.failure.__cause__ = error
        elif self.supported:
            self.failure = LifespanError(f"the lifespan of the mounted {self.app!r} failed")
            self.failure.__cause__ = error
        else:
            logger.debug("the mounted %r has no lifespan", self.app, exc_info=error)

    async def receive(self) -> Message:
        type_ = next(self._to_receive, None)
        if type_ is None:
            await anyio.sleep_forever()
        if type_ == "lifespan.shutdown":
            await self.stopping.wait()
        return {"type": type_}

    async def send(self, message: Message) -> None:
        event, _, outcome = message["type"].removeprefix("lifespan.").partition(".")
        if outcome == "failed":
            text = message.get("message", "")
            self.failure = LifespanError(f"the mounted {self.app!r} failed at {event}\n{text}".rstrip())
        elif event == "startup":
            self.supported = True
        (self.answered if event == "startup" else self.ended).set()
