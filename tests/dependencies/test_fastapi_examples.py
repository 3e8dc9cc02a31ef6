# mypy: disable-error-code="untyped-decorator"
"""The WebSocket examples of FastAPI's documentation, with only their imports changed: the same conversations.

Each program is written once, below, as FastAPI's user writes it, and is given the names that it imports: FastAPI's for
one application, ours for the other. Every conversation goes through both, each with the test client that it has.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Annotated, Any

import fastapi
import pytest
import starlette.testclient
import starlette.websockets

import trunkline
import trunkline.testclient

THEIRS = SimpleNamespace(
    **{name: getattr(fastapi, name) for name in fastapi.__dir__()},
    App=fastapi.FastAPI,
    TestClient=starlette.testclient.TestClient,
)
OURS = SimpleNamespace(
    **{name: getattr(trunkline, name) for name in trunkline.__all__}, TestClient=trunkline.testclient.TestClient
)
ENDED = (starlette.websockets.WebSocketDisconnect, trunkline.WebSocketDisconnect)


def simple(f: Any) -> Any:
    app = f.App()

    @app.websocket("/ws")
    async def websocket_endpoint(websocket: f.WebSocket) -> None:
        await websocket.accept()
        while True:
            data = await websocket.receive_text()
            await websocket.send_text(f"Message text was: {data}")

    return app


def with_parameters(f: Any) -> Any:
    """Path, query and cookie parameters, and a dependency that may refuse: in both styles."""
    app = f.App()

    async def annotated_cookie_or_token(
        websocket: f.WebSocket,
        session: Annotated[str | None, f.Cookie()] = None,
        token: Annotated[str | None, f.Query()] = None,
    ) -> Any:
        if session is None and token is None:
            raise f.WebSocketException(code=f.status.WS_1008_POLICY_VIOLATION)
        return session or token

    async def default_cookie_or_token(
        websocket: f.WebSocket, session: str | None = f.Cookie(default=None), token: str | None = f.Query(default=None)
    ) -> Any:
        return await annotated_cookie_or_token(websocket, session, token)

    async def talk(websocket: Any, item_id: Any, q: Any, cookie_or_token: Any) -> None:
        await websocket.accept()
        while True:
            data = await websocket.receive_text()
            await websocket.send_text(f"Session cookie or query token value is: {cookie_or_token}")
            if q is not None:
                await websocket.send_text(f"Query parameter q is: {q}")
            await websocket.send_text(f"Message text was: {data}, for item ID: {item_id}")

    @app.websocket("/annotated/{item_id}/ws")
    async def annotated_endpoint(
        *,
        websocket: f.WebSocket,
        item_id: str,
        q: int | None = None,
        cookie_or_token: Annotated[str, f.Depends(annotated_cookie_or_token)],
    ) -> None:
        await talk(websocket, item_id, q, cookie_or_token)

    @app.websocket("/default/{item_id}/ws")
    async def default_endpoint(
        websocket: f.WebSocket,
        item_id: str,
        q: int | None = None,
        cookie_or_token: str = f.Depends(default_cookie_or_token),
    ) -> None:
        await talk(websocket, item_id, q, cookie_or_token)

    return app


def with_clients(f: Any) -> Any:
    """Disconnections and multiple clients."""
    app = f.App()

    class ConnectionManager:
        def __init__(self) -> None:
            self.active_connections: list[Any] = []

        async def connect(self, websocket: Any) -> None:
            await websocket.accept()
            self.active_connections.append(websocket)

        def disconnect(self, websocket: Any) -> None:
            self.active_connections.remove(websocket)

        async def broadcast(self, message: str) -> None:
            for connection in self.active_connections:
                await connection.send_text(message)

    manager = ConnectionManager()

    @app.websocket("/ws/{client_id}")
    async def websocket_endpoint(websocket: f.WebSocket, client_id: int) -> None:
        await manager.connect(websocket)
        try:
            while True:
                data = await websocket.receive_text()
                await manager.broadcast(f"Client #{client_id} says: {data}")
        except f.WebSocketDisconnect:
            manager.disconnect(websocket)
            await manager.broadcast(f"Client #{client_id} left the chat")

    return app


def with_everything(f: Any) -> Any:
    """Headers, nested dependencies with `yield`, exceptions, dependencies of routers, HTTP beside WebSockets."""
    log: list[str] = []

    async def get_session() -> Any:
        log.append("open")
        try:
            yield "session"
        except Exception as error:
            log.append(f"rolled back after {type(error).__name__}")
            raise
        finally:
            log.append("closed")

    def get_user(session: Annotated[str, f.Depends(get_session)], x_token: Annotated[str, f.Header()]) -> str:
        if x_token == "wrong":
            raise f.WebSocketException(code=4401, reason="wrong token")
        return f"{x_token} by {session}"

    async def verify(x_key: Annotated[list[int] | None, f.Header()] = None) -> None:
        if x_key and 13 in x_key:
            raise f.HTTPException(status_code=403, detail="unlucky")

    router = (f.APIRouter if f is THEIRS else f.Router)()

    @router.websocket("/talk/{room}")
    async def talk(websocket: f.WebSocket, room: str, user: Annotated[str, f.Depends(get_user)], n: int = 1) -> None:
        await websocket.accept()
        for _ in range(n):
            await websocket.send_json({"room": room, "user": user, "heard": await websocket.receive_json()})
        await websocket.close(4000, "enough")

    @router.get("/log")
    def read() -> Any:
        return log

    @router.get("/users/{user_id}")
    async def user(user_id: int, user: Annotated[str, f.Depends(get_user)]) -> Any:
        return {"id": user_id, "user": user}

    app = f.App()
    app.include_router(router, prefix="/v1", dependencies=[f.Depends(verify)])
    return app


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "simple": simple,
    "parameters": with_parameters,
    "clients": with_clients,
    "everything": with_everything,
}


class Conversation:
    """What a client says, and everything that it hears."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.heard: list[Any] = []

    def talk(self, path: str, *messages: str, hears: int = 0, **options: Any) -> None:
        """Connect, say each message and hear as many answers to it, then leave or hear the end."""
        try:
            with self.client.websocket_connect(path, **options) as websocket:
                for message in messages:
                    websocket.send_text(message)
                    self.heard.extend(websocket.receive_text() for _ in range(hears))
                if not hears:
                    websocket.receive_text()
        except ENDED as ended:
            status = getattr(ended, "status_code", None)
            self.heard.append(("refused", status) if status else ("ended", ended.code, ended.reason))

    def get(self, path: str, **options: Any) -> None:
        answer = self.client.get(path, **options)
        self.heard.append((answer.status_code, answer.json()))


def simple_talk(c: Conversation) -> None:
    c.talk("/ws", "hello", "again", hears=1)


def parameters(c: Conversation) -> None:
    for style in ("annotated", "default"):
        c.talk(f"/{style}/foo/ws", "hello", hears=2, headers={"cookie": "session=fake"})
        c.talk(f"/{style}/foo/ws?token=some-token", "hello", hears=2)
        c.talk(f"/{style}/foo/ws?token=t&q=7", "hello", "again", hears=3, headers={"cookie": "session=x"})
        c.talk(f"/{style}/foo/ws", "hello")


def clients(c: Conversation) -> None:
    with c.client.websocket_connect("/ws/1") as one:
        with c.client.websocket_connect("/ws/2") as two:
            one.send_text("Hello")
            c.heard += [one.receive_text(), two.receive_text()]
            two.send_text("Hi")
            c.heard += [one.receive_text(), two.receive_text()]
        c.heard.append(one.receive_text())


def everything(c: Conversation) -> None:
    c.talk("/v1/talk/blue?n=2", "1", '{"a":2}', hears=1, headers={"x-token": "anna"})
    c.talk("/v1/talk/blue?n=0", headers={"x-token": "anna"})
    c.talk("/v1/talk/blue?n=0", headers={"x-token": "wrong"})
    c.get("/v1/log")
    c.get("/v1/users/7", headers={"x-token": "anna"})
    c.get("/v1/users/seven", headers={"x-token": "anna", "x-key": "eight"})
    c.get("/v1/users/7")
    c.get("/v1/log")


@pytest.mark.parametrize(
    ("program", "says"),
    [("simple", simple_talk), ("parameters", parameters), ("clients", clients), ("everything", everything)],
)
def test_the_same_conversation(program: str, says: Any) -> None:
    def heard(names: Any) -> list[Any]:
        with names.TestClient(PROGRAMS[program](names)) as client:
            conversation = Conversation(client)
            says(conversation)
        return conversation.heard

    ours, theirs = heard(OURS), heard(THEIRS)
    assert ours == theirs
    assert len(ours) >= 2


@pytest.mark.parametrize("path", ["/annotated/foo/ws?token=t&q=x", "/default/foo/ws?token=t&q=x"])
def test_invalid_parameters_are_refused_with_the_same_code(path: str) -> None:
    """FastAPI gives the errors as the reason, which no client ever sees: the handshake is answered with 403."""

    def code(names: Any) -> int:
        client = names.TestClient(with_parameters(names))
        with pytest.raises(ENDED) as caught, client.websocket_connect(path):
            pass
        return int(caught.value.code)  # type: ignore[attr-defined]

    assert code(OURS) == code(THEIRS) == 1008


def test_a_denial_is_a_response_in_both() -> None:
    def denied(names: Any) -> Any:
        client = names.TestClient(with_everything(names))
        with (
            pytest.raises(ENDED) as caught,
            client.websocket_connect("/v1/talk/blue", headers={"x-token": "anna", "x-key": "13"}),
        ):
            pass
        return caught.value.status_code  # type: ignore[attr-defined]

    assert denied(OURS) == denied(THEIRS) == 403


def test_the_two_are_different_frameworks() -> None:
    def module(names: Any) -> Iterator[str]:
        return (getattr(names, name).__module__.split(".")[0] for name in ("App", "WebSocket", "Depends", "Query"))

    assert list(module(OURS)) == ["trunkline"] * 4
    assert list(module(THEIRS)) == ["fastapi", "starlette", "fastapi", "fastapi"]
