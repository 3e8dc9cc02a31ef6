"""A synchronous client that drives an ASGI application in memory: HTTP, WebSockets and lifespan, without a server.

The test runs in its own thread, the application in an event loop of another one; a *portal* of anyio leads across.
Outside `with TestClient(app)` each request and each WebSocket gets a loop of its own; inside, all share one, and the
lifespan runs around them.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin

import anyio
import anyio.from_thread

from trunkline._testscope import (
    HANDSHAKE_HEADERS,
    ASGI2App,
    ASGI3App,
    ASGIInstance,
    as_asgi3,
    connection_scope,
    websocket_scope,
)
from trunkline.types import Message

try:
    import httpx2

    from trunkline._testhttp import Exchange, ResponseStream
    from trunkline._testsession import WebSocketDenialResponse, WebSocketTestSession
except ModuleNotFoundError as missing:
    raise ImportError(
        "trunkline.testclient speaks HTTP through httpx2, which is not installed: pip install 'trunkline[testing]'"
    ) from missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager
    from typing import Self

    from anyio.from_thread import BlockingPortal

    from trunkline._testsession import PortalFactory
    from trunkline.types import ASGIApp

__all__ = ["ASGI2App", "ASGI3App", "ASGIInstance", "TestClient", "WebSocketDenialResponse", "WebSocketTestSession"]

# After it has said that its lifespan failed, an application gets this many seconds to raise its own exception.
_GRACE = 1.0


class _Lifespan:
    """The lifespan of an application. One task for start and stop: a task group must be left where it was entered."""

    def __init__(self, app: ASGIApp, state: dict[str, Any], portal: BlockingPortal) -> None:
        self._app = app
        self._scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
        self._portal = portal
        self._to_app, self._inbox = anyio.create_memory_object_stream[Message](2)
        self._outbox, self._answers = anyio.create_memory_object_stream[Message](2)
        self._task: Future[None] = portal.start_task_soon(self._run)

    def start(self) -> None:
        self._phase("startup")

    def stop(self) -> None:
        if self._task.done():
            self._task.result()
        else:
            self._phase("shutdown")

    def close(self) -> None:
        self._portal.call(self._close)

    async def _run(self) -> None:
        with self._outbox:
            await self._app(self._scope, self._inbox.receive, self._outbox.send)

    def _phase(self, phase: Literal["startup", "shutdown"]) -> None:
        """Ask for a phase and wait for the answer; an application that returns without one has no lifespan."""
        message = self._portal.call(self._ask, {"type": f"lifespan.{phase}"})
        if message is None:
            self._task.result()
        elif message["type"] == f"lifespan.{phase}.failed":
            self._failed(phase, message.get("message", ""))
        elif message["type"] != f"lifespan.{phase}.complete":
            raise RuntimeError(
                f'Expected ASGI message "lifespan.{phase}.complete" or "lifespan.{phase}.failed", '
                f"but got {message['type']!r}"
            )

    async def _ask(self, message: Message) -> Message | None:
        await self._to_app.send(message)
        try:
            return await self._answers.receive()
        except anyio.EndOfStream:
            return None

    def _failed(self, phase: str, text: str) -> None:
        """The exception that the application raises after it has said "failed", else one of ours with its text."""
        try:
            self._task.result(timeout=_GRACE)
        except TimeoutError:
            self._task.cancel()
        raise RuntimeError(f"The lifespan {phase} of the application failed: {text}")

    async def _close(self) -> None:
        for stream in (self._to_app, self._inbox, self._outbox, self._answers):
            stream.close()


class _Transport(httpx2.BaseTransport):
    """Turns each request of httpx2 into a conversation with the application."""

    def __init__(
        self,
        app: ASGIApp,
        portal_factory: PortalFactory,
        *,
        raise_server_exceptions: bool,
        root_path: str,
        client: tuple[str, int],
        app_state: dict[str, Any],
    ) -> None:
        self._app = app
        self._portal_factory = portal_factory
        self._raise_server_exceptions = raise_server_exceptions
        self._root_path = root_path
        self._client = client
        self._app_state = app_state
        self._open: set[ResponseStream] = set()

    def close(self) -> None:
        while self._open:
            self._open.pop().abort()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        common = connection_scope(
            url.scheme,
            url.raw_host.decode("ascii"),
            url.port,
            url.raw_path,
            [(name.lower(), value) for name, value in request.headers.raw],
            client=self._client,
            root_path=self._root_path,
            state=self._app_state,
        )
        if url.scheme in ("ws", "wss"):
            session = WebSocketTestSession(self._app, websocket_scope(common), self._portal_factory)
            return httpx2.Response(101, extensions={"trunkline.session": session}, request=request)
        scope = {
            **common,
            "type": "http",
            "asgi": {"version": "3.0"},
            "method": request.method,
            "extensions": {"http.response.debug": {}, "http.response.trailers": {}},
        }
        return self._respond(scope, request)

    def _respond(self, scope: dict[str, Any], request: httpx2.Request) -> httpx2.Response:
        body = request.read()
        with ExitStack() as stack:
            portal = stack.enter_context(self._portal_factory())
            exchange = portal.call(Exchange, self._app, scope, body)
            stream = ResponseStream(
                exchange,
                portal,
                stack.pop_all(),
                with_body=request.method != "HEAD",
                raise_exceptions=self._raise_server_exceptions,
                on_close=self._open.discard,
            )
        self._open.add(stream)
        try:
            portal.call(exchange.answered.wait)
        except BaseException:
            stream.abort()
            raise
        if exchange.head is None:
            return self._no_response(stream, request)
        return _response(exchange, exchange.head, stream, request)

    def _no_response(self, stream: ResponseStream, request: httpx2.Request) -> httpx2.Response:
        stream.close()
        if self._raise_server_exceptions:
            raise AssertionError("TestClient did not receive any response: the application returned without one.")
        return httpx2.Response(500, request=request)


def _response(exchange: Exchange, head: Message, stream: ResponseStream, request: httpx2.Request) -> httpx2.Response:
    response = httpx2.Response(head["status"], headers=list(head.get("headers", [])), stream=stream, request=request)
    if exchange.wants_trailers:
        response.extensions["http.response.trailers"] = exchange.trailers
    if exchange.debug is not None:
        response.extensions["http.response.debug"] = exchange.debug
        for name in exchange.debug.keys() & {"template", "context"}:
            setattr(response, name, exchange.debug[name])
    return response


class TestClient(httpx2.Client):
    """A client for tests of any ASGI application, 2 or 3, with the interface of httpx2 and `websocket_connect`.

    As a context manager it runs the application's lifespan around the block, and all requests in one event loop.

        with TestClient(app) as client, client.websocket_connect("/echo") as websocket:
            websocket.send_text("hello")
            assert websocket.receive_text() == "hello"

    Attributes:
        app: The application, as ASGI 3.
        app_state: What the lifespan left; each connection gets a copy as its `state`.
        portal: The way into the event loop, inside the context manager; None outside.

    Args:
        app: The application.
        base_url: Where relative URLs start; WebSockets start at `ws://testserver`.
        raise_server_exceptions: Whether an exception of the application is raised by an HTTP request; it answers with
            500 otherwise.
        root_path: Where the application is mounted.
        backend: The event loop: "asyncio" or "trio".
        backend_options: Options for it, as `anyio.run` takes them.
        cookies: Cookies of all requests.
        headers: Headers of all requests; `user-agent` is "testclient" if not given.
        follow_redirects: Whether redirects are followed.
        client: The client's address and port, as the application sees it.
    """

    __test__ = False

    def __init__(
        self,
        app: ASGI2App | ASGI3App,
        base_url: str = "http://testserver",
        raise_server_exceptions: bool = True,
        root_path: str = "",
        backend: Literal["asyncio", "trio"] = "asyncio",
        backend_options: dict[str, Any] | None = None,
        cookies: Any = None,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
        client: tuple[str, int] = ("testclient", 50000),
    ) -> None:
        self._backend = backend
        self._backend_options = backend_options or {}
        self.app = as_asgi3(app)
        self.app_state: dict[str, Any] = {}
        self.portal: BlockingPortal | None = None
        super().__init__(
            base_url=base_url,
            headers=_with_defaults(headers, {"user-agent": "testclient"}),
            transport=_Transport(
                self.app,
                self._portal_factory,
                raise_server_exceptions=raise_server_exceptions,
                root_path=root_path,
                client=client,
                app_state=self.app_state,
            ),
            follow_redirects=follow_redirects,
            cookies=cookies,
        )

    def request(self, method: str, url: httpx2.URL | str, **kwargs: Any) -> httpx2.Response:
        """Send a request, with the arguments of `httpx2.Client.request`; `timeout` has no effect in memory."""
        if kwargs.get("timeout", httpx2.USE_CLIENT_DEFAULT) is not httpx2.USE_CLIENT_DEFAULT:
            warnings.warn(
                "You should not use the 'timeout' argument with the TestClient: it has no effect, because no network "
                "is between them. To bound a test, use your test runner's timeout.",
                DeprecationWarning,
                stacklevel=2,
            )
        return super().request(method, url, **kwargs)

    def websocket_connect(
        self, url: str, subprotocols: Sequence[str] | None = None, **kwargs: Any
    ) -> WebSocketTestSession:
        """Prepare a WebSocket connection; entering the session opens it.

        Args:
            url: Path or whole URL; `ws://testserver` is put in front of a path.
            subprotocols: The subprotocols to offer, the preferred one first.
            kwargs: Arguments of a request: `headers`, `params`, `cookies`, `auth`, ...

        Returns:
            The session. Entering it raises `WebSocketDisconnect` if the application refuses the handshake, as
            `WebSocketDenialResponse` if it refuses with an HTTP response.
        """
        defaults = dict(HANDSHAKE_HEADERS)
        if subprotocols is not None:
            defaults["sec-websocket-protocol"] = ", ".join(subprotocols)
        kwargs["headers"] = _with_defaults(kwargs.get("headers"), defaults)
        response = super().request("GET", urljoin("ws://testserver", url), **kwargs)
        session: WebSocketTestSession | None = response.extensions.get("trunkline.session")
        if session is None:
            raise RuntimeError(f"expected a URL of scheme ws or wss, or a path, but got {url!r}")
        return session

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.portal = stack.enter_context(self._new_portal())
            stack.callback(setattr, self, "portal", None)
            lifespan = _Lifespan(self.app, self.app_state, self.portal)
            stack.callback(lifespan.close)
            lifespan.start()
            stack.callback(lifespan.stop)
            stack.callback(self._transport.close)
            self.exit_stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.exit_stack.close()

    @contextmanager
    def _portal_factory(self) -> Iterator[BlockingPortal]:
        if self.portal is not None:
            yield self.portal
        else:
            with self._new_portal() as portal:
                yield portal

    def _new_portal(self) -> AbstractContextManager[BlockingPortal]:
        return anyio.from_thread.start_blocking_portal(self._backend, self._backend_options)


def _with_defaults(headers: Any, defaults: Mapping[str, str]) -> httpx2.Headers:
    merged = httpx2.Headers(headers)
    for name, value in defaults.items():
        merged.setdefault(name, value)
    return merged
