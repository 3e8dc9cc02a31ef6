# mypy: disable-error-code="untyped-decorator"
"""The WebSocket examples of FastAPI's documentation, and programs like them, as both frameworks run them.

Each program is written once, as FastAPI's user writes it, and is given the names that it imports: FastAPI's for one
application, ours for the other. `ours` and `theirs` serve all of them, each below its name, for tests on real servers.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import fastapi
import fastapi.exceptions
import fastapi.responses
import starlette.testclient
from pydantic import BaseModel, Field

import trunkline
import trunkline.exceptions
import trunkline.responses
import trunkline.testclient

THEIRS = SimpleNamespace(
    **{name: getattr(fastapi, name) for name in fastapi.__dir__()},
    App=fastapi.FastAPI,
    HTMLResponse=fastapi.responses.HTMLResponse,
    JSONResponse=fastapi.responses.JSONResponse,
    HTTPConnection=fastapi.requests.HTTPConnection,
    WebSocketRequestValidationError=fastapi.exceptions.WebSocketRequestValidationError,
    TestClient=starlette.testclient.TestClient,
)
OURS = SimpleNamespace(
    **{name: getattr(trunkline, name) for name in trunkline.__all__},
    APIRouter=trunkline.Router,
    HTMLResponse=trunkline.responses.HTMLResponse,
    JSONResponse=trunkline.responses.JSONResponse,
    WebSocketRequestValidationError=trunkline.exceptions.WebSocketRequestValidationError,
    TestClient=trunkline.testclient.TestClient,
)


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

    router = f.APIRouter()

    @router.websocket("/talk/{room}")
    async def talk(websocket: f.WebSocket, room: str, user: Annotated[str, f.Depends(get_user)], n: int = 1) -> None:
        await websocket.accept()
        for _ in range(n):
            await websocket.send_json({"room": room, "user": user, "heard": await websocket.receive_json()})
        await websocket.close(4000, "enough")

    @router.get("/log")
    def read() -> Any:
        entries = log.copy()
        log.clear()
        return entries

    @router.get("/users/{user_id}")
    async def user(user_id: int, user: Annotated[str, f.Depends(get_user)]) -> Any:
        return {"id": user_id, "user": user}

    app = f.App()
    app.include_router(router, prefix="/v1", dependencies=[f.Depends(verify)])
    return app


def with_page(f: Any) -> Any:
    """The page that talks, and the endpoint of the chapter on testing."""
    app = f.App()

    @app.get("/")
    async def get() -> Any:
        return f.HTMLResponse("<h1>WebSocket Chat</h1>")

    @app.websocket("/ws")
    async def hello(websocket: f.WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json({"msg": "Hello WebSocket", "to": "Jürgen"})
        await websocket.close()

    @app.websocket("/binary")
    async def binary(websocket: f.WebSocket) -> None:
        await websocket.accept(subprotocol="binary", headers=[(b"x-welcome", b"yes")])
        while True:
            await websocket.send_bytes(await websocket.receive_bytes())

    @app.websocket("/binary-json")
    async def binary_json(websocket: f.WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_json(await websocket.receive_json(mode="binary"), mode="binary")

    return app


class Filters(BaseModel):
    model_config = {"extra": "forbid"}

    limit: int = Field(100, gt=0, le=100)
    order_by: Literal["created_at", "updated_at"] = "created_at"
    tags: list[str] = []


class CommonHeaders(BaseModel):
    host: str
    save_data: bool
    if_modified_since: str | None = None
    x_tag: list[str] = []


class Cookies(BaseModel):
    session_id: str
    fatebook_tracker: str | None = None


def with_kinds_of_parameters(f: Any) -> Any:
    """Query, header, cookie and path parameters, with constraints, aliases, lists and models."""
    app = f.App()

    def tell(path: str) -> Any:
        """Add an endpoint that says what its parameters are."""

        def decorate(take: Any) -> Any:
            @app.websocket(path)
            async def endpoint(websocket: f.WebSocket, taken: Annotated[Any, f.Depends(take)]) -> None:
                await websocket.accept()
                await websocket.send_json(taken)
                await websocket.close()

            return take

        return decorate

    @tell("/items/{item_id}")
    def items(
        item_id: Annotated[int, f.Path(title="The ID", ge=1, le=1000)],
        q: Annotated[
            str | None, f.Query(alias="item-query", min_length=3, max_length=5, pattern="^[a-z]+$", deprecated=True)
        ] = None,
        size: Annotated[float, f.Query(gt=0, lt=10.5)] = 1,
        short: bool = False,
        many: Annotated[list[str], f.Query(description="Several")] = ["foo", "bar"],  # noqa: B006
    ) -> Any:
        return {"item_id": item_id, "q": q, "size": size, "short": short, "many": many}

    @tell("/filtered")
    def filtered(filters: Annotated[Filters, f.Query()]) -> Any:
        return filters.model_dump()

    @tell("/headers")
    def headers(
        x_token: Annotated[list[str] | None, f.Header()] = None,
        strange_header: Annotated[str | None, f.Header(convert_underscores=False)] = None,
        user_agent: Annotated[str | None, f.Header()] = "unknown",
    ) -> Any:
        return {"x": x_token, "strange": strange_header, "agent": bool(user_agent)}

    @tell("/common-headers")
    def common(headers: Annotated[CommonHeaders, f.Header()]) -> Any:
        return headers.model_dump(exclude={"host"})

    @tell("/cookies")
    def cookies(cookies: Annotated[Cookies, f.Cookie()], ads_id: Annotated[str | None, f.Cookie()] = None) -> Any:
        return [cookies.model_dump(), ads_id]

    @tell("/files/{path:path}")
    def files(path: str) -> Any:
        return path

    @tell("/connection")
    def connection(conn: f.HTTPConnection) -> Any:
        return [conn.url.path[-11:], dict(conn.query_params), conn.cookies]

    return app


def with_refusals(f: Any) -> Any:
    """Exceptions and closes, before and after `accept`, and an exception handler."""
    app = f.App()

    class UnicornException(Exception):
        pass

    @app.exception_handler(UnicornException)
    async def unicorn(websocket: f.WebSocket, exc: UnicornException) -> None:
        await websocket.close(4003, "a unicorn")

    @app.exception_handler(f.WebSocketRequestValidationError)
    async def invalid(websocket: f.WebSocket, exc: Any) -> None:
        await websocket.accept()
        await websocket.send_json([error["loc"] for error in exc.errors()])
        await websocket.close(1008)

    def raised(what: str) -> Exception:
        made: dict[str, Exception] = {
            "http": f.HTTPException(status_code=404, detail="Item not found", headers={"X-Error": "There goes"}),
            "websocket": f.WebSocketException(code=1008, reason="no room"),
            "unicorn": UnicornException(),
            "other": ValueError("an internal"),
        }
        return made[what]

    @app.websocket("/before/{what}")
    async def before(websocket: f.WebSocket, what: str) -> None:
        raise raised(what)

    @app.websocket("/after/{what}")
    async def after(websocket: f.WebSocket, what: str) -> None:
        await websocket.accept()
        await websocket.receive_text()
        raise raised(what)

    @app.websocket("/close/{code}")
    async def close(websocket: f.WebSocket, code: int, early: bool = False) -> None:
        if not early:
            await websocket.accept()
        await websocket.close(code, "enough")

    @app.websocket("/deny")
    async def deny(websocket: f.WebSocket) -> None:
        await websocket.send_denial_response(f.JSONResponse({"closed": "today"}, status_code=418))

    @app.websocket("/json")
    async def json(websocket: f.WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json(await websocket.receive_json())

    return app


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "simple": simple,
    "parameters": with_parameters,
    "clients": with_clients,
    "everything": with_everything,
    "page": with_page,
    "kinds": with_kinds_of_parameters,
    "refusals": with_refusals,
}


def below_their_names(f: Any) -> Any:
    """All programs as one application."""
    made = {name: program(f) for name, program in PROGRAMS.items()}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        name, _, path = scope["path"].removeprefix("/").partition("/")
        await made[name]({**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}, receive, send)

    return app


ours = below_their_names(OURS)
theirs = below_their_names(THEIRS)
