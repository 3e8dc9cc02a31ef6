"""The lifespan of an `App`: its own, its children's, and what happens where none arrives.

Three ways lead here. A server that calls the App speaks the lifespan protocol. An outer `App` enters `lifespan`, and so
does a foreign outer application that was told to: `FastAPI(lifespan=live.lifespan)`. Where nobody does, but
connections come through a foreign outer application, the first of them starts the lifespan: a task enters it, stays
inside, and leaves when its event loop ends.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any

from trunkline._ending import lifespan_of_loop
from trunkline.applications._children import LifespanError, Started, call_with_state, mounts, running, served
from trunkline.routing import Router
from trunkline.routing._lifespan import no_lifespan, run_lifespan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from trunkline.routing import BaseRoute
    from trunkline.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("trunkline")


class AppRouter(Router):
    """The router of an App: a lifespan scope that arrives here is the App's."""

    def __init__(self, owner: LifespanOwner, routes: Sequence[BaseRoute] | None, **options: Any) -> None:
        super().__init__(routes, **options)
        self._owner = owner

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await run_lifespan(self._owner.lifespan, scope, receive, send)


class LifespanOwner:
    """What an App has to do with its lifespan."""

    router: Router

    def __init__(self) -> None:
        self._running = 0
        self._started_anything = False
        self._state: Mapping[str, Any] = {}
        self._nothing_to_start = False
        self._starting: Future[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._was_announced = False

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[Any]:
        """The whole lifespan: this application's own and those of everything mounted in it.

        Give it to a framework that this application is mounted in, which would not run it by itself:

            live = App(lifespan=...)
            app = FastAPI(lifespan=live.lifespan)
            app.mount("/live", live)

        Args:
            app: Whoever runs it; this application's own lifespan function gets this application.

        Yields:
            What this application's own lifespan yields.
        """
        async with (
            lifespan_of_loop(),
            self.router.lifespan_context(self) as state,
            running(self.router.routes, self._lifespan_of) as started_children,
        ):
            self._running += 1
            self._state = state or {}
            self._started_anything = started_children or self.router.lifespan_context is not no_lifespan
            try:
                yield state
            finally:
                self._running -= 1
                self._state = self._state if self._running else {}

    def _lifespan_of(self, app: Any) -> AbstractAsyncContextManager[Started]:
        if isinstance(app, LifespanOwner):
            return app._as_child()
        if isinstance(app, Router):
            return _of_router(app, self)
        return served(app)

    @asynccontextmanager
    async def _as_child(self) -> AsyncIterator[Started]:
        async with self.lifespan():
            yield Started({}, self._started_anything)

    async def call_mounted(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection that came through an outer application, as `app`, with our state over the outer one.

        Args:
            app: The middleware stack.
            scope: Has the outer application as `app`, which stands there again afterwards.
            receive: The outer application's.
            send: The outer application's.
        """
        outer = scope["app"]
        # An App that was not started itself was not meant to be: a TestClient without `with`, --lifespan off.
        idle = not self._running and not self._nothing_to_start
        if idle and scope["type"] != "lifespan" and not isinstance(outer, LifespanOwner):
            await self._start_by_itself(type(outer).__name__)
        scope["app"] = self
        try:
            if self._state:
                await call_with_state(app, self._state, scope, receive, send)
            else:
                await app(scope, receive, send)
        finally:
            scope["app"] = outer

    async def _start_by_itself(self, outer: str) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            if self.router.lifespan_context is not no_lifespan or any(mounts(self.router.routes)):
                self._announce(outer, "which needs asyncio to start by itself, was not started")
            return
        if self._starting is None:
            self._starting = Future()
            # Its own context: it outlives the connection that happened to be the first.
            self._keeper = loop.create_task(self._keep_running(self._starting, outer), context=Context())
        # Shielded, because the others wait for the same start when this connection is cancelled.
        await asyncio.shield(asyncio.wrap_future(self._starting))

    async def _keep_running(self, ready: Future[None], outer: str) -> None:
        try:
            async with self.lifespan():
                self._nothing_to_start = not self._started_anything
                ready.set_result(None)
                if self._nothing_to_start:
                    return
                self._announce(outer, "was started by the first connection")
                # The end of the loop cancels this; the lifespan is left as at any shutdown.
                with suppress(asyncio.CancelledError):
                    await loop_end()
        except Exception as error:
            if ready.done():
                logger.exception("the lifespan of a mounted App failed at shutdown")
                return
            failure = LifespanError(f"a mounted App could not start at the first connection: {error!r}")
            failure.__cause__ = error
            ready.set_exception(failure)
        finally:
            ready.cancel()
            self._starting = None

    def _announce(self, outer: str, what: str) -> None:
        if self._was_announced:
            return
        self._was_announced = True
        logger.warning(
            "an App mounted in %s, where no lifespan reaches it, %s; to start it with the server, write "
            "%s(lifespan=live.lifespan), where live is that App",
            outer,
            what,
            outer,
        )


async def loop_end() -> None:
    """Wait for ever: only a cancellation, as at the end of the event loop, ends this."""
    await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def _of_router(router: Router, owner: LifespanOwner) -> AsyncIterator[Started]:
    async with router.lifespan_context(owner) as state:
        yield Started(state or {}, router.lifespan_context is not no_lifespan)
