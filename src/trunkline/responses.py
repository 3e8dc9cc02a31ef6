"""What an HTTP request is answered with, and a WebSocket handshake that is denied.

A response is an ASGI application. Called with a WebSocket's scope it sends the messages of the extension
`websocket.http.response` (ASGI: "WebSocket Denial Response") in place of those of HTTP.
Headers are checked where they are given, and all of them again where they are sent, because `raw_headers` is a list.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from email.utils import format_datetime, formatdate
from http.cookies import CookieError, SimpleCookie
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

import anyio
import anyio.to_thread

from trunkline.concurrency import iterate_in_threadpool
from trunkline.datastructures import URL, Headers, MutableHeaders, check_headers
from trunkline.requests import ClientDisconnect

if TYPE_CHECKING:
    from trunkline.background import BackgroundTask
    from trunkline.types import Message, Receive, Scope, Send

__all__ = [
    "FileResponse",
    "HTMLResponse",
    "JSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "Response",
    "StreamingResponse",
]

Content = str | bytes | memoryview
ContentStream = AsyncIterable[Content] | Iterable[Content]
SameSite = Literal["lax", "strict", "none"]


class _Messages(NamedTuple):
    start: str
    body: str


_MESSAGES: Mapping[str, _Messages] = {
    "http": _Messages("http.response.start", "http.response.body"),
    "websocket": _Messages("websocket.http.response.start", "websocket.http.response.body"),
}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_OR_SEMICOLON = re.compile(r"[\x00-\x1f\x7f;]")


class Response:
    """A response whose body is known.

    Args:
        content: The body: text, bytes, or None for an empty one.
        status_code: The HTTP status.
        headers: Headers beside `content-length` and `content-type`, or in their place.
        media_type: The media type of the body; that of the class when left out.
        background: What to do when the response has been sent.

    Raises:
        TypeError: The content is of another type.
        ValueError: A header contains CR, LF or NUL.
    """

    media_type: str | None = None
    charset = "utf-8"
    _headers: MutableHeaders | None = None

    def __init__(
        self,
        content: Any = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        self.status_code = status_code
        if media_type is not None:
            self.media_type = media_type
        self.background = background
        self.body = self.render(content)
        self.init_headers(headers)

    def render(self, content: Any) -> bytes | memoryview:
        """The body as bytes; overridden by a response with content of another kind.

        Args:
            content: What the constructor was given.
        """
        if content is None:
            return b""
        if isinstance(content, bytes):
            return content
        if isinstance(content, memoryview):
            return content.cast("B") if content.c_contiguous else content.tobytes()
        if isinstance(content, str):
            return content.encode(self.charset)
        raise TypeError(
            f"{type(self).__name__} takes str, bytes, memoryview or None, but got {type(content).__name__}; "
            "use JSONResponse for data"
        )

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set `raw_headers`: those given, then `content-length` and `content-type` where they are not among them.

        Args:
            headers: Those given to the constructor.
        """
        all_headers = MutableHeaders(headers)
        check_headers(all_headers.raw)
        body = getattr(self, "body", None)
        # RFC 9110 section 8.6: 1xx and 204 have no Content-Length, and that of a 304 is of the body it stands for.
        if body is not None and self.status_code >= 200 and self.status_code not in (204, 304):
            all_headers.setdefault("content-length", str(len(body)))
        if self.media_type is not None:
            is_bare_text = self.media_type.startswith("text/") and "charset=" not in self.media_type.lower()
            charset = f"; charset={self.charset}" if is_bare_text else ""
            all_headers.setdefault("content-type", self.media_type + charset)
        self.raw_headers = all_headers.raw

    @property
    def headers(self) -> MutableHeaders:
        """The headers, to be read and changed."""
        if self._headers is None:
            self._headers = MutableHeaders(raw=self.raw_headers)
        return self._headers

    def set_cookie(
        self,
        key: str,
        value: str = "",
        max_age: int | None = None,
        expires: datetime | str | int | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Add a cookie (RFC 6265 section 4.1).

        Args:
            key: Its name.
            value: Its value; what may not stand in a cookie is quoted.
            max_age: Seconds until it expires.
            expires: When it expires: a `datetime` in UTC, seconds from now, or the text of the attribute.
            path: Below which path it is sent back.
            domain: To which domain it is sent back; None for this host alone.
            secure: Whether it is sent back over TLS only.
            httponly: Whether it is kept from scripts.
            samesite: Whether requests from other sites carry it.
            partitioned: Whether it is kept apart for each top-level site; Python 3.14 or later.

        Raises:
            ValueError: A part would end the cookie or the header, or cannot be expressed.
        """
        if samesite is not None and samesite.lower() not in ("lax", "strict", "none"):
            raise ValueError(f"samesite must be either 'strict', 'lax' or 'none', but got {samesite!r}")
        _check_cookie({"value": value}, _CONTROL)
        _check_cookie({"key": key, "path": path, "domain": domain, "expires": expires}, _CONTROL_OR_SEMICOLON)
        cookie = SimpleCookie()
        try:
            cookie[key] = value
        except CookieError as error:
            raise ValueError(f"{key!r} cannot be the name of a cookie: {error}") from error
        if partitioned and "partitioned" not in cookie[key]:
            raise ValueError("Partitioned cookies are only supported in Python 3.14 and above.")
        attributes = {
            "max-age": max_age,
            "expires": format_datetime(expires, usegmt=True) if isinstance(expires, datetime) else expires,
            "path": path,
            "domain": domain,
            "secure": secure,
            "httponly": httponly,
            "samesite": samesite,
            "partitioned": partitioned,
        }
        for name, given in attributes.items():
            if given is not None and given is not False:
                cookie[key][name] = given
        self.raw_headers.append((b"set-cookie", cookie[key].OutputString().encode("latin-1")))

    def delete_cookie(
        self,
        key: str,
        path: str = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Let the client forget a cookie; the arguments must be those that it was set with.

        Args:
            key: As for `set_cookie`, like the others.
            path: See there.
            domain: See there.
            secure: See there.
            httponly: See there.
            samesite: See there.
            partitioned: See there.
        """
        self.set_cookie(key, "", 0, 0, path, domain, secure, httponly, samesite, partitioned)

    def _start(self, scope: Scope, status: int, headers: list[tuple[bytes, bytes]]) -> Message:
        check_headers(headers)
        return {"type": _MESSAGES[scope["type"]].start, "status": status, "headers": headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(self._start(scope, self.status_code, self.raw_headers))
        await send({"type": _MESSAGES[scope["type"]].body, "body": self.body})
        await self._run_background()

    async def _run_background(self) -> None:
        if self.background is not None:
            await self.background()


def _check_cookie(parts: Mapping[str, object], forbidden: re.Pattern[str]) -> None:
    for name, part in parts.items():
        if isinstance(part, str) and forbidden.search(part):
            raise ValueError(
                f"the {name} of a cookie must not contain control characters or end the cookie, but got {part!r}; "
                "encode it, for example with urllib.parse.quote"
            )


class HTMLResponse(Response):
    """A response of HTML."""

    media_type = "text/html"


class PlainTextResponse(Response):
    """A response of plain text."""

    media_type = "text/plain"


class JSONResponse(Response):
    """A response of JSON, compact and in UTF-8.

    Args:
        content: What `json.dumps` takes; NaN and infinities are refused, since JSON has none.
        status_code: As for `Response`, like the others.
        headers: See there.
        media_type: See there.
        background: See there.
    """

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        super().__init__(content, status_code, headers, media_type, background)

    def render(self, content: Any) -> bytes:
        """The content as JSON."""
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class RedirectResponse(Response):
    """A response that sends the client elsewhere.

    Args:
        url: Where to; what may not stand in a URL is percent-encoded.
        status_code: 307 lets the client repeat its method there, 303 lets it GET.
        headers: As for `Response`.
        background: See there.

    Raises:
        ValueError: The URL contains CR, LF or NUL.
    """

    def __init__(
        self,
        url: str | URL,
        status_code: int = 307,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        super().__init__(b"", status_code, headers, background=background)
        check_headers([(b"location", str(url).encode())])
        self.headers["location"] = quote(str(url), safe=":/%#?=@[]!$&'()*+,;")


async def _until_disconnect(scope: Scope, receive: Receive, stream: Callable[[], Awaitable[None]]) -> None:
    """Stream until the end, or until the client has gone.

    From version 2.4 of the ASGI specification on `send` says that the client has gone; before, only `receive` does.
    """
    version = scope.get("asgi", {}).get("spec_version", "2.0")
    if scope["type"] == "websocket" or tuple(map(int, version.split("."))) >= (2, 4):
        await stream()
        return

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await stream()
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # Whoever sends a response expects the error itself, as without a group.
        if len(group.exceptions) > 1:
            raise
        error = group.exceptions[0]
        raise error from error.__cause__


class StreamingResponse(Response):
    """A response whose body is sent piece by piece.

    Args:
        content: An asynchronous iterable of the pieces, or a plain one, which runs in worker threads.
        status_code: As for `Response`, like the others.
        headers: See there; without a `content-length` the server sends the body in chunks.
        media_type: See there.
        background: See there.
    """

    def __init__(
        self,
        content: ContentStream,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        self.body_iterator = content if isinstance(content, AsyncIterable) else iterate_in_threadpool(content)
        self.status_code = status_code
        if media_type is not None:
            self.media_type = media_type
        self.background = background
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _until_disconnect(scope, receive, lambda: self._stream(scope, send))
        await self._run_background()

    async def _stream(self, scope: Scope, send: Send) -> None:
        body = _MESSAGES[scope["type"]].body

        async def send_message(message: Message) -> None:
            try:
                await send(message)
            except OSError as error:
                raise ClientDisconnect("the client has gone before the response was complete") from error

        await send_message(self._start(scope, self.status_code, self.raw_headers))
        try:
            async for piece in self.body_iterator:
                data = piece.encode(self.charset) if isinstance(piece, str) else piece
                await send_message({"type": body, "body": data, "more_body": True})
        finally:
            # Left to the garbage collector, a generator would do its cleaning up who knows when.
            if hasattr(self.body_iterator, "aclose"):
                await self.body_iterator.aclose()
        await send_message({"type": body, "body": b"", "more_body": False})


# One range of bytes: from-to, from-, or -count (RFC 9110 section 14.1.2). The digits are bounded because those of an
# int are.
_RANGE = re.compile(r"\s*bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


class _Unsatisfiable(Exception):
    """No byte of the file is in the range that was asked for."""


def _parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Where the range of a Range header begins and ends in a file of `size` bytes; None where it is to be ignored.

    RFC 9110 section 14.2: a range of another unit must be ignored, and one that is invalid, or several, may be.
    """
    match = _RANGE.fullmatch(header)
    first, last = match.groups() if match else ("", "")
    if not (first or last) or (first and last and int(last) < int(first)):
        return None
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= size:
        raise _Unsatisfiable
    return start, end


class FileResponse(Response):
    """A response with a file, which is read in worker threads while it is sent.

    Answers HEAD without a body, and a request for one range of bytes with that (RFC 9110 section 14).

    Args:
        path: Where the file is.
        status_code: As for `Response`, like the following.
        headers: See there.
        media_type: See there; guessed from the name of the file when left out.
        background: See there.
        filename: The name under which the client is to save the file.
        stat_result: What `os.stat` gives for the file, where it is known.
        content_disposition_type: `"attachment"` to save it, `"inline"` to show it; only with a `filename`.

    Raises:
        RuntimeError: When it is sent: there is no such file, or it is no regular file, or it has become shorter.
    """

    chunk_size = 64 * 1024

    def __init__(
        self,
        path: str | os.PathLike[str],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
        filename: str | None = None,
        stat_result: os.stat_result | None = None,
        content_disposition_type: str = "attachment",
    ) -> None:
        self.path = path
        self.status_code = status_code
        self.media_type = media_type or guess_type(filename or os.fspath(path))[0] or "application/octet-stream"
        self.background = background
        self.filename = filename
        self.stat_result = stat_result
        self.init_headers(headers)
        self.headers.setdefault("accept-ranges", "bytes")
        if filename is not None:
            quoted = quote(filename)
            name = f'filename="{filename}"' if quoted == filename else f"filename*=utf-8''{quoted}"
            self.headers.setdefault("content-disposition", f"{content_disposition_type}; {name}")
        if stat_result is not None:
            _describe_file(self.headers, stat_result)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        result = self.stat_result or await self._stat()
        headers = MutableHeaders(raw=list(self.raw_headers))
        _describe_file(headers, result)
        try:
            part = self._requested_part(scope, headers, result.st_size)
        except _Unsatisfiable:
            refusal = {"content-range": f"bytes */{result.st_size}"}
            await PlainTextResponse(status_code=416, headers=refusal)(scope, receive, send)
            return
        start, end = part or (0, result.st_size)
        if part is not None:
            headers["content-range"] = f"bytes {start}-{end - 1}/{result.st_size}"
            headers["content-length"] = str(end - start)
        start_message = self._start(scope, self.status_code if part is None else 206, headers.raw)
        if scope.get("method", "").upper() == "HEAD":
            await send(start_message)
            await send({"type": _MESSAGES[scope["type"]].body, "body": b"", "more_body": False})
        else:
            await _until_disconnect(scope, receive, lambda: self._send_file(scope, send, start_message, start, end))
        await self._run_background()

    async def _stat(self) -> os.stat_result:
        try:
            result = await anyio.to_thread.run_sync(os.stat, self.path)
        except FileNotFoundError:
            raise RuntimeError(f"File at path {self.path} does not exist.") from None
        if not stat.S_ISREG(result.st_mode):
            raise RuntimeError(f"File at path {self.path} is not a file.")
        return result

    def _requested_part(self, scope: Scope, headers: Headers, size: int) -> tuple[int, int] | None:
        if self.status_code != 200 or scope.get("method", "").upper() not in ("GET", "HEAD"):
            return None
        asked = Headers(scope=scope)
        # RFC 9110 section 13.1.5: the range counts only for the very file that the client has a part of.
        condition = asked.get("if-range")
        unchanged = condition is None or condition in (headers["last-modified"], headers["etag"])
        if "range" not in asked or not unchanged or (condition or "").startswith("W/"):
            return None
        return _parse_range(asked["range"], size)

    async def _send_file(self, scope: Scope, send: Send, start_message: Message, start: int, end: int) -> None:
        body = _MESSAGES[scope["type"]].body
        await send(start_message)
        file = await anyio.open_file(self.path, mode="rb")
        try:
            await file.seek(start)
            more = True
            while more:
                data = await file.read(min(self.chunk_size, end - start))
                if not data and start < end:
                    raise RuntimeError(f"File at path {self.path} is shorter than expected.")
                start += len(data)
                more = start < end
                await send({"type": body, "body": data, "more_body": more})
        finally:
            # Closing takes a thread, which a cancelled task would not wait for.
            with anyio.CancelScope(shield=True):
                await file.aclose()


def _describe_file(headers: MutableHeaders, result: os.stat_result) -> None:
    headers.setdefault("content-length", str(result.st_size))
    headers.setdefault("last-modified", formatdate(result.st_mtime, usegmt=True))
    headers.setdefault("etag", f'"{result.st_mtime_ns:x}-{result.st_size:x}"')
