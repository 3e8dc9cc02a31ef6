"""What the client asked for: what a request and a WebSocket have in common, and the request.

Nothing is worked out before it is asked for, and then once: making a connection costs one check of its type.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, cast

import anyio

from trunkline.datastructures import URL, Address, Headers, QueryParams, State
from trunkline.exceptions import HTTPException, TrunklineError

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

if TYPE_CHECKING:
    from trunkline.types import Message, Receive, Scope, Send

__all__ = ["ClientDisconnect", "HTTPConnection", "Request", "cookie_parser"]

StateT = TypeVar("StateT", bound=Mapping[str, Any] | State, default=State)

_ESCAPED = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")


def _unquoted(value: str) -> str:
    """A value that begins with a quote, without its quotes and escapes, which `http.cookies` writes (RFC 2109 4.1)."""
    if len(value) < 2 or value[-1] != '"':
        return value
    return _ESCAPED.sub(lambda escape: escape[2] or chr(int(escape[1], 8)), value[1:-1])


def cookie_parser(cookie_string: str) -> dict[str, str]:
    """The cookies of one Cookie header, read as browsers write them, which is more than RFC 6265 allows.

    Args:
        cookie_string: The value of the header. What has no equals sign is the value of a cookie without name;
            of several with one name the last counts.
    """
    cookies: dict[str, str] = {}
    for pair in cookie_string.split(";"):
        name, equals, value = pair.partition("=")
        if not equals:
            name, value = "", name
        name, value = name.strip(), value.strip()
        if name or value:
            cookies[name] = _unquoted(value) if value[:1] == '"' else value
    return cookies


class ClientDisconnect(TrunklineError):
    """Raised when the client goes before its request, or the response to it, is complete."""


_MIDDLEWARE = {"session": "SessionMiddleware", "auth": "AuthenticationMiddleware", "user": "AuthenticationMiddleware"}


class HTTPConnection(Mapping[str, Any], Generic[StateT]):
    """What a request and a WebSocket have in common: a function that takes one serves both.

    A mapping over the ASGI scope, but equal only to itself.

    Args:
        scope: The ASGI scope, of type `http` or `websocket`.
        receive: Taken for the sake of what passes it; a connection does not receive.

    Raises:
        AssertionError: The scope is of another type.
    """

    scope_types: ClassVar[tuple[str, ...]] = ("http", "websocket")

    scope: Scope
    _url: URL | None = None
    _base_url: URL | None = None
    _headers: Headers | None = None
    _query_params: QueryParams | None = None
    _cookies: dict[str, str] | None = None
    _state: State | None = None

    def __init__(self, scope: Scope, receive: Receive | None = None) -> None:
        if scope["type"] not in self.scope_types:
            raise self._wrong_type(scope["type"])
        self.scope = scope

    def _wrong_type(self, type_: object) -> AssertionError:
        wanted = " or ".join(map(repr, self.scope_types))
        return AssertionError(
            f"{type(self).__name__} takes an ASGI scope of type {wanted}, but got {type_!r}; "
            "use Request for 'http', WebSocket for 'websocket', HTTPConnection for both"
        )

    def __getitem__(self, key: str) -> Any:
        return self.scope[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scope)

    def __len__(self) -> int:
        return len(self.scope)

    # Mapping compares by content and takes the hash away; two connections are never the same one.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def app(self) -> Any:
        """The application that serves this connection."""
        return self.scope["app"]

    @property
    def url(self) -> URL:
        """The URL that the client asked for; its scheme is `ws` or `wss` for a WebSocket."""
        if self._url is None:
            self._url = URL(scope=self.scope)
        return self._url

    @property
    def base_url(self) -> URL:
        """The URL of the application's root, also inside a mount: without query, ending in a slash."""
        if self._base_url is None:
            root = self.scope.get("app_root_path", self.scope.get("root_path", ""))
            path = root if root.endswith("/") else f"{root}/"
            self._base_url = URL(scope={**self.scope, "path": path, "query_string": b""})
        return self._base_url

    @property
    def headers(self) -> Headers:
        """The headers, by name without regard to case."""
        if self._headers is None:
            self._headers = Headers(scope=self.scope)
        return self._headers

    @property
    def query_params(self) -> QueryParams:
        """The parameters of the query string; blank values are kept."""
        if self._query_params is None:
            self._query_params = QueryParams(self.scope.get("query_string", b""))
        return self._query_params

    @property
    def path_params(self) -> dict[str, Any]:
        """The converted parameters of the route's path; empty without a router."""
        return cast("dict[str, Any]", self.scope.get("path_params", {}))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of all Cookie headers."""
        if self._cookies is None:
            cookies: dict[str, str] = {}
            for header in self.headers.getlist("cookie"):
                cookies.update(cookie_parser(header))
            self._cookies = cookies
        return self._cookies

    @property
    def client(self) -> Address | None:
        """Where the client connects from, where the server says so."""
        address = self.scope.get("client")
        return None if address is None else Address(*address)

    @property
    def session(self) -> dict[str, Any]:
        """The session, where a middleware keeps one.

        Raises:
            AssertionError: No middleware has put it into the scope.
        """
        session: dict[str, Any] = self._from_middleware("session")
        if hasattr(session, "mark_accessed"):
            session.mark_accessed()
        return session

    @property
    def auth(self) -> Any:
        """What the client may do, where a middleware says so.

        Raises:
            AssertionError: No middleware has put it into the scope.
        """
        return self._from_middleware("auth")

    @property
    def user(self) -> Any:
        """Who the client is, where a middleware says so.

        Raises:
            AssertionError: No middleware has put it into the scope.
        """
        return self._from_middleware("user")

    def _from_middleware(self, key: str) -> Any:
        try:
            return self.scope[key]
        except KeyError:
            raise AssertionError(
                f"{_MIDDLEWARE[key]} must be installed to access request.{key}: "
                f"a middleware that sets scope[{key!r}] is expected around the application"
            ) from None

    @property
    def state(self) -> StateT:
        """What is kept for this connection, with what the application's lifespan has put there."""
        if self._state is None:
            self._state = State(self.scope.setdefault("state", {}))
        return cast("StateT", self._state)

    def url_for(self, name: str, /, **path_params: Any) -> URL:
        """The absolute URL of a route.

        Args:
            name: The name of the route; `mount:name` for one inside a mount.
            path_params: The parameters of its path.

        Raises:
            RuntimeError: The connection has not come through an application or a router.
            NoMatchFound: There is no route of this name with these parameters.
        """
        routes = self.scope.get("router") or self.scope.get("app")
        if routes is None:
            raise RuntimeError("The `url_for` method can only be used inside a trunkline application or with a router.")
        return cast("URL", routes.url_path_for(name, **path_params).make_absolute_url(base_url=self.base_url))


async def empty_receive() -> NoReturn:
    """Stands in for a receive channel that was not given."""
    raise RuntimeError("Receive channel has not been made available")


async def empty_send(message: Message) -> NoReturn:
    """Stands in for a send channel that was not given."""
    raise RuntimeError("Send channel has not been made available")


class Request(HTTPConnection[StateT]):
    """An HTTP request.

    Attributes:
        max_body_size: Bytes that `body` and `json` read at most, 1 MiB; set it on the request before they are
            called, or on a subclass; None for no limit. `stream` has none, since it keeps nothing.

    Args:
        scope: The ASGI scope, of type `http`.
        receive: The ASGI receive channel.
        send: The ASGI send channel.

    Raises:
        AssertionError: The scope is of another type.
    """

    scope_types: ClassVar[tuple[str, ...]] = ("http",)

    max_body_size: int | None = 1024 * 1024
    _body: bytes | None = None
    _stream_consumed = False
    _is_disconnected = False

    def __init__(self, scope: Scope, receive: Receive = empty_receive, send: Send = empty_send) -> None:
        super().__init__(scope)
        self._receive = receive
        self._send = send

    @property
    def method(self) -> str:
        """The method, in upper case: `GET`, `POST`, ..."""
        return cast("str", self.scope["method"])

    @property
    def receive(self) -> Receive:
        """The ASGI receive channel."""
        return self._receive

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in the pieces in which it comes; an empty piece ends it.

        Raises:
            ClientDisconnect: The client has gone before the end.
            RuntimeError: The body has been streamed before, or the server sent something else.
        """
        if self._body is not None:
            yield self._body
        elif self._stream_consumed:
            raise RuntimeError("Stream consumed")
        while self._body is None and not self._stream_consumed:
            piece = await self._receive_piece()
            if piece:
                yield piece
        yield b""

    async def _receive_piece(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._is_disconnected = True
            raise ClientDisconnect("the client has gone before its request was complete")
        if message["type"] != "http.request":
            got = message["type"]
            raise RuntimeError(f'Expected ASGI message "http.request" or "http.disconnect", but got {got!r}')
        self._stream_consumed = not message.get("more_body", False)
        return cast("bytes", message.get("body", b""))

    async def body(self) -> bytes:
        """The whole body, read once.

        Raises:
            ClientDisconnect: The client has gone before the end.
            HTTPException: The body is over `max_body_size`: 413.
            RuntimeError: The body has been streamed before.
        """
        if self._body is None:
            declared = self.headers.get("content-length", "")
            # A number of more digits is no size that a body could have; int() refuses thousands of them.
            self._check_size(int(declared) if declared.isdecimal() and len(declared) < 20 else 0)
            pieces: list[bytes] = []
            size = 0
            async with aclosing(self.stream()) as stream:
                async for piece in stream:
                    size += len(piece)
                    self._check_size(size)
                    pieces.append(piece)
            self._body = b"".join(pieces)
        return self._body

    def _check_size(self, size: int) -> None:
        if self.max_body_size is not None and size > self.max_body_size:
            raise HTTPException(413, f"The body of the request is over the limit of {self.max_body_size} bytes.")

    async def json(self) -> Any:
        """The body as JSON, parsed once.

        Raises:
            json.JSONDecodeError: The body is no JSON.
            ClientDisconnect, HTTPException, RuntimeError: As for `body`.
        """
        if not hasattr(self, "_json"):
            self._json = json.loads(await self.body())
        return self._json

    async def is_disconnected(self) -> bool:
        """Whether the client has gone; takes what has come of the request, and does not wait."""
        if not self._is_disconnected:
            message: Message = {}
            # Cancelled beforehand, the receive gives what is there and never waits.
            with anyio.CancelScope() as scope:
                scope.cancel()
                message = await self._receive()
            self._is_disconnected = message.get("type") == "http.disconnect"
        return self._is_disconnected
