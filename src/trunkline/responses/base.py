"""Responses whose body is known when they are made."""

from __future__ import annotations

import functools
import json
import re
from datetime import datetime
from email.utils import format_datetime
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

from trunkline.datastructures import URL, MutableHeaders, check_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.background import BackgroundTask
    from trunkline.types import Message, Receive, Scope, Send

__all__ = ["HTMLResponse", "JSONResponse", "PlainTextResponse", "RedirectResponse", "Response"]

SameSite = Literal["lax", "strict", "none"]


class _Messages(NamedTuple):
    start: str
    body: str


MESSAGES: Mapping[str, _Messages] = {
    "http": _Messages("http.response.start", "http.response.body"),
    "websocket": _Messages("websocket.http.response.start", "websocket.http.response.body"),
}


@functools.lru_cache(128)
def _content_type(media_type: str, charset: str) -> tuple[bytes, bytes]:
    is_bare_text = media_type.startswith("text/") and "charset=" not in media_type.lower()
    value = f"{media_type}; charset={charset}" if is_bare_text else media_type
    header = (b"content-type", value.encode("latin-1"))
    check_headers((header,))
    return header


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
        raw = MutableHeaders(headers).raw
        check_headers(raw)
        given = dict(raw)
        body = getattr(self, "body", None)
        # RFC 9110 section 8.6: 1xx and 204 have no Content-Length, and that of a 304 is of the body it stands for.
        has_length = body is not None and self.status_code >= 200 and self.status_code not in (204, 304)
        if has_length and b"content-length" not in given:
            raw.append((b"content-length", b"%d" % len(self.body)))
        if self.media_type is not None and b"content-type" not in given:
            raw.append(_content_type(self.media_type, self.charset))
        self.raw_headers = raw

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
        return {"type": MESSAGES[scope["type"]].start, "status": status, "headers": headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(self._start(scope, self.status_code, self.raw_headers))
        await send({"type": MESSAGES[scope["type"]].body, "body": self.body})
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
    """

    def __init__(
        self,
        url: str | URL,
        status_code: int = 307,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        super().__init__(b"", status_code, headers, background=background)
        self.headers["location"] = quote(str(url), safe=":/%#?=@[]!$&'()*+,;", errors="surrogatepass")
