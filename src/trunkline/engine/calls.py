"""The application's calls: the task that runs one, what becomes of its errors, and its end.

The first call is the application itself. It usually lasts as long as the connection. Where it has left the connection
to the Line (`Connection.detach`) the connection stays open without a task, until what called it back goes on with
another coroutine (`Connection.resume`), which is a call like the first. There is one at a time, and all that is said
of the application's call holds for each: errors are logged, the server's shutdown waits for it and cancels it at last,
and the connection ends with it unless it has been left to the Line again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from trunkline._straight import calls_application, passes
from trunkline.engine.at_once import start_at_once
from trunkline.engine.channel import Shortcut
from trunkline.engine.codec import NATIVE
from trunkline.engine.outbound import ClientGone
from trunkline.states import CONNECTING

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from contextvars import Context

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from trunkline.engine.connection import Connection
    from trunkline.states import WebSocketState
    from trunkline.types import Scope

__all__ = ["Calls"]

LAST_CANCEL = 1.0
# A name for each would cost every idle connection memory, and a number says nothing.
TASK_NAME = "WebSocket"

logger = logging.getLogger("uvicorn.error")

# uvicorn's default around every application. It looks at the handshake, and does nothing after the call.
passes(ProxyHeadersMiddleware.__call__)
if not NATIVE:
    passes(Shortcut.__next__)


class Calls:
    """What runs the application for one connection.

    Args:
        config: uvicorn's configuration.
        server_state: uvicorn's sets of connections and tasks.
        loop: The loop.
    """

    __slots__ = ("_config", "_connection", "_loop", "_scope", "_server_state", "_state", "_task", "_where")

    _connection: Connection
    _scope: Scope
    _state: WebSocketState

    def __init__(self, config: Config, server_state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._server_state = server_state
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._where: str | None = None

    def _answer_for_application(self) -> None:
        """A call has ended: say what it has not said, if anybody waits for it."""
        raise NotImplementedError

    def _place(self) -> str:
        """Who and where, for the log: never the query, which may hold a token."""
        if self._where is not None:
            return self._where
        client = self._scope["client"]
        who = "{}:{}".format(*client) if client else ""
        return f'{who} - "WebSocket {quote(self._scope["path"])}"'

    def _start(self) -> None:
        """Call the application."""
        self._keep(self._loop.create_task(self._run(None), name=TASK_NAME))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._task = task
        self._server_state.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._server_state.tasks.discard(task)
        if self._task is task:
            self._task = None

    def _resume(self, call: Coroutine[Any, Any, None], context: Context | None = None) -> None:
        connection = self._connection
        if not connection.detached:
            call.close()
            raise RuntimeError("a connection is resumed that was not detached; another call goes on with it, or has")
        connection.detached = False
        connection.on_message(None)
        task = start_at_once(self._run(call), self._loop, TASK_NAME, context)
        if task is not None:
            self._keep(task)

    @calls_application
    async def _run(self, call: Awaitable[object] | None) -> None:
        """Run the application, or the call that goes on with it."""
        connection = self._connection
        stays = False
        try:
            if call is None:
                call = Shortcut(self._config.loaded_app(self._scope, connection.receive, connection.send))
            result = await call
        except ClientGone:
            pass
        except (asyncio.CancelledError, GeneratorExit):
            self._answer_for_application()
            raise
        except BaseException as error:
            if connection.closed is None or not _is_disconnect(error):
                logger.exception("Exception in ASGI application\n")
            self._answer_for_application()
        else:
            if self._state is CONNECTING and connection.closed is None:
                logger.error("ASGI callable returned without completing handshake.")
            elif result is not None:
                logger.error("ASGI callable should return None, but returned '%s'.", result)
            elif connection.detached:
                stays = True
                self._let_go()
            self._answer_for_application()
        finally:
            if not stays:
                self._leave()

    def _let_go(self) -> None:
        """Keep of the scope only what the log is told: the rest is the application's, if it wants it."""
        if self._where is None:
            self._where = self._place()
            self._scope = {}

    def _leave(self) -> None:
        connection = self._connection
        connection.detached = False
        connection.on_message(None)
        connection.leave()
        connection.receive = connection.send = connection.resume = None

    # At the end of the server's patience

    def _cancel(self) -> None:
        self._connection.abort()
        if self._task is not None and not self._task.done():
            logger.warning("%s: the handler has not ended in time and is cancelled.", self._place())
            self._task.cancel()
            self._loop.call_later(LAST_CANCEL, self._throw_out)

    def _throw_out(self) -> None:
        """End a handler that swallowed its cancellation: neither uvicorn nor `asyncio.run` would ever leave it."""
        if self._task is None or self._task.done():
            return
        logger.error("%s: the handler ignores its cancellation and is thrown out: %r", self._place(), self._task)
        self._server_state.tasks.discard(self._task)
        coroutine = self._task.get_coro()
        assert isinstance(coroutine, Coroutine)
        coroutine.close()
        self._task.cancel()
        self._task.add_done_callback(_take_note)


def _take_note(task: asyncio.Task[None]) -> None:
    """How a task that was thrown out ended is of no interest; nobody else asks."""
    if not task.cancelled():
        task.exception()


def _is_disconnect(error: BaseException) -> bool:
    """Whether it says that the client is gone, whatever framework's it is."""
    return any(kind.__name__ == "WebSocketDisconnect" for kind in type(error).__mro__)
