"""The answer to what nobody handled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.asgi_call import Lost, call, http_scope, websocket_scope
from trunkline.applications import App
from trunkline.middleware.errors import ServerErrorMiddleware
from trunkline.responses import JSONResponse, PlainTextResponse, Response
from trunkline.routing import Route

if TYPE_CHECKING:
    from trunkline.requests import Request
    from trunkline.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


class Secret(Exception):
    pass


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    token = "a-token-in-a-variable"
    raise Secret(f"<script>{len(token)} password hunter2</script>")


async def test_a_client_is_told_nothing_but_that_it_was_us() -> None:
    outcome = await call(ServerErrorMiddleware(failing), http_scope())
    assert isinstance(outcome.error, Secret)
    assert (outcome.status, outcome.body) == (500, b"Internal Server Error")


@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
async def test_debug_answers_with_the_traceback_as_text(accept: str | None) -> None:
    headers = {} if accept is None else {"accept": accept}
    outcome = await call(ServerErrorMiddleware(failing, debug=True), http_scope(headers=headers))
    assert isinstance(outcome.error, Secret)
    assert outcome.headers["content-type"] == "text/plain; charset=utf-8"
    assert b"Traceback" in outcome.body
    assert b"Secret: <script>" in outcome.body


async def test_debug_answers_a_browser_with_a_page_that_runs_nothing() -> None:
    outcome = await call(ServerErrorMiddleware(failing, debug=True), http_scope(headers={"accept": "text/html,*/*"}))
    assert outcome.headers["content-type"] == "text/html; charset=utf-8"
    assert b"&lt;script&gt;" in outcome.body
    assert b"<script" not in outcome.body
    assert b"password hunter2" in outcome.body


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
async def test_values_of_variables_are_never_shown(accept: str) -> None:
    async def holding(scope: Scope, receive: Receive, send: Send) -> None:
        token = "".join(["hunter", "2"])
        raise Secret(len(token))

    outcome = await call(ServerErrorMiddleware(holding, debug=True), http_scope(headers={"accept": accept}))
    assert b"hunter2" not in outcome.body


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
async def test_a_message_that_cannot_be_encoded_hides_nothing(accept: str) -> None:
    async def undecodable(scope: Scope, receive: Receive, send: Send) -> None:
        raise FileNotFoundError("photo-\udcff.jpg")

    outcome = await call(ServerErrorMiddleware(undecodable, debug=True), http_scope(headers={"accept": accept}))
    assert isinstance(outcome.error, FileNotFoundError)
    assert b"photo-\\udcff.jpg" in outcome.body


async def by_function(request: Request, exc: Exception) -> Response:
    return JSONResponse({"path": request.url.path, "error": type(exc).__name__}, status_code=500)


def by_plain_function(request: Request, exc: Exception) -> Response:
    return JSONResponse({"path": request.url.path, "error": type(exc).__name__}, status_code=500)


@pytest.mark.parametrize("handler", [by_function, by_plain_function])
async def test_a_handler_answers_and_the_exception_is_raised_on(handler: Any) -> None:
    outcome = await call(ServerErrorMiddleware(failing, handler=handler), http_scope("/x"))
    assert isinstance(outcome.error, Secret)
    assert outcome.body == b'{"path":"/x","error":"Secret"}'


async def test_a_handler_that_answers_nothing_leaves_it_to_us() -> None:
    outcome = await call(ServerErrorMiddleware(failing, handler=lambda request, exc: None), http_scope())
    assert outcome.body == b"Internal Server Error"


async def test_a_response_that_has_begun_is_left_alone() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("ok")(scope, receive, send)
        raise Secret

    outcome = await call(ServerErrorMiddleware(late), http_scope())
    assert isinstance(outcome.error, Secret)
    assert outcome.body == b"ok"


async def test_a_client_that_has_gone_does_not_hide_the_exception() -> None:
    outcome = await call(ServerErrorMiddleware(failing), http_scope(), sends_before_loss=0)
    assert isinstance(outcome.error, Secret)
    assert not isinstance(outcome.error.__context__, Lost)


async def test_a_websocket_passes_through() -> None:
    outcome = await call(ServerErrorMiddleware(failing, debug=True), websocket_scope())
    assert isinstance(outcome.error, Secret)
    assert outcome.sent == []


@pytest.mark.parametrize("key", [500, Exception])
async def test_an_application_answers_the_unhandled_by_its_handler(key: Any) -> None:
    def endpoint(request: Request) -> None:
        raise Secret

    outcome = await call(App(routes=[Route("/x", endpoint)], exception_handlers={key: by_function}), http_scope("/x"))
    assert isinstance(outcome.error, Secret)
    assert outcome.body == b'{"path":"/x","error":"Secret"}'
