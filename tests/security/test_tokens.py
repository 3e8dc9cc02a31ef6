"""Where tokens come, as dependencies of HTTP and WebSocket routes, in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from tests.asgi_call import CONNECT, Outcome, call, http_scope, run, text, websocket_scope
from trunkline import App, Depends, HTTPConnection, WebSocket
from trunkline.dependencies import DependencyError
from trunkline.endpoints import WebSocketEndpoint
from trunkline.messages import MessageSettings
from trunkline.responses import JSONResponse
from trunkline.security import (
    BearerToken,
    CookieToken,
    FirstOf,
    Forbidden,
    QueryToken,
    SubprotocolToken,
    TokenSource,
    Unauthorized,
)
from trunkline.security._tokens import signature_for

if TYPE_CHECKING:
    from trunkline.types import Message

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def application(source: Any) -> App:
    """An application that answers with the token, on HTTP and over a WebSocket."""
    app = App()
    Token = Annotated[str, Depends(source)]

    async def answer(token: Any) -> JSONResponse:
        return JSONResponse(token)

    async def serve(websocket: WebSocket, token: Any) -> None:
        await websocket.accept()
        await websocket.send_json({"token": token, "offered": websocket.scope["subprotocols"]})
        await websocket.close()

    for function in (answer, serve):
        function.__annotations__["token"] = Token
    serve.__annotations__["websocket"] = WebSocket
    app.router.add_route("/", answer)
    app.router.add_websocket_route("/", serve)
    return app


async def over_http(source: Any, headers: dict[str, str] | None = None, **scope: Any) -> Outcome:
    outcome = await call(application(source), http_scope("/", headers, **scope))
    assert outcome.error is None
    return outcome


async def over_websocket(source: Any, headers: dict[str, str] | None = None, **scope: Any) -> Outcome:
    offered = [one.strip() for one in (headers or {}).get("sec-websocket-protocol", "").split(",") if one]
    values = {"subprotocols": offered, **scope}
    outcome = await call(application(source), websocket_scope("/", headers, **values), [CONNECT])
    assert outcome.error is None
    return outcome


FOUND = [
    (BearerToken(), {"authorization": "Bearer abc.def"}, b"", "abc.def"),
    (BearerToken(), {"authorization": "bEARER  abc  "}, b"", "abc"),
    (CookieToken("session"), {"cookie": "a=b; session=abc"}, b"", "abc"),
    (QueryToken(), {}, b"a=b&token=a%2Bbc", "a+bc"),
    (QueryToken("ticket"), {}, b"ticket=abc", "abc"),
    (FirstOf(BearerToken(), CookieToken("session")), {"cookie": "session=abc"}, b"", "abc"),
    (
        FirstOf(BearerToken(), CookieToken("session"), QueryToken()),
        {"cookie": "session=second", "authorization": "Bearer first"},
        b"token=third",
        "first",
    ),
    (FirstOf(FirstOf(BearerToken()), QueryToken()), {}, b"token=inner", "inner"),
]
ABSENT = [
    (BearerToken(), {}, b"token=abc", "Bearer"),
    (BearerToken(), {"authorization": ""}, b"", "Bearer"),
    (BearerToken(), {"authorization": "Bearer"}, b"", "Bearer"),
    (BearerToken(), {"authorization": "Bearer "}, b"", "Bearer"),
    (BearerToken(), {"authorization": "Bearer a b"}, b"", "Bearer"),
    (BearerToken(), {"authorization": "Basic abc"}, b"", "Bearer"),
    (CookieToken("session"), {"cookie": "other=abc"}, b"", "Cookie"),
    (CookieToken("session"), {"cookie": "session="}, b"", "Cookie"),
    (QueryToken(), {}, b"", "Bearer"),
    (QueryToken(), {}, b"token=", "Bearer"),
    (QueryToken(), {}, b"token=a&token=b", "Bearer"),
    (FirstOf(BearerToken(), CookieToken("session"), QueryToken()), {}, b"", "Bearer, Cookie"),
]


@pytest.mark.parametrize(("source", "headers", "query", "token"), FOUND)
async def test_a_token_that_is_present(source: Any, headers: dict[str, str], query: bytes, token: str) -> None:
    outcome = await over_http(source, headers, query_string=query)
    assert (outcome.status, json.loads(outcome.body)) == (200, token)
    outcome = await over_websocket(source, headers, query_string=query)
    assert outcome.types == ["accept", "send", "close"]
    assert json.loads(outcome.sent[1]["text"])["token"] == token


@pytest.mark.parametrize(("source", "headers", "query", "challenge"), ABSENT)
async def test_a_token_that_is_absent(source: Any, headers: dict[str, str], query: bytes, challenge: str) -> None:
    for ask in (over_http, over_websocket):
        outcome = await ask(source, headers, query_string=query)
        assert (outcome.status, outcome.text) == (401, "Not authenticated")
        assert outcome.headers["www-authenticate"] == challenge
    outcome = await over_websocket(source, headers, query_string=query, extensions={})
    assert outcome.types == ["close"]
    assert outcome.close == (3000, "Not authenticated")


def test_sources_serve_under_trio_too() -> None:
    source = FirstOf(BearerToken(), SubprotocolToken("feed.v1"), QueryToken())
    (accept, message, _) = run(application(source), websocket_scope(query_string=b"token=abc"), CONNECT, backend="trio")
    assert (accept["type"], json.loads(message["text"])["token"]) == ("websocket.accept", "abc")


async def test_two_headers_are_none() -> None:
    scope = http_scope()
    scope["headers"] += [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]
    outcome = await call(application(BearerToken()), scope)
    assert outcome.status == 401


# Among the subprotocols


@pytest.mark.parametrize(
    ("source", "offered", "answered", "left"),
    [
        (SubprotocolToken("feed.v2", "feed.v1"), "feed.v1, feed.v2, bearer.abc", "feed.v2", ["feed.v1", "feed.v2"]),
        (SubprotocolToken("feed.v1"), "bearer.abc, feed.v1", "feed.v1", ["feed.v1"]),
        (SubprotocolToken("feed.v1"), "bearer.abc", None, []),
        (SubprotocolToken("feed.v1"), "other, bearer.abc", None, ["other"]),
        (SubprotocolToken(), "other, bearer.abc", None, ["other"]),
        (SubprotocolToken(prefix="token-"), "token-abc, bearer.x", None, ["bearer.x"]),
    ],
)
async def test_a_token_among_subprotocols(
    source: SubprotocolToken, offered: str, answered: str | None, left: list[str]
) -> None:
    outcome = await over_websocket(source, {"sec-websocket-protocol": offered})
    assert outcome.sent[0]["subprotocol"] == answered
    assert json.loads(outcome.sent[1]["text"]) == {"token": "abc", "offered": left}


@pytest.mark.parametrize("offered", ["feed.v1", "feed.v1, bearer.", "bearer.a, bearer.b, feed.v1"])
async def test_no_token_among_subprotocols(offered: str) -> None:
    outcome = await over_websocket(SubprotocolToken("feed.v1"), {"sec-websocket-protocol": offered})
    assert outcome.status == 401


async def test_an_http_request_has_no_subprotocols() -> None:
    outcome = await over_http(SubprotocolToken("feed.v1"), {"sec-websocket-protocol": "bearer.abc"})
    assert outcome.status == 401


async def test_a_token_among_subprotocols_is_hidden_where_another_comes_first() -> None:
    source = FirstOf(BearerToken(), SubprotocolToken("feed.v1"))
    headers = {"authorization": "Bearer first", "sec-websocket-protocol": "bearer.second, feed.v1"}
    outcome = await over_websocket(source, headers)
    assert outcome.sent[0]["subprotocol"] == "feed.v1"
    assert json.loads(outcome.sent[1]["text"]) == {"token": "first", "offered": ["feed.v1"]}


async def test_what_accept_is_given_counts() -> None:
    app = App()

    @app.websocket("/", dependencies=[Depends(SubprotocolToken("feed.v1"))])
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="feed.v2")

    headers = {"sec-websocket-protocol": "feed.v1, feed.v2, bearer.abc"}
    scope = websocket_scope("/", headers, subprotocols=["feed.v1", "feed.v2", "bearer.abc"])
    outcome = await call(app, scope, [CONNECT])
    assert outcome.sent[0]["subprotocol"] == "feed.v2"


async def test_the_subprotocols_of_typed_messages_are_agreed_on_without_the_token() -> None:
    app = App()
    settings = MessageSettings(subprotocols={"bearer.abc": "msgpack", "json.v1": "json"})

    @app.listener("/", dependencies=[Depends(SubprotocolToken())], messages=settings)
    async def endpoint(message: str) -> str:
        return message

    headers = {"sec-websocket-protocol": "bearer.abc, json.v1"}
    scope = websocket_scope("/", headers, subprotocols=["bearer.abc", "json.v1"])
    outcome = await call(app, scope, [CONNECT, text("hello"), {"type": "websocket.disconnect", "code": 1000}])
    assert outcome.sent[0]["subprotocol"] == "json.v1"


async def test_a_class_behind_a_source_answers_rightly_too() -> None:
    app = App()

    class Endpoint(WebSocketEndpoint):
        pass

    app.router.add_websocket_route("/", Endpoint, dependencies=[Depends(SubprotocolToken("feed.v1"))])
    headers = {"sec-websocket-protocol": "bearer.abc, feed.v1"}
    scope = websocket_scope("/", headers, subprotocols=["bearer.abc", "feed.v1"])
    end: Message = {"type": "websocket.disconnect", "code": 1000}
    outcome = await call(app, scope, [CONNECT, end])
    assert outcome.sent[0]["subprotocol"] == "feed.v1"


# Refusing


async def refuse_unauthorized() -> None:
    raise Unauthorized("who are you?", challenge='Bearer realm="feed"')


async def refuse_forbidden() -> None:
    raise Forbidden("not here")


@pytest.mark.parametrize(
    ("refuse", "status", "code", "words", "challenge"),
    [
        (refuse_unauthorized, 401, 3000, "who are you?", 'Bearer realm="feed"'),
        (refuse_forbidden, 403, 3003, "not here", None),
    ],
)
async def test_a_refusal(refuse: Any, status: int, code: int, words: str, challenge: str | None) -> None:
    app = App()

    @app.get("/", dependencies=[Depends(refuse)])
    async def answer() -> None: ...

    @app.websocket("/", dependencies=[Depends(refuse)])
    async def before(websocket: WebSocket) -> None: ...

    @app.websocket("/after")
    async def after(websocket: WebSocket) -> None:
        await websocket.accept()
        await refuse()

    for scope in (http_scope(), websocket_scope()):
        outcome = await call(app, scope, [CONNECT])
        assert (outcome.status, outcome.text) == (status, words)
        assert outcome.headers.get("www-authenticate") == challenge
    outcome = await call(app, websocket_scope(extensions={}), [CONNECT])
    assert (outcome.types, outcome.close) == (["close"], (code, words))
    outcome = await call(app, websocket_scope("/after"), [CONNECT])
    assert (outcome.types, outcome.close) == (["accept", "close"], (code, words))


def test_the_words_when_none_are_given() -> None:
    assert str(Unauthorized()) == "401: Not authenticated"
    assert Unauthorized().headers == {"WWW-Authenticate": "Bearer"}
    assert str(Forbidden()) == "403: Forbidden"
    assert Forbidden().headers is None


# What cannot be


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "a,b", None, 1])
@pytest.mark.parametrize("make", [CookieToken, QueryToken, SubprotocolToken])
def test_a_name_that_cannot_be(make: Any, name: Any) -> None:
    with pytest.raises(ValueError, match=r"expected .*, for example '.*', but got"):
        make(name)


def test_a_prefix_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"expected a prefix of characters .* but got 'a/'"):
        SubprotocolToken(prefix="a/")
    with pytest.raises(ValueError, match=r"what begins with 'bearer\.' is a token"):
        SubprotocolToken("bearer.v1")


@pytest.mark.parametrize("sources", [(), ("token",), (BearerToken(), BearerToken)])
def test_first_of_something_else(sources: Any) -> None:
    with pytest.raises(TypeError, match="FirstOf takes sources of tokens"):
        FirstOf(*sources)


class OnlyOverWebSockets(TokenSource):
    _connection_class = WebSocket

    def __init__(self) -> None:
        self.__signature__ = signature_for(WebSocket)

    async def find(self, connection: HTTPConnection[Any]) -> str | None:
        return "abc"


async def test_a_source_that_only_a_websocket_has_is_refused_elsewhere_when_the_route_is_made() -> None:
    for source in (OnlyOverWebSockets(), FirstOf(BearerToken(), OnlyOverWebSockets())):
        with pytest.raises(
            DependencyError, match=rf"'connection' of {type(source).__name__} .* is a WebSocket, which an"
        ):
            application(source)
        outcome = await call(_only_websocket(source), websocket_scope(), [CONNECT])
        assert outcome.types == ["accept", "close"]


def _only_websocket(source: Any) -> App:
    app = App()

    @app.websocket("/", dependencies=[Depends(source)])
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()

    return app
