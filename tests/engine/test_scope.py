"""The connection scope, beside the one that uvicorn's own protocol makes of the same bytes."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from tests.engine.heads import raw_request, read, usual
from trunkline.engine.scope import build_scope, client_address, server_address

if TYPE_CHECKING:
    from tests.engine.heads import Pairs


class FakeTransport:
    def __init__(self, **info: object) -> None:
        self.info = {"peername": ("10.0.0.1", 5000), "sockname": ("10.0.0.2", 80), **info}
        self.written = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        value = self.info.get(name, default)
        if isinstance(value, Exception):
            raise value
        return value

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        pass


@functools.cache
def uvicorn_config(root_path: str) -> Config:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("never runs")

    config = Config(app, root_path=root_path, lifespan="off", log_config=None)
    config.load()
    return config


def uvicorn_scope(raw: bytes, transport: Any, root_path: str, state: dict[str, Any]) -> dict[str, Any]:
    """The scope that uvicorn's own protocol makes of the same bytes."""
    loop = asyncio.new_event_loop()
    try:
        server = ServerState()
        protocol = WebSocketsSansIOProtocol(uvicorn_config(root_path), server, state, loop)
        protocol.connection_made(transport)
        protocol.data_received(raw)
        for task in server.tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*server.tasks, return_exceptions=True))
        return dict(protocol.scope)
    finally:
        loop.close()


PATHS = st.lists(
    st.one_of(st.sampled_from(["a", "/", "%20", "%2F", "%C3%A9", "%FF", "%zz", "%", ";", "~", "@", ":", "+"])),
    max_size=6,
).map(lambda parts: "/" + "".join(parts))
QUERIES = st.one_of(
    st.just(""),
    st.lists(st.sampled_from(["a", "=", "&", "%20", "?", "/"]), max_size=5).map(lambda parts: "?" + "".join(parts)),
)
VALUES = st.binary(max_size=8).filter(
    lambda value: (
        value == value.strip(b" \t") and not value.translate(None, bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)]))
    )
)


@settings(max_examples=60)
@given(
    PATHS,
    QUERIES,
    st.lists(st.tuples(st.sampled_from([b"X-A", b"x-a", b"Cookie", b"Origin"]), VALUES), max_size=4).filter(
        lambda pairs: [name for name, _ in pairs].count(b"Origin") <= 1
    ),
    st.lists(st.sampled_from([b"a", b"a, b", b"b ,c"]), max_size=2),
    st.sampled_from(["", "/api", "/v 1"]),
)
def test_the_scope_is_as_uvicorn_makes_it(
    path: str, query: str, more: Pairs, offers: list[bytes], root_path: str
) -> None:
    protocols = [(b"Sec-WebSocket-Protocol", offer) for offer in offers]
    raw = raw_request(usual(*more, *protocols), f"GET {path}{query} HTTP/1.1".encode())
    transport = FakeTransport()
    state = {"key": [1]}
    # uvicorn's HTTP side has made the names lowercase before its WebSocket protocol gets them.
    lowercase = raw_request([(name.lower(), value) for name, value in read(raw).headers], raw.partition(b"\r\n")[0])
    theirs = uvicorn_scope(lowercase, transport, root_path, state)
    ours = build_scope(
        read(raw),
        scheme="ws",
        client=client_address(transport),
        server=server_address(transport),
        root_path=root_path,
        state=state,
    )
    assert theirs.pop("asgi") == {"version": "3.0", "spec_version": "2.4"}
    # 2.5 only says that a disconnect message may have a reason; ours has one.
    assert ours.pop("asgi") == {"version": "3.0", "spec_version": "2.5"}
    if " " in root_path:
        # `raw_path` is a path as it could have stood in the request; uvicorn leaves the space in it.
        assert ours["raw_path"].startswith(b"/v%201/")
        theirs["raw_path"] = theirs["raw_path"].replace(b" ", b"%20")
    assert ours == theirs
    assert ours["state"] is not state


def test_a_root_path_not_in_ascii_is_encoded() -> None:
    scope = build_scope(read(raw_request()), scheme="ws", client=None, server=None, root_path="/caf\u00e9%20")
    assert (scope["path"], scope["raw_path"]) == ("/caf\u00e9%20/chat", b"/caf%C3%A9%20/chat")


def test_the_scope_names_what_the_server_offers_and_where_it_runs() -> None:
    line = object()
    scope = build_scope(
        read(raw_request()), scheme="wss", client=None, server=("/run/s", None), extensions={"trunkline.line": line}
    )
    assert scope["extensions"] == {"websocket.http.response": {}, "trunkline.line": line}
    assert (scope["scheme"], scope["client"], scope["server"]) == ("wss", None, ("/run/s", None))
    assert scope["state"] == {}


@pytest.mark.parametrize(
    ("info", "client", "server"),
    [
        ({}, ("10.0.0.1", 5000), ("10.0.0.2", 80)),
        ({"peername": ("::1", 5, 0, 0), "sockname": ["::1", 80]}, ("::1", 5), ("::1", 80)),
        ({"peername": "", "sockname": "/run/s"}, None, ("/run/s", None)),
        ({"peername": None, "sockname": ""}, None, None),
        ({"peername": OSError(), "sockname": OSError()}, None, None),
    ],
    ids=["IPv4", "IPv6", "unix", "unnamed", "gone"],
)
def test_addresses_are_what_the_transport_knows(
    info: dict[str, Any], client: tuple[str, int] | None, server: tuple[str, int | None] | None
) -> None:
    transport = FakeTransport(**info)
    assert client_address(transport) == client
    assert server_address(transport) == server
