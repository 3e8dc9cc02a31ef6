"""Starlette's and FastAPI's exceptions inside an application of ours, and our routers inside theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fastapi
import pytest
import starlette.applications
import starlette.exceptions
import starlette.routing
import starlette.websockets
from starlette.staticfiles import StaticFiles

from tests.asgi_call import CONNECT, Outcome, call, http_scope, websocket_scope
from trunkline.applications import App
from trunkline.exceptions import HTTPException, WebSocketException
from trunkline.middleware.kin import is_a
from trunkline.responses import PlainTextResponse, Response
from trunkline.routing import Route, Router
from trunkline.websockets import WebSocket, WebSocketDisconnect

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline.requests import Request

pytestmark = pytest.mark.anyio


def app_raising(exc: Exception, *, accept: bool) -> App:
    app = App()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket) -> None:
        if accept:
            await websocket.accept()
        raise exc

    return app


async def opened(app: App) -> Outcome:
    return await call(app, websocket_scope(), [CONNECT])


async def test_a_file_that_starlettes_static_files_does_not_have_is_a_404(tmp_path: Path) -> None:
    app = App()
    app.mount("/static", StaticFiles(directory=tmp_path))
    outcome = await call(app, http_scope("/static/missing.css"), [{"type": "http.request"}])
    assert outcome.error is None
    assert (outcome.status, outcome.body) == (404, b"Not Found")


async def test_a_path_that_a_mounted_starlette_router_does_not_have_meets_our_handler() -> None:
    async def not_found(request: Request, exc: Any) -> Response:
        return PlainTextResponse(f"no {request.url.path}", status_code=exc.status_code)

    app = App(exception_handlers={404: not_found})
    app.mount("/theirs", starlette.routing.Router())
    outcome = await call(app, http_scope("/theirs/x"))
    assert (outcome.status, outcome.body) == (404, b"no /theirs/x")


@pytest.mark.parametrize("http_exception", [starlette.exceptions.HTTPException, fastapi.HTTPException])
async def test_their_http_exception_on_a_websocket_ends_as_ours(http_exception: Any) -> None:
    denied = await opened(app_raising(http_exception(401), accept=False))
    assert (denied.error, denied.status, denied.body) == (None, 401, b"Unauthorized")
    closed = await opened(app_raising(http_exception(401), accept=True))
    assert (closed.error, closed.close) == (None, (3000, "Unauthorized"))


@pytest.mark.parametrize("accept", [False, True])
@pytest.mark.parametrize(
    "websocket_exception", [starlette.exceptions.WebSocketException, fastapi.WebSocketException, WebSocketException]
)
async def test_their_websocket_exception_ends_as_ours(websocket_exception: Any, *, accept: bool) -> None:
    outcome = await opened(app_raising(websocket_exception(4001, "bye"), accept=accept))
    assert (outcome.error, outcome.close) == (None, (4001, "bye"))


async def test_their_disconnect_is_a_normal_end() -> None:
    outcome = await opened(app_raising(starlette.websockets.WebSocketDisconnect(1001), accept=True))
    assert isinstance(outcome.error, starlette.websockets.WebSocketDisconnect)
    assert outcome.close is None


async def test_a_handler_for_our_class_gets_theirs_too() -> None:
    async def teapot(request: Request, exc: Exception) -> Response:
        return PlainTextResponse(type(exc).__module__)

    async def endpoint(request: Request) -> Response:
        raise fastapi.HTTPException(418)

    app = App(routes=[Route("/", endpoint)], exception_handlers={HTTPException: teapot})
    assert (await call(app, http_scope())).body == b"fastapi.exceptions"


@pytest.mark.parametrize("framework", [starlette.applications.Starlette, fastapi.FastAPI])
async def test_our_router_answers_itself_inside_their_application(framework: Any) -> None:
    async def endpoint(request: Request) -> Response:
        raise AssertionError

    app = framework()
    app.mount("/ours", Router([Route("/x", endpoint, methods=["POST"])]))
    assert (await call(app, http_scope("/ours/none"))).status == 404
    refused = await call(app, http_scope("/ours/x"))
    assert (refused.status, refused.headers["allow"]) == (405, "POST")


def test_what_is_kin() -> None:
    assert is_a(WebSocketDisconnect(), WebSocketDisconnect)
    assert is_a(starlette.websockets.WebSocketDisconnect(), WebSocketDisconnect)
    assert not is_a(starlette.exceptions.HTTPException(404), WebSocketException)
    assert not is_a(None, HTTPException)
