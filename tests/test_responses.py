"""The responses, on asyncio and trio; side by side with Starlette's where the behaviour is claimed equal."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import anyio
import anyio.lowlevel
import pytest
import starlette.responses as reference
from hypothesis import given, strategies as st

import trunkline.responses as ours
from trunkline.background import BackgroundTask
from trunkline.datastructures import URL, Headers
from trunkline.requests import ClientDisconnect
from trunkline.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from trunkline.responses import ContentStream
    from trunkline.types import ASGIApp, Message, Scope

pytestmark = pytest.mark.anyio


def scope(method: str = "GET", headers: dict[str, str] | None = None, spec_version: str = "2.4") -> Scope:
    return {"type": "http", "method": method, "headers": Headers(headers).raw, "asgi": {"spec_version": spec_version}}


WEBSOCKET: Scope = {"type": "websocket", "headers": [], "asgi": {"spec_version": "2.4"}}


async def no_receive() -> Message:
    raise AssertionError("nothing is received")


async def messages_of(response: ASGIApp, of: Scope | None = None) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with anyio.fail_after(5):
        await response(of or scope(), no_receive, send)
    return sent


class Answer:
    """What a client makes of the messages of a response."""

    def __init__(self, messages: list[Message]) -> None:
        start, *bodies = messages
        assert all(message["more_body"] for message in bodies[:-1])
        assert not bodies[-1].get("more_body")
        self.status = start["status"]
        self.headers = Headers(raw=start["headers"])
        self.body = b"".join(bytes(message["body"]) for message in bodies)


async def answer_of(response: ASGIApp, of: Scope | None = None) -> Answer:
    return Answer(await messages_of(response, of))


# The whole body at once


KINDS = st.sampled_from(["Response", "PlainTextResponse", "HTMLResponse"])
CONTENT = (
    st.none() | st.text(max_size=5) | st.binary(max_size=5) | st.binary(max_size=8).map(lambda b: memoryview(b)[::2])
)
GIVEN_HEADERS = st.none() | st.dictionaries(
    st.sampled_from(["X-A", "Content-Type", "content-length"]), st.text("abc é", max_size=3), max_size=3
)
MEDIA_TYPES = st.none() | st.sampled_from(["text/csv", "text/csv; Charset=latin-1", "image/png"])
STATUSES = st.sampled_from([100, 200, 204, 304, 404])


@given(KINDS, CONTENT, STATUSES, GIVEN_HEADERS, MEDIA_TYPES, st.sampled_from([scope(), WEBSOCKET]))
def test_a_response_sends_what_starlettes_sends(
    kind: str,
    content: Any,
    status_code: int,
    headers: dict[str, str] | None,
    media_type: str | None,
    of: Scope,
) -> None:
    def messages(module: Any) -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        response = getattr(module, kind)(content, status_code, headers, media_type)
        with pytest.raises(StopIteration):
            response(of, no_receive, send).send(None)
        return sent

    assert messages(ours) == messages(reference)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
)


@given(JSON)
def test_json_is_written_as_starlette_writes_it(content: Any) -> None:
    assert JSONResponse(content).body == reference.JSONResponse(content).body
    assert JSONResponse(content).raw_headers == reference.JSONResponse(content).raw_headers


def test_json_refuses_what_json_has_not() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        JSONResponse(float("nan"))


def test_content_of_another_kind_is_refused_in_words() -> None:
    with pytest.raises(
        TypeError, match="PlainTextResponse takes str, bytes, memoryview or None, but got dict; use JSON"
    ):
        PlainTextResponse({"a": 1})


def test_the_media_type_is_that_of_the_class() -> None:
    assert HTMLResponse("x").headers["content-type"] == "text/html; charset=utf-8"
    assert PlainTextResponse("x").headers["content-type"] == "text/plain; charset=utf-8"
    assert "content-type" not in Response("x").headers


async def test_headers_can_be_changed_until_the_response_is_sent() -> None:
    response = Response(headers={"X-A": "1"})
    response.headers["x-a"] = "2"
    response.headers.append("x-b", "3")

    headers = (await answer_of(response)).headers
    assert (headers["x-a"], headers["x-b"]) == ("2", "3")


async def test_background_work_runs_after_the_last_message() -> None:
    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])

    response = Response(background=BackgroundTask(sent.append, "background"))
    await response(scope(), no_receive, send)

    assert sent == ["http.response.start", "http.response.body", "background"]


@pytest.mark.parametrize("bad", [{"x": "a\r\nset-cookie: b"}, {"x\n": "a"}, {"x": "\0"}])
async def test_a_header_that_would_begin_another_is_refused_when_given_and_when_sent(bad: dict[str, str]) -> None:
    makers: list[Callable[[], object]] = [
        lambda: Response(headers=bad),
        lambda: StreamingResponse([], headers=bad),
        lambda: FileResponse("x", headers=bad),
        lambda: Response().headers.update(bad),
        lambda: Response(media_type="text/x\r\na: b"),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="must not contain CR, LF or NUL"):
            make()

    for response in (Response(), StreamingResponse([])):
        response.raw_headers += [(name.encode(), value.encode()) for name, value in bad.items()]
        with pytest.raises(ValueError, match="must not contain CR, LF or NUL"):
            await messages_of(response)


# Redirects


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=10))
def test_a_redirect_is_quoted_as_starlette_does(url: str) -> None:
    assert RedirectResponse(url).raw_headers == reference.RedirectResponse(url).raw_headers


def test_a_redirect_takes_a_url() -> None:
    response = RedirectResponse(URL("https://example.org/a b"), 303, {"x": "y"})

    assert response.status_code == 303
    assert response.headers["location"] == "https://example.org/a%20b"


@pytest.mark.parametrize("url", ["/a\r\nset-cookie: b=c", "/a\n", "/\0"])
def test_a_redirect_cannot_begin_another_header(url: str) -> None:
    location = RedirectResponse(url).headers["location"]
    assert location.isprintable()
    assert unquote(location) == url


def test_a_redirect_to_what_is_no_unicode_is_a_url_all_the_same() -> None:
    assert RedirectResponse("/\udcff/\ud800?a=b").headers["location"] == "/%ED%B3%BF/%ED%A0%80?a=b"


# Cookies


@given(
    st.fixed_dictionaries(
        {"key": st.sampled_from(["a", "session-id"]), "value": st.text('ab ",;=é\\', max_size=5)},
        optional={
            "max_age": st.none() | st.integers(0, 99),
            "expires": st.none()
            | st.just("Thu, 22 Jan 2037 12:00:10 GMT")
            | st.just(datetime(2037, 1, 22, tzinfo=UTC)),
            "path": st.sampled_from([None, "", "/", "/a"]),
            "domain": st.sampled_from([None, "example.org"]),
            "secure": st.booleans(),
            "httponly": st.booleans(),
            "samesite": st.sampled_from([None, "lax", "strict", "none", "Lax"]),
        },
    )
)
def test_a_cookie_is_set_as_starlette_does(cookie: dict[str, Any]) -> None:
    mine, theirs = Response(), reference.Response()
    mine.set_cookie(**cookie)
    theirs.set_cookie(**cookie)

    assert mine.raw_headers == theirs.raw_headers


def test_a_cookie_expires_after_seconds_and_is_deleted_as_starlette_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: datetime(2037, 1, 22, 12, tzinfo=UTC).timestamp())
    mine, theirs = Response(), reference.Response()
    mine.set_cookie("a", expires=10)
    mine.delete_cookie("a", "/b", "example.org", True, True, "strict")
    theirs.set_cookie("a", expires=10)
    theirs.delete_cookie("a", "/b", "example.org", True, True, "strict")

    assert mine.raw_headers == theirs.raw_headers
    assert "expires=Thu, 22 Jan 2037 12:00:10 GMT" in mine.headers["set-cookie"]


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ({"key": "a; b"}, "key"),
        ({"key": "a\r\n"}, "key"),
        ({"key": "a b"}, "cannot be the name of a cookie"),
        ({"value": "x\r\nset-cookie: y=z"}, "value"),
        ({"value": "\0"}, "value"),
        ({"path": "/; domain=evil.org"}, "path"),
        ({"path": "/\r\nx: y"}, "path"),
        ({"domain": "example.org\n"}, "domain"),
        ({"expires": "now; secure"}, "expires"),
        ({"samesite": "sometimes"}, "samesite must be either 'strict', 'lax' or 'none', but got 'sometimes'"),
    ],
)
def test_a_cookie_that_would_say_something_else_is_refused(bad: dict[str, Any], what: str) -> None:
    response = Response()

    with pytest.raises(ValueError, match=what):
        response.set_cookie(**{"key": "a", **bad})
    assert "set-cookie" not in response.headers


def test_a_partitioned_cookie_is_set_where_python_can() -> None:
    def partitioned(module: Any) -> object:
        response = module.Response()
        try:
            response.set_cookie("a", secure=True, partitioned=True)
        except ValueError as error:
            return str(error)
        return response.raw_headers

    assert partitioned(ours) == partitioned(reference)


# Piece by piece


async def pieces(*given_pieces: str | bytes | memoryview) -> AsyncIterator[str | bytes | memoryview]:
    for piece in given_pieces:
        yield piece


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_stream_is_sent_in_pieces(spec_version: str) -> None:
    done: list[str] = []

    async def never_disconnected() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    def plain() -> Iterator[str | bytes]:
        yield "é"
        yield b"2"

    contents: list[ContentStream] = [pieces("é", b"2"), plain(), ["é", memoryview(b"2")]]
    for content in contents:
        sent: list[Message] = []
        response = StreamingResponse(content, media_type="text/plain", background=BackgroundTask(done.append, "x"))
        with anyio.fail_after(5):
            await response(scope(spec_version=spec_version), never_disconnected, send)
        assert [message.get("body") for message in sent] == [None, "é".encode(), b"2", b""]
        assert Answer(sent).headers.items() == [("content-type", "text/plain; charset=utf-8")]

    assert done == ["x"] * 3


async def test_an_iterable_that_makes_its_own_iterator_is_streamed() -> None:
    class Pieces:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"1"
            yield b"2"

    class Iterator_:
        left = 2

        def __aiter__(self) -> Iterator_:
            return self

        async def __anext__(self) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return b"x"

    assert (await answer_of(StreamingResponse(Pieces()))).body == b"12"
    assert (await answer_of(StreamingResponse(Iterator_()))).body == b"xx"


async def test_a_client_that_goes_is_noticed_by_send_and_the_generator_is_closed() -> None:
    closed: list[bool] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    async def send(message: Message) -> None:
        if message.get("body"):
            raise BrokenPipeError

    with pytest.raises(ClientDisconnect, match="gone before the response was complete"):
        await StreamingResponse(endless())(scope(), no_receive, send)
    assert closed == [True]


async def test_a_client_that_goes_is_noticed_by_receive_where_send_says_nothing() -> None:
    started, background = anyio.Event(), anyio.Event()
    first: list[Message] = [{"type": "http.request"}]

    async def receive() -> Message:
        if first:
            return first.pop()
        await started.wait()
        return {"type": "http.disconnect"}

    async def endless() -> AsyncIterator[bytes]:
        while True:
            started.set()
            await anyio.lowlevel.checkpoint()
            yield b"x"

    async def send(message: Message) -> None: ...

    async def after() -> None:
        background.set()

    with anyio.fail_after(5):
        await StreamingResponse(endless(), background=BackgroundTask(after))({"type": "http"}, receive, send)
    assert background.is_set()


async def test_the_error_of_a_stream_leaves_as_itself() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        raise LookupError("lost") from KeyError("cause")

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None: ...

    for version in ("2.0", "2.4"):
        with pytest.raises(LookupError, match="lost") as caught:
            await StreamingResponse(failing())(scope(spec_version=version), receive, send)
        assert isinstance(caught.value.__cause__, KeyError)


async def test_the_errors_of_both_channels_leave_together() -> None:
    async def failing_cleanup() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            await anyio.sleep_forever()
        finally:
            raise LookupError("in the stream")

    async def receive() -> Message:
        raise ConnectionError("in receive")

    async def send(message: Message) -> None: ...

    with pytest.raises(ExceptionGroup) as caught:
        await StreamingResponse(failing_cleanup())({"type": "http"}, receive, send)
    assert {type(error) for error in caught.value.exceptions} == {LookupError, ConnectionError}


# As a denial


def responses(tmp_path: Path) -> list[Response]:
    path = tmp_path / "denied.txt"
    path.write_bytes(b"no")
    return [PlainTextResponse("no", 403), StreamingResponse(iter(["no"]), 403), FileResponse(path, 403)]


async def test_a_response_to_a_websocket_is_a_denial(tmp_path: Path) -> None:
    for response in responses(tmp_path):
        ran: list[str] = []
        response.background = BackgroundTask(ran.append, "background")
        sent = await messages_of(response, {"type": "websocket"})

        assert sent[0]["type"] == "websocket.http.response.start"
        assert {message["type"] for message in sent[1:]} == {"websocket.http.response.body"}
        assert (Answer(sent).status, Answer(sent).body, ran) == (403, b"no", ["background"])


# Files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "page.txt"
    path.write_bytes(b"0123456789")
    return path


def write(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def described(file: Path) -> os.stat_result:
    return file.stat()


async def test_a_file_is_sent_with_what_describes_it(file: Path) -> None:
    os.utime(file, (2**31, 2**31))
    answer = await answer_of(FileResponse(file))

    assert (answer.status, answer.body) == (200, b"0123456789")
    assert answer.headers["content-length"] == "10"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["last-modified"] == "Tue, 19 Jan 2038 03:14:08 GMT"
    assert answer.headers["etag"].startswith('"')


async def test_a_file_is_sent_in_chunks(file: Path) -> None:
    class SmallChunks(FileResponse):
        chunk_size = 4

    bodies = [message["body"] for message in (await messages_of(SmallChunks(file)))[1:]]

    assert bodies == [b"0123", b"4567", b"89"]


async def test_an_empty_file_is_an_empty_body(file: Path) -> None:
    write(file, b"")
    answer = await answer_of(FileResponse(file))

    assert (answer.body, answer.headers["content-length"]) == (b"", "0")


async def test_the_head_of_a_file_has_its_headers_and_no_body(file: Path) -> None:
    whole, head = await answer_of(FileResponse(file)), await answer_of(FileResponse(file), scope("head"))

    assert head.headers == whole.headers
    assert head.body == b""


async def test_a_file_that_has_changed_is_described_anew(file: Path) -> None:
    response = FileResponse(file)
    before = await answer_of(response)
    write(file, b"longer than before")
    after = await answer_of(response)

    assert after.body == b"longer than before"
    assert after.headers["content-length"] == "18"
    assert after.headers["etag"] != before.headers["etag"]


async def test_what_is_known_of_a_file_is_not_asked_again(file: Path) -> None:
    response = FileResponse(file, stat_result=described(file))

    assert response.headers["content-length"] == "10"
    assert (await answer_of(response)).body == b"0123456789"


async def test_headers_that_are_given_are_kept(file: Path) -> None:
    given_headers = {"etag": '"mine"', "accept-ranges": "none", "content-disposition": "inline"}
    headers = (await answer_of(FileResponse(file, headers=given_headers, filename="a"))).headers

    assert {name: headers[name] for name in given_headers} == given_headers


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("a.png", 'attachment; filename="a.png"'),
        ("你.txt", "attachment; filename*=utf-8''%E4%BD%A0.txt"),
        ('a"; x="b\r\n', "attachment; filename*=utf-8''a%22%3B%20x%3D%22b%0D%0A"),
        ("not-utf-8-\udcff.txt", "attachment; filename*=utf-8''not-utf-8-%3F.txt"),  # as os.listdir gives it
    ],
)
def test_a_file_is_saved_under_its_name(name: str, disposition: str) -> None:
    assert FileResponse("x", filename=name).headers["content-disposition"] == disposition


def test_the_media_type_is_guessed_from_the_name() -> None:
    assert FileResponse("x", filename="a.png").media_type == "image/png"
    assert FileResponse("a.unknown").media_type == "application/octet-stream"
    assert FileResponse("a.png", media_type="text/css").media_type == "text/css"
    inline = FileResponse("x", filename="a", content_disposition_type="inline")
    assert inline.headers["content-disposition"] == 'inline; filename="a"'


async def test_what_is_no_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"File at path .*missing does not exist"):
        await messages_of(FileResponse(tmp_path / "missing"))
    with pytest.raises(RuntimeError, match="is not a file"):
        await messages_of(FileResponse(tmp_path))


async def test_a_file_that_has_become_shorter_is_an_error(file: Path) -> None:
    response = FileResponse(file, stat_result=described(file))
    write(file, b"012")

    with pytest.raises(RuntimeError, match="is shorter than expected"):
        await messages_of(response)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-4", 0, 5),
        ("Bytes = 5-5 ", 5, 6),
        ("bytes=7-", 7, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 10),
        ("bytes=0-99", 0, 10),
    ],
)
async def test_one_range_of_a_file_is_sent(file: Path, asked: str, start: int, end: int) -> None:
    answer = await answer_of(FileResponse(file), scope(headers={"range": asked}))
    head = await answer_of(FileResponse(file), scope("HEAD", headers={"range": asked}))

    assert (answer.status, answer.body) == (206, b"0123456789"[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/10"
    assert answer.headers["content-length"] == str(end - start)
    assert (head.status, head.headers, head.body) == (206, answer.headers, b"")


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
async def test_a_range_beyond_the_file_cannot_be_satisfied(file: Path, asked: str) -> None:
    answer = await answer_of(FileResponse(file), scope(headers={"range": asked}))

    assert answer.status == 416
    assert answer.headers["content-range"] == "bytes */10"


@pytest.mark.parametrize(
    "asked",
    [
        "items=0-4",
        "bytes=",
        "bytes=-",
        "bytes=4-1",
        "bytes=a-b",
        "bytes: 0-4",
        "bytes=0-1,4-5",
        "bytes=0-" + "9" * 5000,
    ],
)
async def test_a_range_that_is_invalid_or_several_is_ignored(file: Path, asked: str) -> None:
    answer = await answer_of(FileResponse(file), scope(headers={"range": asked}))

    assert (answer.status, answer.body) == (200, b"0123456789")
    assert "content-range" not in answer.headers


async def test_a_range_counts_only_for_a_successful_get(file: Path) -> None:
    posted = await answer_of(FileResponse(file), scope("POST", headers={"range": "bytes=0-4"}))
    failed = await answer_of(FileResponse(file, 404), scope(headers={"range": "bytes=0-4"}))

    assert (posted.status, failed.status) == (200, 404)
    assert posted.body == failed.body == b"0123456789"


async def test_a_range_counts_only_for_the_file_that_the_client_has_a_part_of(file: Path) -> None:
    response = FileResponse(file, headers={"etag": 'W/"weak"'})
    known = await answer_of(FileResponse(file))

    async def status(app: ASGIApp, condition: str) -> int:
        of = scope(headers={"range": "bytes=0-4", "if-range": condition})
        code: int = (await answer_of(app, of)).status
        return code

    assert await status(FileResponse(file), known.headers["etag"]) == 206
    assert await status(FileResponse(file), known.headers["last-modified"]) == 206
    assert await status(FileResponse(file), '"another"') == 200
    assert await status(response, 'W/"weak"') == 200


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_a_file_is_closed_when_sending_it_is_cancelled(
    file: Path, spec_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[anyio.AsyncFile[bytes]] = []
    open_file = anyio.open_file

    async def open_and_remember(path: Path, mode: Any) -> anyio.AsyncFile[bytes]:
        opened.append(await open_file(path, mode=mode))
        return opened[-1]

    monkeypatch.setattr(anyio, "open_file", open_and_remember)

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        if message.get("body"):
            cancelled.cancel()
            await anyio.sleep_forever()

    with anyio.fail_after(5), anyio.CancelScope() as cancelled:
        await FileResponse(file)(scope(spec_version=spec_version), receive, send)

    assert cancelled.cancelled_caught
    assert [opened_file.closed for opened_file in opened] == [True]
