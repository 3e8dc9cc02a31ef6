"""`trunkline connect`: talk to a WebSocket server, by hand or from a pipe.

Two tasks share the connection: one prints what comes, one sends the lines of standard input. Whichever ends first
ends the other: the server has closed, or the input is at its end and the time for answers is over. Messages go to
standard output and nothing else does, so that a pipe sees the messages alone; the rest goes to standard error.

Standard input is read by a daemon thread, because no event loop can wait for every kind of input (a file, a pipe, a
Windows console). It reads a line when one is asked for, and is left behind, blocked, when the connection ends first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import ssl
import sys
import threading
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)

import trunkline
from trunkline.cli.loading import CommandError
from trunkline.status import close_code_name

if TYPE_CHECKING:
    import io
    from collections.abc import AsyncIterator, Sequence

__all__ = ["main"]

OPEN_TIMEOUT = 10.0
SEND_TIMEOUT = 30.0
CLOSE_TIMEOUT = 3.0
MAX_MESSAGE = 64 * 2**20
CLEAN = frozenset({1000, 1001, 1005})

HINTS = {
    401: "it wants credentials: --header 'Authorization: Bearer ...'",
    403: "no WebSocket route has this path, the Origin is not allowed (--header 'Origin: https://...'), or the "
    "application refused",
    404: "nothing is at this path, or the server does not speak WebSocket there",
    426: "the server wants another protocol version",
    429: "too many connections; try later",
    503: "the server is at its limit or about to end; try later",
}


def _say(text: str) -> None:
    print(_visible(text), file=sys.stderr, flush=True)


def _visible(text: str) -> str:
    """Text without the control characters by which a peer could steer the terminal (ESC, and C1 from 0x80)."""
    return "".join(c if c in "\n\t" or c.isprintable() or c == "\N{NO-BREAK SPACE}" else repr(c)[1:-1] for c in text)


# --- printing -------------------------------------------------------------------------------------------------------


def hex_dump(data: bytes) -> str:
    """The bytes, sixteen to a line: offset, hexadecimal, and the printable ASCII among them."""
    lines = []
    for start in range(0, len(data), 16):
        part = data[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):47}  {text}")
    return "\n".join(lines)


def _pretty(text: str) -> tuple[str, str]:
    try:
        return "json", json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "text", text


def shown(message: str | bytes, *, terminal: bool) -> str:
    """A message as it is printed.

    Args:
        message: What came from the server.
        terminal: With the time, the type and indented JSON, for a reader; otherwise text as it came, for a program.
    """
    if isinstance(message, bytes):
        kind, text = f"binary, {len(message)} byte{'' if len(message) == 1 else 's'}", hex_dump(message)
    elif not terminal:
        return message
    else:
        kind, text = _pretty(message)
    if terminal:
        kind = f"{datetime.now():%H:%M:%S.%f}"[:-3] + f"  {kind}"
    separator = "\n" if "\n" in text or isinstance(message, bytes) else "  "
    return f"{kind}{separator}{_visible(text)}"


# --- the two tasks --------------------------------------------------------------------------------------------------


class Lines:
    """The lines of standard input, each read when it is asked for, ending at the end of the input."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._wanted = threading.Semaphore(0)
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        # An own file object: the interpreter waits at its end for whoever reads `sys.stdin`.
        try:
            with open(0, "rb", closefd=False) as lines:
                while self._wanted.acquire() and self._give(lines.readline()):
                    pass
        except OSError:  # closed or not readable: the same as its end
            self._give(b"")

    def _give(self, line: bytes) -> bool:
        """Hand over a line, empty at the end of the input; whether another one may be asked for."""
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, line)
        except RuntimeError:  # the loop has ended, and with it the interest in the input
            return False
        return bool(line)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._wanted.release()
        while line := await self._queue.get():
            yield line.rstrip(b"\r\n")
            self._wanted.release()


async def _send_lines(connection: ClientConnection, wait: float) -> str | None:
    """Send every line, and wait for the answers; what went wrong, or None."""
    try:
        async for line in Lines():
            await _send(connection, line)
        await asyncio.sleep(wait)
    except TimeoutError:
        return f"the server has not read for {SEND_TIMEOUT:g} s"
    except ConnectionClosed:  # its code tells more
        pass
    return None


async def _send(connection: ClientConnection, line: bytes) -> None:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        _say(f"line not sent: expected UTF-8, but {error.reason} at byte {error.start}")
        return
    async with asyncio.timeout(SEND_TIMEOUT):
        await connection.send(text)


async def _print_messages(connection: ClientConnection) -> str | None:
    """Print every message; what went wrong, or None."""
    terminal = sys.stdout.isatty()
    try:
        async for message in connection:
            print(shown(message, terminal=terminal), flush=True)
    except ConnectionClosed:  # its code tells more
        pass
    except OSError as error:
        # What is still in the buffer would fail again when the interpreter flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A reader of ours that has gone has seen enough.
        return None if isinstance(error, BrokenPipeError) else f"the output failed: {error.strerror}"
    return None


async def _discard(connection: ClientConnection) -> None:
    try:
        async for _ in connection:
            pass
    except ConnectionClosed:
        pass


async def _close(connection: ClientConnection) -> None:
    """Close, and abort where the peer does not answer, or does not even read the close frame behind what waits."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            # What still comes is read and dropped: the answering close frame stands in line behind it.
            await asyncio.gather(connection.close(), _discard(connection))
    except TimeoutError:
        connection.transport.abort()
        await connection.wait_closed()


async def _converse(connection: ClientConnection, wait: float) -> str | None:
    """Run both tasks until one ends; what went wrong, or None."""
    tasks = [asyncio.create_task(_print_messages(connection)), asyncio.create_task(_send_lines(connection, wait))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:  # Ctrl-C, which asyncio.run turns into this: close as one does
        pass
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await _close(connection)
    troubles = [task.result() for task in tasks if not task.cancelled()]
    return next(filter(None, troubles), None)


# --- the command ----------------------------------------------------------------------------------------------------


def _refusal(error: Exception) -> str:
    """Why there is no connection, in words."""
    match error:
        case InvalidStatus():
            status = error.response.status_code
            phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
            body = (error.response.body or b"").decode("utf-8", "replace").strip()[:500]
            lines = [f"refused: HTTP {status} {phrase}".rstrip(), body, HINTS.get(status, "")]
            return "\n".join(line for line in lines if line)
        case InvalidMessage():
            return f"no HTTP answer: {error}; is it a WebSocket server, and ws:// or wss:// as it should be?"
        case InvalidHandshake():
            return f"the handshake failed: {error}"
        case TimeoutError():
            return f"no answer in {OPEN_TIMEOUT:g} s"
        case ConnectionRefusedError():
            return "nothing listens there"
        case ConnectionError():
            return "the server closed the connection before it answered"
        case socket.gaierror():
            return f"unknown host: {error.strerror}"
        case ssl.SSLError():
            return f"no TLS connection: {error.reason or error}"
    return f"no connection: {error}"


async def _talk(url: str, headers: Sequence[tuple[str, str]], subprotocols: Sequence[str], wait: float) -> int:
    try:
        connection = await connect(
            url,
            additional_headers=headers,
            subprotocols=subprotocols or None,  # type: ignore[arg-type]
            user_agent_header=f"trunkline/{trunkline.__version__}",
            open_timeout=OPEN_TIMEOUT,
            close_timeout=None,  # `_close` bounds it
            max_size=MAX_MESSAGE,
        )
    except (InvalidHandshake, OSError, TimeoutError) as error:
        _say(f"{url}: {_refusal(error)}")
        return 1
    _say(f"connected to {url}" + (f", subprotocol {connection.subprotocol}" if connection.subprotocol else ""))
    trouble = await _converse(connection, wait)
    code, reason = connection.close_code, connection.close_reason
    assert code is not None
    _say(f"closed: {code} ({close_code_name(code)})" + (f": {reason}" if reason else ""))
    if trouble:
        _say(trouble)
    return 0 if code in CLEAN and not trouble else 1


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"expected 'Name: value', but got {text!r}")
    return name.strip(), value.strip()


def _url(text: str) -> str:
    if not text.startswith(("ws://", "wss://")):
        scheme, separator, rest = text.partition("://")
        secure = "s" if scheme == "https" else ""
        raise argparse.ArgumentTypeError(f"expected ws:// or wss://; write ws{secure}://{rest if separator else text}")
    return text


def _seconds(text: str) -> float:
    if not 0 <= float(text) <= 86400:
        raise argparse.ArgumentTypeError(f"expected 0 to 86400 seconds, but got {text}")
    return float(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trunkline connect",
        description="Talk to a WebSocket server: lines of input are sent, messages are printed.",
        epilog="Exit code: 0 after a clean close, 1 if refused or lost, 2 for wrong options. Ctrl-D and Ctrl-C close.",
    )
    parser.add_argument("url", type=_url, help="ws://host:port/path or wss://...")
    parser.add_argument(
        "--header", type=_header, action="append", default=[], metavar="'NAME: VALUE'", help="repeatable"
    )
    parser.add_argument("--subprotocol", action="append", default=[], metavar="NAME", help="in order of preference")
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="how long to wait for answers after the end of piped input (default: %(default)s)",
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Connect, talk, and tell how it ended; 1 if the connection was refused or lost."""
    options = _parser().parse_args(arguments)
    wait = 0.0 if os.isatty(0) else options.wait
    # A message may hold what the encoding of the terminal lacks.
    cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")
    try:
        return asyncio.run(_talk(options.url, options.header, options.subprotocol, wait))
    except InvalidURI as error:
        raise CommandError(str(error)) from None
    except ValueError as error:  # a name or value that cannot stand in an HTTP request
        raise CommandError(f"the request cannot be sent: {error}") from None
