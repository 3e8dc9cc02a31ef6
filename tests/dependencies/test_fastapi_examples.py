"""The WebSocket examples of FastAPI's documentation, with only their imports changed: the same conversations.

Every conversation goes through both frameworks: in memory, each with the test client that it has; and on a server,
FastAPI on uvicorn, ours there too and on our engine. What a client hears is equal: messages, close codes, statuses.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import starlette.websockets
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidStatus

import trunkline
from tests.contracts.servers import SERVERS, Server, serve
from tests.dependencies.fastapi_programs import OURS, PROGRAMS, THEIRS

SECONDS = 10
ENDED = (starlette.websockets.WebSocketDisconnect, trunkline.WebSocketDisconnect)


class RefusedError(Exception):
    """A server has answered a handshake with another status than 101."""

    def __init__(self, status: int, body: bytes, headers: Any) -> None:
        self.status_code = status
        self.body = body
        self.headers = headers


class Socket:
    """A connection over a real socket, as a test client has it."""

    def __init__(self, connection: websockets.sync.client.ClientConnection) -> None:
        assert connection.response is not None
        self.connection = connection
        self.accepted_subprotocol = connection.subprotocol
        self.extra_headers = [(name.lower(), value) for name, value in connection.response.headers.raw_items()]

    def send_text(self, data: str) -> None:
        self.connection.send(data)

    def send_bytes(self, data: bytes) -> None:
        self.connection.send(data)

    def receive(self) -> Any:
        try:
            data = self.connection.recv(SECONDS)
        except ConnectionClosed:
            code, reason = self.connection.close_code, self.connection.close_reason
            return {"type": "websocket.close", "code": code, "reason": reason}
        return {"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data}


class SocketClient:
    """A client of a real server, as a test client is one."""

    def __init__(self, host: str, name: str) -> None:
        self.address = f"{host}/{name}"

    @contextmanager
    def websocket_connect(self, path: str, headers: Any = None, subprotocols: Any = None) -> Iterator[Socket]:
        pairs = headers.multi_items() if headers else None
        options: dict[str, Any] = {"additional_headers": pairs, "subprotocols": subprotocols, "proxy": None}
        try:
            connection = websockets.sync.client.connect(f"ws://{self.address}{path}", **options)
        except InvalidStatus as exc:
            response = exc.response
            raise RefusedError(response.status_code, bytes(response.body or b""), response.headers) from None
        with connection:
            yield Socket(connection)

    def get(self, path: str, **options: Any) -> Any:
        return httpx2.get(f"http://{self.address}{path}", timeout=SECONDS, **options)


class Conversation:
    """What a client says, and everything that it hears."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.heard: list[Any] = []

    def hear(self, websocket: Any) -> None:
        """The next message, or the end."""
        message = websocket.receive()
        if message["type"] == "websocket.close":
            self.heard.append(("ended", message["code"], message["reason"] or ""))
        else:
            self.heard.append(message.get("bytes") if message.get("text") is None else message["text"])

    def talk(
        self, path: str, *messages: str | bytes, hears: int = 0, headers: Any = None, subprotocols: Any = None
    ) -> None:
        """Connect, say each message and hear as many answers to it, then leave or hear the end."""
        try:
            given = httpx2.Headers(headers)
            with self.client.websocket_connect(path, headers=given, subprotocols=subprotocols) as websocket:
                self.heard.append(websocket.accepted_subprotocol)
                for message in messages:
                    (websocket.send_text if isinstance(message, str) else websocket.send_bytes)(message)
                    for _ in range(hears):
                        self.hear(websocket)
                if not hears:
                    self.hear(websocket)
        except (*ENDED, RefusedError) as ended:
            self.heard.append(refusal(ended))

    def get(self, path: str, **options: Any) -> None:
        answer = self.client.get(path, **options)
        self.heard.append((answer.status_code, answer.text))


def refusal(ended: Any) -> Any:
    """How a handshake was refused: by a response, or by a close, which a test client sees as one."""
    if not hasattr(ended, "status_code"):
        return "closed", ended.code
    body = bytes(getattr(ended, "body", b"") or getattr(ended, "content", b""))
    # Other words are a server's own, or those of an exception: FastAPI's in JSON, ours as text.
    return "refused", ended.status_code, body if ended.status_code == 418 else b"", ended.headers.get("x-error")


def simple_talk(c: Conversation) -> None:
    c.talk("/ws", "hello", "again", hears=1)


def parameters(c: Conversation) -> None:
    for style in ("annotated", "default"):
        c.talk(f"/{style}/foo/ws", "hello", hears=2, headers={"cookie": "session=fake"})
        c.talk(f"/{style}/foo/ws?token=some-token", "hello", hears=2)
        c.talk(f"/{style}/foo/ws?token=t&q=7", "hello", "again", hears=3, headers={"cookie": "session=x"})
        c.talk(f"/{style}/foo/ws", "hello")
        c.talk(f"/{style}/foo/ws?token=t&q=x", "hello")


def clients(c: Conversation) -> None:
    with c.client.websocket_connect("/ws/1") as one:
        with c.client.websocket_connect("/ws/2") as two:
            one.send_text("Hello")
            c.hear(one)
            c.hear(two)
            two.send_text("Hi")
            c.hear(one)
            c.hear(two)
        c.hear(one)


def everything(c: Conversation) -> None:
    c.talk("/v1/talk/blue?n=2", "1", '{"a":2}', hears=1, headers={"x-token": "anna"})
    c.talk("/v1/talk/blue?n=0", headers={"x-token": "anna"})
    c.talk("/v1/talk/blue?n=0", headers={"x-token": "wrong"})
    c.talk("/v1/talk/blue", headers={"x-token": "anna", "x-key": "13"})
    c.get("/v1/users/7", headers={"x-token": "anna"})
    c.get("/v1/users/seven", headers={"x-token": "anna", "x-key": "eight"})
    c.get("/v1/users/7")
    c.get("/v1/log")


def page(c: Conversation) -> None:
    c.get("/")
    c.talk("/ws")
    c.talk("/ws", hears=0)
    c.talk("/binary", b"", b"\x00\xff", hears=1, subprotocols=["text", "binary"])
    c.talk("/binary-json", '{"ä": 1}'.encode(), b"[]", hears=1)


def kinds(c: Conversation) -> None:
    c.talk("/items/7")
    c.talk("/items/7?item-query=abc&size=2.5&short=on&many=x&many=y")
    for invalid in ("/items/0", "/items/x", "/items/7?item-query=ab", "/items/7?item-query=ABC", "/items/7?size=10.5"):
        c.talk(invalid)
    for query in ("", "limit=10&tags=a&tags=b&order_by=updated_at", "limit=0", "other=1"):
        c.talk(f"/filtered?{query}")
    c.talk("/headers", headers=[("x-token", "a"), ("x-token", "b"), ("strange_header", "s"), ("user-agent", "u")])
    c.talk("/headers")
    c.talk("/common-headers", headers=[("save-data", "on"), ("x-tag", "1"), ("x-tag", "2")])
    c.talk("/common-headers", headers={"save-data": "maybe"})
    c.talk("/common-headers")
    c.talk("/cookies", headers={"cookie": "session_id=1; fatebook_tracker=two; ads_id=three"})
    c.talk("/cookies", headers={"cookie": "ads_id=three"})
    c.talk("/files/a/b.txt")
    c.talk("/connection?a=1&b=two", headers={"cookie": "c=3"})
    c.talk("/nowhere")


def refusals(c: Conversation) -> None:
    for what in ("http", "websocket", "unicorn"):
        c.talk(f"/before/{what}")
    for what in ("websocket", "unicorn"):
        c.talk(f"/after/{what}", "go on")
    c.talk("/close/4000")
    c.talk("/close/1001")
    c.talk("/close/4000?early=1")
    c.talk("/close/many?early=perhaps")
    c.talk("/deny")


CONVERSATIONS = {
    "simple": simple_talk,
    "parameters": parameters,
    "clients": clients,
    "everything": everything,
    "page": page,
    "kinds": kinds,
    "refusals": refusals,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_same_conversation(program: str) -> None:
    def heard(names: Any) -> list[Any]:
        with names.TestClient(PROGRAMS[program](names)) as client:
            conversation = Conversation(client)
            CONVERSATIONS[program](conversation)
        return conversation.heard

    ours, theirs = heard(OURS), heard(THEIRS)
    assert ours == theirs
    assert len(ours) >= 2


def row(name: str, app: str) -> Server:
    (found,) = (server for server in SERVERS if server.name == name)
    return dataclasses.replace(found, app=f"tests.dependencies.fastapi_programs:{app}")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where FastAPI serves the programs."""
    with serve(row("uvicorn-websockets-sansio", "theirs"), tmp_path_factory.mktemp("theirs")) as server:
        yield server.host


@pytest.fixture(scope="module", params=["engine", "uvicorn-websockets-sansio"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where we serve them."""
    with serve(row(request.param, "ours"), tmp_path_factory.mktemp("ours")) as server:
        yield server.host


def heard_at(host: str, program: str, says: Any) -> list[Any]:
    conversation = Conversation(SocketClient(host, program))
    says(conversation)
    return conversation.heard


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_same_conversation_on_a_server(reference: str, host: str, program: str) -> None:
    says = CONVERSATIONS[program]
    assert heard_at(host, program, says) == heard_at(reference, program, says)


# Where we differ, because FastAPI sends what is not allowed or nothing at all: `docs/differences.md`.

DEVIATIONS: dict[tuple[str, tuple[str | bytes, ...]], tuple[Any, Any]] = {
    ("/before/other", ()): (("refused", 500, b"", None), ("refused", 500, b"", None)),
    ("/after/other", ("go on",)): (("ended", 1011, ""), ("ended", 1006, "")),
    ("/after/http", ("go on",)): (("ended", 1008, "Item not found"), ("ended", 1006, "")),
    ("/json", ("{",)): (("ended", 1007, "the message is not valid JSON"), ("ended", 1006, "")),
    ("/json", (b"{}",)): (("ended", 1003, "a text message was expected"), ("ended", 1006, "")),
    ("/json", ("{}",)): ("{}", "{}"),
}


@pytest.mark.parametrize(("path", "messages"), DEVIATIONS)
def test_where_the_reference_fails(reference: str, host: str, path: str, messages: Any) -> None:
    def says(c: Conversation) -> None:
        c.talk(path, *messages)

    last = (heard_at(host, "refusals", says)[-1], heard_at(reference, "refusals", says)[-1])
    assert last == DEVIATIONS[path, messages]


def test_an_endpoint_that_returns(reference: str, host: str) -> None:
    def says(c: Conversation) -> None:
        with c.client.websocket_connect("/json") as websocket:
            websocket.send_text("{}")
            c.hear(websocket)
            c.hear(websocket)

    assert heard_at(host, "refusals", says) == ["{}", ("ended", 1000, "")]
    assert heard_at(reference, "refusals", says) == ["{}", ("ended", 1006, "")]


def test_the_two_are_different_frameworks() -> None:
    def module(names: Any) -> Iterator[str]:
        return (getattr(names, name).__module__.split(".")[0] for name in ("App", "WebSocket", "Depends", "Query"))

    assert list(module(OURS)) == ["trunkline"] * 4
    assert list(module(THEIRS)) == ["fastapi", "starlette", "fastapi", "fastapi"]
