"""Replies of RESP2: whatever pieces they come in, they are those that redis-py reads."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st
from redis.exceptions import NoScriptError, ResponseError

from trunkline.hub.brokers.redis.replies import Reader, Replies, pack

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=80),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


def form_of(value: Any) -> bytes:
    """A reply as a server writes it."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b"*%d\r\n%b" % (len(value), b"".join(map(form_of, value)))


def replies() -> Replies:
    return Replies(ResponseError)


@given(st.lists(VALUES, max_size=5), st.data())
def test_replies_are_the_same_in_whatever_pieces_they_come(values: list[Any], data: st.DataObject) -> None:
    form = b"".join(map(form_of, values))
    cuts = data.draw(st.lists(st.integers(0, len(form)), max_size=6).map(sorted))
    reader = replies()
    found: list[Any] = []
    for start, end in zip([0, *cuts], [*cuts, len(form)], strict=True):
        found += reader.feed(form[start:end])
    assert found == values


@given(st.lists(VALUES, max_size=3))
def test_replies_come_byte_by_byte(values: list[Any]) -> None:
    reader = replies()
    found = [value for byte in b"".join(map(form_of, values)) for value in reader.feed(bytes([byte]))]
    assert found == values


def test_a_reply_is_told_with_its_last_byte_and_not_before() -> None:
    reader = replies()
    assert reader.feed(b"*2\r\n$3\r\nabc\r\n$3\r\nde") == []
    assert reader.feed(b"f\r") == []
    assert reader.feed(b"\n+OK\r\n*-1\r\n*0\r\n:") == [[b"abc", b"def"], b"OK", None, []]
    assert reader.feed(b"-12\r\n") == [-12]


def test_a_large_reply_is_put_together_once() -> None:
    """Joined with every piece, these 8 MiB would be copied a thousand times over."""
    reader = replies()
    form = form_of([b"x" * 8 * 1024 * 1024])
    pieces = [form[start : start + 4096] for start in range(0, len(form), 4096)]
    for count, piece in enumerate(pieces[:-1], start=1):
        assert reader.feed(piece) == []
        assert len(reader._pieces) == count
    assert [[len(item) for item in reply] for reply in reader.feed(pieces[-1])] == [[8 * 1024 * 1024]]
    assert reader._pieces == [b""]


def test_an_error_stands_where_the_reply_would() -> None:
    first, second, third = replies().feed(b":1\r\n-ERR no such thing\r\n:2\r\n")
    assert (first, third) == (1, 2)
    assert isinstance(second, ResponseError)
    assert str(second) == "ERR no such thing"


def test_what_is_no_reply_ends_the_connection() -> None:
    with pytest.raises(ConnectionError, match=r"expected a reply of RESP2, but got b'HTTP/1\.1"):
        replies().feed(b"HTTP/1.1 400 Bad Request\r\n")


def test_commands_are_packed_as_the_protocol_says() -> None:
    assert pack([("SET", b"\x00\xff", 1.5), ("PING",)]) == (
        b"*3\r\n$3\r\nSET\r\n$2\r\n\x00\xff\r\n$3\r\n1.5\r\n*1\r\n$4\r\nPING\r\n"
    )
    assert pack([("ECHO", "grüße")]) == b"*2\r\n$4\r\nECHO\r\n$7\r\ngr\xc3\xbc\xc3\x9fe\r\n"
    assert pack([]) == b""


def test_a_reader_gives_what_has_come_and_tells_of_the_end() -> None:
    async def test() -> None:
        stream = asyncio.StreamReader()
        parser = SimpleNamespace(parse_error=lambda text: NoScriptError(text))
        reader = Reader(SimpleNamespace(_reader=stream, _parser=parser))
        stream.feed_data(b":1\r\n:2\r\n$5\r\nab")
        assert await reader.next() == [1, 2]
        waiting = asyncio.create_task(reader.next())
        await asyncio.sleep(0)
        stream.feed_data(b"c")
        await asyncio.sleep(0)
        assert not waiting.done(), "nothing is whole"
        stream.feed_data(b"de\r\n-NOSCRIPT\r\n")
        word, error = await waiting
        assert word == b"abcde"
        assert isinstance(error, NoScriptError)
        stream.feed_eof()
        with pytest.raises(ConnectionError, match="closed by server"):
            await reader.next()

    asyncio.run(test())
