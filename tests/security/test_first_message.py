"""A token in the first message of a WebSocket."""

import json
from typing import Annotated, Any

import pytest

from tests.asgi_call import CONNECT, disconnect, run, text, websocket_scope
from tests.listeners.peers import Client, until
from trunkline import App, Depends, WebSocket, WebSocketDisconnect
from trunkline.dependencies import DependencyError
from trunkline.endpoints import WebSocketEndpoint
from trunkline.security import Authentication, BearerToken, FirstMessageToken, FirstOf, QueryToken
from trunkline.security._first_message import LONGEST

pytestmark = pytest.mark.anyio

NOT_A_TOKEN = (3000, "The first message is not a token")


def application(source: Any) -> App:
    app = App()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket, token: Annotated[str, Depends(source)]) -> None:
        if websocket.application_state.name == "CONNECTING":
            await websocket.accept()
        await websocket.send_text(f"token {token}")
        async for message in websocket:
            await websocket.send_text(f"message {message!r}")

    @app.listener("/listener", dependencies=[Depends(source)])
    def listener(message: str) -> str:
        return f"message {message!r}"

    return app


async def test_the_first_message_is_the_token_and_the_others_are_the_endpoints(client: Client) -> None:
    await client.open(application(FirstMessageToken()))
    client.says("abc", "hello")
    await client.hears("token abc", "message 'hello'")
    client.closes()
    await client.end()


async def test_before_a_listener(client: Client) -> None:
    await client.open(application(FirstMessageToken()), "/listener")
    client.says("abc", "hello")
    await client.hears("message 'hello'")
    client.says("again")
    await client.hears("message 'hello'", "message 'again'")
    client.closes()
    await client.end()


async def test_a_token_in_a_field(client: Client) -> None:
    await client.open(application(FirstMessageToken(field="token")))
    client.says({"type": "hello", "token": "abc"})
    await client.hears("token abc")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (None, ""),
        (None, b"abc"),
        (None, "x" * (LONGEST + 1)),
        ("token", "abc"),
        ("token", "[" * 10_000),
        ("token", json.dumps(["token"])),
        ("token", json.dumps({"other": "abc"})),
        ("token", json.dumps({"token": 1})),
        ("token", json.dumps({"token": ""})),
        ("token", b'{"token": "abc"}'),
    ],
)
async def test_a_first_message_that_is_no_token(field: str | None, message: str | bytes, client: Client) -> None:
    await client.open(application(FirstMessageToken(field=field)))
    client.says(message)
    await client.end()
    assert client.close == NOT_A_TOKEN


async def test_a_message_that_does_not_come(client: Client) -> None:
    await client.open(application(FirstMessageToken(0.01)))
    await client.end()
    assert client.close == (3000, "No token came in time")


async def test_a_client_that_leaves_instead(client: Client) -> None:
    await client.open(application(FirstMessageToken()))
    client.closes(1001)
    error = await client.end()
    assert error is None or (isinstance(error, WebSocketDisconnect) and error.code == 1001)
    assert client.got == []


async def test_it_comes_last_where_there_are_others(client: Client) -> None:
    source = FirstOf(QueryToken(), FirstMessageToken())
    await client.open(application(source), "/?token=query")
    await client.hears("token query")
    other = type(client)()
    await other.open(application(source))
    other.says("message")
    await other.hears("token message")
    with pytest.raises(ValueError, match="make it the last"):
        FirstOf(FirstMessageToken(), QueryToken())
    with pytest.raises(ValueError, match="make it the last"):
        FirstOf(source, BearerToken())


async def test_one_who_is_not_known_is_closed(client: Client) -> None:
    async def verify(token: str) -> str | None:
        return token if token == "secret" else None

    authentication: Authentication[str] = Authentication(FirstMessageToken(), verify)
    await client.open(application(authentication))
    client.says("wrong")
    await client.end()
    assert client.close == (3000, "The token is not valid")
    other = type(client)()
    await other.open(application(authentication))
    other.says("secret")
    await other.hears("token secret")


async def test_a_dependency_that_has_accepted_already(client: Client) -> None:
    app = App()

    async def accepted(websocket: WebSocket) -> None:
        await websocket.accept()

    @app.websocket("/", dependencies=[Depends(accepted)])
    async def endpoint(websocket: WebSocket, token: Annotated[str, Depends(FirstMessageToken())]) -> None:
        await websocket.send_text(token)

    await client.open(app)
    client.says("abc")
    await client.hears("abc")
    await until(lambda: client.has_ended)
    assert client.close == (1000, "")


@pytest.mark.parametrize("source", [FirstMessageToken(), FirstOf(BearerToken(), FirstMessageToken())])
def test_it_is_refused_on_an_http_route(source: Any) -> None:
    app = App()
    with pytest.raises(DependencyError, match=r"'connection' of .* is a WebSocket, which an HTTP route does not have"):
        app.get("/", dependencies=[Depends(source)])(lambda request: None)


def test_it_serves_under_trio_too() -> None:
    async def verify(token: str) -> str:
        return token.upper()

    authentication: Authentication[str] = Authentication(FirstMessageToken(), verify)
    sent = run(application(authentication), websocket_scope(), CONNECT, text("abc"), disconnect(), backend="trio")
    assert [message.get("text") for message in sent] == [None, "token ABC"]


@pytest.mark.parametrize(
    "source",
    [
        FirstMessageToken(),
        FirstOf(BearerToken(), FirstMessageToken()),
        Authentication(FirstMessageToken(), str.upper),
    ],
)
def test_it_is_refused_before_what_accepts_by_itself(source: Any) -> None:
    class Endpoint(WebSocketEndpoint):
        pass

    with pytest.raises(DependencyError, match=r"waits for a first message, for which it accepts the connection"):
        App().router.add_websocket_route("/", Endpoint, dependencies=[Depends(source)])


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_that_cannot_be(seconds: float) -> None:
    with pytest.raises(ValueError, match="the first message is waited for more than 0 seconds, but got"):
        FirstMessageToken(seconds)
