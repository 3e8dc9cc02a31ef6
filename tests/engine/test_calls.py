"""The application's calls: one that returns and leaves its connection to the Line, and those that go on with it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.client_frames import text
from tests.engine.heads import raw_request
from tests.engine.memory import Peer, Records, run, settle
from trunkline.engine import EngineSettings, WebSocketProtocol
from trunkline.engine.calls import TASK_NAME

if TYPE_CHECKING:
    from trunkline.line import Line
    from trunkline.types import Receive, Scope, Send

who = contextvars.ContextVar("who", default="nobody")


class Echo:
    """An application that answers in callbacks, and goes on with a coroutine where a message asks for one."""

    line: Line

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.returns: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        self.line = scope["extensions"]["trunkline.line"]["line"]
        await receive()
        await send({"type": "websocket.accept"})
        self.line.detach(self.come)
        return self.returns

    def come(self) -> None:
        while (message := self.line.take()) is not None:
            call = getattr(self, str(message), None)
            if call is not None:
                self.line.resume(call())
                return
            self.line.write_text(f"{message!s}!")
        self.line.take_all()
        if self.line.closed is not None:
            self.log.append(self.line.closed.code)
            self.line.resume(self.end())

    async def end(self) -> None:
        self.log.append("ended")

    async def again(self) -> None:
        await asyncio.sleep(1)
        self.log.append(asyncio.current_task())
        self.line.detach(self.come)

    async def leave(self) -> None:
        self.log.append("left")

    async def fail(self) -> None:
        raise LookupError("what was looked for")

    async def fail_detached(self) -> None:
        self.line.detach(self.come)
        raise LookupError("what was looked for")

    async def stay(self) -> None:
        await asyncio.Event().wait()


async def opened(app: Any = None, **options: Any) -> tuple[Peer, Any]:
    app = Echo() if app is None else app
    peer = Peer(app, **options)
    await peer.connect()
    return peer, app


def test_a_connection_stays_open_behind_its_call_and_has_no_task() -> None:
    async def test() -> None:
        before = asyncio.all_tasks()
        peer, app = await opened()
        assert peer.status == 101
        assert (asyncio.all_tasks(), peer.state.tasks) == (before, set())
        assert len(peer.state.connections) == 1
        peer.send(text("a"), text("b"))
        assert peer.protocol._connection.buffered == len(b"\x81\x02a!\x81\x02b!"), "answered inside the read"
        await settle()
        assert peer.messages() == ["a!", "b!"]
        peer.close(4001)
        assert app.log == [4001]
        await settle()
        assert app.log == [4001, "ended"]
        assert peer.close_frame() == (4001, "")
        assert (peer.state.connections, peer.state.tasks) == (set(), set())

    run(test())


def test_what_came_before_it_returns_is_told_of_soon_after() -> None:
    async def test() -> None:
        app = Echo()
        peer = Peer(app)
        peer.protocol.connection_made(peer.transport)
        peer.transport.feed(raw_request())
        peer.transport.feed(text("early"))
        await settle()
        peer.take_head()
        assert peer.messages() == ["early!"]

    run(test())


def test_a_call_goes_on_as_the_applications_and_may_leave_the_connection_again() -> None:
    async def test() -> None:
        peer, app = await opened()
        peer.send(text("again"), text("behind"))
        (task,) = peer.state.tasks
        assert task.get_name() == TASK_NAME
        assert peer.messages() == [], "nobody is called back while a call goes on"
        await asyncio.sleep(1)
        await settle()
        assert app.log == [task]
        assert peer.state.tasks == set()
        assert peer.messages() == ["behind!"]

    run(test())


def test_a_call_goes_on_in_the_context_that_is_given_or_in_a_copy() -> None:
    class Listening(Echo):
        async def see(self) -> None:
            self.log.append(who.get())
            who.set("changed")
            self.line.detach(self.come)

        def come(self) -> None:
            if self.line.take() == "given":
                self.line.resume(self.see(), given)
            elif self.line.closed is None:
                self.line.resume(self.see())

    given = contextvars.copy_context()
    given.run(who.set, "given")

    async def test() -> None:
        peer, app = await opened(Listening())
        for message in ("given", "copied", "given"):
            peer.send(text(message))
            await settle()
        assert app.log == ["given", "nobody", "changed"]

    run(test())


def test_the_connection_ends_with_a_call_that_does_not_leave_it_open() -> None:
    async def test() -> None:
        peer, app = await opened()
        peer.send(text("leave"))
        await settle()
        assert app.log == ["left"]
        assert peer.transport.eof
        assert not peer.protocol._connection.detached

    run(test())


def test_reading_goes_on_where_a_call_has_taken_the_last_message() -> None:
    class Last(Echo):
        def come(self) -> None:
            if self.line.take() is not None:
                self.line.resume(self.again())

    class Narrow(WebSocketProtocol):
        settings = EngineSettings(inbound_messages=1)

    async def test() -> None:
        peer, _ = await opened(Last(), protocol=Narrow)
        paused = []
        peer.transport.pause_reading = lambda: paused.append(True)
        peer.transport.resume_reading = lambda: paused.append(False)
        peer.send(text("a"), text("b"))
        await asyncio.sleep(1.1)
        await asyncio.sleep(1.1)
        assert paused == [True, False]

    run(test())


@pytest.mark.parametrize("how", ["fail", "fail_detached"])
def test_an_error_of_a_call_is_logged_and_ends_the_connection(log: Records, how: str) -> None:
    async def test() -> None:
        peer, app = await opened()
        peer.send(text(how))
        await settle()
        (record,) = [record for record in log.records if record.levelno == logging.ERROR]
        assert (record.getMessage(), record.exc_info[0]) == ("Exception in ASGI application\n", LookupError)  # type: ignore[index]
        assert peer.transport.eof
        assert app.log == [], "who is told of no end: the error was it"

    run(test())


def test_a_call_that_returns_something_has_not_left_the_connection_open(log: Records) -> None:
    async def test() -> None:
        app = Echo()
        app.returns = "something"
        peer, _ = await opened(app)
        assert log.texts(logging.ERROR) == ["ASGI callable should return None, but returned 'something'."]
        assert peer.transport.eof

    run(test())


def test_a_call_that_has_not_accepted_has_nothing_to_leave_open(log: Records) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["trunkline.line"]["line"].detach(lambda: None)

    async def test() -> None:
        peer, _ = await opened(app)
        assert peer.status == 500
        assert log.texts(logging.ERROR) == ["ASGI callable returned without completing handshake."]

    run(test())


def test_only_a_detached_connection_is_gone_on_with() -> None:
    async def test() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            line = scope["extensions"]["trunkline.line"]["line"]
            await send({"type": "websocket.accept"})
            with pytest.raises(RuntimeError, match="was not detached"):
                line.resume(never())
            await receive()
            await receive()

        async def never() -> None:
            raise AssertionError

        peer, _ = await opened(app)
        assert peer.status == 101
        assert not peer.transport.eof

    run(test())


def test_a_shutdown_closes_what_is_detached_and_waits_for_its_end() -> None:
    class Slow(Echo):
        async def end(self) -> None:
            await asyncio.sleep(2)
            await super().end()

    async def test() -> None:
        peer, app = await opened(Slow())
        peer.protocol.shutdown()
        assert peer.close_frame() == (1012, "")
        assert (app.log, len(peer.state.tasks)) == ([1012], 1)
        peer.close(1012)
        await asyncio.sleep(2.1)
        assert app.log == [1012, "ended"]
        assert (peer.state.connections, peer.state.tasks) == (set(), set())

    run(test())


def test_at_the_deadline_a_call_that_goes_on_is_cancelled(log: Records) -> None:
    async def test() -> None:
        peer, _ = await opened(timeout_graceful_shutdown=3)
        peer.send(text("stay"))
        (task,) = peer.state.tasks
        peer.protocol.shutdown()
        await asyncio.sleep(3.1)
        assert task.cancelled()
        assert (peer.state.connections, peer.state.tasks) == (set(), set())
        (warning,) = log.texts(logging.WARNING)
        assert warning.endswith("the handler has not ended in time and is cancelled.")

    run(test())


@pytest.mark.parametrize("end", ["client", "loss", "call"])
def test_what_has_ended_is_free_without_the_garbage_collector(end: str) -> None:
    async def test() -> None:
        peer, app = await opened(ws_ping_interval=5)
        peer.send(text("a"))
        if end == "client":
            peer.close()
        elif end == "loss":
            peer.transport.abort()
        else:
            peer.send(text("leave"))
        await settle()
        peer.transport.abort()
        await settle()
        gone = weakref.ref(peer.protocol)
        peer.transport.protocol = None
        del app.line
        gc.collect()
        gc.disable()
        try:
            del peer.protocol
            assert gone() is None, f"held by {gc.get_referrers(gone())}"
        finally:
            gc.enable()

    run(test())
