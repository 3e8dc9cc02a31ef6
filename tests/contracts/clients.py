"""The clients of the contract suite: in memory, the `websockets` library, Node's `ws`.

A client runs one case and returns its outcome. The first two share `drive`; Node has its twin of it in
`node/client.mjs`. What differs between clients (how each reports the code of its own close) is not in an outcome.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import queue
import shutil
import subprocess
import threading
import uuid
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar

import websockets
from websockets.asyncio.client import ClientConnection, connect as connect_socket

from tests.contracts.application import app as the_suites
from tests.contracts.script import SECONDS, Case, Outcome, Step, brief
from tests.support import unavailable
from trunkline import HTTPException, WebSocketDisconnect, WebSocketException, testing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from contextlib import AbstractAsyncContextManager

    from trunkline.types import ASGIApp

__all__ = ["Client", "MemoryClient", "NodeClient", "WebsocketsClient"]

T = TypeVar("T")
Headers = list[tuple[str, str]]


class Client(Protocol):
    """Runs one case against a server at `host:port`."""

    name: str

    def run(self, case: Case, host: str) -> Outcome: ...


class RefusedError(Exception):
    """The handshake was answered with an HTTP response."""

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], body: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = own_headers(headers)
        self.body = body


class EndedError(Exception):
    """The connection has ended."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.close = (code, reason)


def own_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers that the application set: those of the suite begin with `x-`."""
    return tuple((name.lower(), value) for name, value in headers if name.lower().startswith("x-"))


class Connection(Protocol):
    """An open connection, whatever the client."""

    subprotocol: str | None
    headers: tuple[tuple[str, str], ...]

    async def send(self, data: str | bytes) -> None: ...

    async def message(self) -> str | bytes:
        """The next message; raises `EndedError` after the last."""

    async def close(self, code: int | None, reason: str) -> None:
        """Begin the closing handshake; return when the connection has ended."""

    async def drop(self) -> None:
        """End it without a close frame."""


class Opener(Protocol):
    """Connects to a path; raises `RefusedError`."""

    def __call__(
        self, path: str, headers: Headers = ..., subprotocols: tuple[str, ...] = ...
    ) -> AbstractAsyncContextManager[Connection]: ...


async def within(awaitable: Awaitable[T], what: str) -> T:
    """Wait for something, and say what it was when it does not come."""
    try:
        async with asyncio.timeout(SECONDS):
            return await awaitable
    except TimeoutError:
        raise TimeoutError(f"waited {SECONDS} s for {what}") from None


class _Player:
    """The steps of one case on one connection; like Node's client it reads all the time."""

    def __init__(self, connect: Opener, connection: Connection, key: str) -> None:
        self.connect = connect
        self.connection = connection
        self.key = key
        self.received: list[str | bytes] = []
        self.news: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.mine = False
        self.ended: asyncio.Task[tuple[int, str]] = asyncio.create_task(self.read())
        self.closing: asyncio.Task[None] | None = None

    async def read(self) -> tuple[int, str]:
        while True:
            try:
                self.news.put_nowait(await self.connection.message())
            except EndedError as exc:
                self.news.put_nowait(None)
                return exc.close

    async def send(self, step: Step) -> None:
        assert step.data is not None
        await self.connection.send(step.data)

    async def receive(self, step: Step) -> None:
        for number in range(step.number):
            message = await within(self.news.get(), f"message {number + 1} of {step.number}")
            assert message is not None, f"the connection ended before message {number + 1} of {step.number}"
            self.received.append(message)

    async def close(self, step: Step) -> None:
        self.mine = True
        self.closing = asyncio.create_task(self.connection.close(step.code, step.reason))
        await asyncio.sleep(0)  # the close frame is written before the next step

    async def drop(self, step: Step) -> None:
        self.mine = True
        await self.connection.drop()

    async def end(self, step: Step | None = None) -> tuple[int, str]:
        return await within(asyncio.shield(self.ended), "the end of the connection")

    async def gate(self, step: Step) -> None:
        async with self.connect(f"/gate/{self.key}") as connection:
            with contextlib.suppress(EndedError):
                await within(connection.message(), "the gate")

    async def play(self, steps: Iterable[Step]) -> None:
        for step in steps:
            await getattr(self, step.do)(step)
        await self.end()
        if self.closing is not None:
            await within(self.closing, "the closing handshake")
        while (message := self.news.get_nowait()) is not None:
            self.received.append(message)


async def drive(connect: Opener, case: Case, host: str) -> Outcome:
    """Run a case through any client that is an `Opener`."""
    key = uuid.uuid4().hex
    try:
        async with connect(case.path, case.request_headers(host, key), case.subprotocols) as connection:
            player = _Player(connect, connection, key)
            try:
                await player.play(case.steps)
            finally:
                player.ended.cancel()
            outcome = Outcome(
                subprotocol=connection.subprotocol,
                headers=connection.headers,
                received=tuple(brief(message) for message in player.received),
                closed=None if player.mine else player.ended.result(),
                seen=await notes(connect, case, key),
            )
    except RefusedError as exc:
        seen = await notes(connect, case, key)
        return Outcome(refused=exc.status, body=case.body_of(exc.body), headers=exc.headers, seen=seen)
    return outcome


async def notes(connect: Opener, case: Case, key: str) -> tuple[str, ...]:
    """What the endpoint noted, once it has ended."""
    if not case.reached:
        return ()
    async with connect(f"/seen/{key}") as connection:
        return tuple(json.loads(await within(connection.message(), "the notes of the endpoint")))


class _Socket:
    """A connection of the `websockets` library."""

    def __init__(self, connection: ClientConnection) -> None:
        assert connection.response is not None
        self.raw = connection
        self.subprotocol = connection.subprotocol
        self.headers = own_headers(connection.response.headers.raw_items())

    async def send(self, data: str | bytes) -> None:
        await self.raw.send(data)

    async def message(self) -> str | bytes:
        try:
            return await self.raw.recv()
        except websockets.ConnectionClosed:
            assert self.raw.close_code is not None
            raise EndedError(self.raw.close_code, self.raw.close_reason or "") from None

    async def close(self, code: int | None, reason: str) -> None:
        await self.raw.close(code, reason)  # type: ignore[arg-type]  # None: a close frame without a code

    async def drop(self) -> None:
        self.raw.transport.abort()


class WebsocketsClient:
    """The `websockets` library."""

    name = "websockets"

    def run(self, case: Case, host: str) -> Outcome:
        @contextlib.asynccontextmanager
        async def connect(path: str, headers: Headers = [], subprotocols: tuple[str, ...] = ()) -> Any:  # noqa: B006
            options: dict[str, Any] = {"proxy": None, "max_size": None, "subprotocols": list(subprotocols) or None}
            try:
                raw = await connect_socket(f"ws://{host}{path}", additional_headers=headers, **options)
            except websockets.InvalidStatus as exc:
                response = exc.response
                body = (response.body or b"").decode()
                raise RefusedError(response.status_code, response.headers.raw_items(), body) from None
            try:
                yield _Socket(raw)
            finally:
                raw.transport.abort()

        return asyncio.run(drive(connect, case, host))


class _InMemory:
    """A connection of `trunkline.testing`."""

    def __init__(self, peer: testing.Peer) -> None:
        self.peer = peer
        self.subprotocol = peer.accepted_subprotocol
        self.headers = own_headers(_decoded_headers(peer.headers))

    async def send(self, data: str | bytes) -> None:
        await (self.peer.send_text(data) if isinstance(data, str) else self.peer.send_bytes(data))

    async def message(self) -> str | bytes:
        try:
            return await self.peer.receive()
        except WebSocketDisconnect as exc:
            raise EndedError(exc.code, exc.reason) from None

    async def close(self, code: int | None, reason: str) -> None:
        await self.peer.close(1005 if code is None else code, reason)

    async def drop(self) -> None:
        self.peer.drop()


class MemoryClient:
    """`trunkline.testing`, which is client and server in one: a strict server without deviations."""

    name = "memory"

    def __init__(self, app: ASGIApp = the_suites) -> None:
        self.app = app

    def run(self, case: Case, host: str) -> Outcome:
        return asyncio.run(self._run(case, host))

    async def _run(self, case: Case, host: str) -> Outcome:
        async with testing.lifespan(self.app, timeout=SECONDS) as state:

            @contextlib.asynccontextmanager
            async def connect(path: str, headers: Headers = [], subprotocols: tuple[str, ...] = ()) -> Any:  # noqa: B006
                peer = testing.connect(
                    self.app,
                    f"ws://{host}{path}",
                    headers=headers,
                    subprotocols=subprotocols,
                    timeout=SECONDS,
                    state=state,
                )
                try:
                    await peer.__aenter__()
                except testing.WebSocketDenied as exc:
                    raise RefusedError(exc.status, _decoded_headers(exc.headers), exc.body.decode()) from None
                except RuntimeError:
                    raise RefusedError(500, (), "") from None  # as a server answers for an application that fails
                try:
                    yield _InMemory(peer)
                finally:
                    # How the endpoint ended is in its notes.
                    with contextlib.suppress(*NOTED):
                        await peer.__aexit__(None, None, None)

            return await drive(connect, case, host)


NOTED = (RuntimeError, KeyError, ValueError, HTTPException, WebSocketException, ExceptionGroup)


def _decoded_headers(headers: Any) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw]


def _encoded(step: Step) -> dict[str, Any]:
    fields = step._asdict()
    data = fields.pop("data")
    if isinstance(data, bytes):
        return fields | {"bytes": base64.b64encode(data).decode()}
    return fields | {"text": data}


def _decoded(message: Any) -> Any:
    return brief(base64.b64decode(message["bytes"]) if isinstance(message, dict) else message)


class NodeClient:
    """Node's `ws`, in one process that runs a case per line."""

    name = "ws"

    def __init__(self) -> None:
        folder = Path(__file__).parent / "node"
        node = shutil.which("node")
        if node is None or not (folder / "node_modules" / "ws").is_dir():
            unavailable("Node's `ws` is not there: run scripts/test once, which installs it")
        self.process = subprocess.Popen(
            [node, str(folder / "client.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.lines: queue.Queue[str] = queue.Queue()
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self.lines.put(line)
        self.lines.put("")

    def run(self, case: Case, host: str) -> Outcome:
        key = uuid.uuid4().hex
        given = {
            "url": f"ws://{host}{case.path}",
            "gate": f"ws://{host}/gate/{key}",
            "seen": f"ws://{host}/seen/{key}",
            "reached": case.reached,
            "headers": case.request_headers(host, key),
            "subprotocols": case.subprotocols,
            "steps": [_encoded(step) for step in case.steps],
            "seconds": SECONDS,
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(given) + "\n")
        self.process.stdin.flush()
        try:
            line = self.lines.get(timeout=SECONDS * 5)
        except queue.Empty:
            raise AssertionError(f"Node's client has not answered in {SECONDS * 5} s") from None
        assert line, f"Node's client has ended with {self.process.wait(SECONDS)}"
        answer = json.loads(line)
        if "timeout" in answer:
            raise TimeoutError(answer["timeout"])
        assert "error" not in answer, answer["error"]
        if "body" in answer:
            answer["body"] = case.body_of(answer["body"])
        for name, convert in _FIELDS.items():
            if answer.get(name) is not None:
                answer[name] = tuple(convert(item) for item in answer[name])
        return Outcome(**answer)

    def stop(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(SECONDS)
        self.reader.join(SECONDS)
        self.process.stdout.close()


_FIELDS: dict[str, Any] = {"headers": tuple, "received": _decoded, "closed": lambda item: item, "seen": str}
