"""The response with a file, whole or one range of it."""

from __future__ import annotations

import os
import re
import stat
from email.utils import formatdate
from mimetypes import guess_type
from typing import TYPE_CHECKING
from urllib.parse import quote

import anyio
import anyio.to_thread

from trunkline.datastructures import Headers, MutableHeaders
from trunkline.responses.base import MESSAGES, PlainTextResponse, Response
from trunkline.responses.streaming import until_disconnect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.background import BackgroundTask
    from trunkline.types import Message, Receive, Scope, Send

__all__ = ["FileResponse"]

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
            quoted = quote(filename, errors="replace")
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
            await send({"type": MESSAGES[scope["type"]].body, "body": b"", "more_body": False})
        else:
            await until_disconnect(scope, receive, lambda: self._send_file(scope, send, start_message, start, end))
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
        body = MESSAGES[scope["type"]].body
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
