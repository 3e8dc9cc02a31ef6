"""Parameters: where their values come from, what they become, and what a client is told of invalid ones."""

import enum
import json
import logging
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypeAliasType

from tests.asgi_call import CONNECT, Outcome, http, run, websocket, websocket_scope
from trunkline import App, Cookie, Depends, Header, HTTPConnection, Path, Query, Request, WebSocket
from trunkline.datastructures import State
from trunkline.exceptions import (
    RequestValidationError,
    TrunklineError,
    ValidationException,
    WebSocketRequestValidationError,
)
from trunkline.responses import JSONResponse, PlainTextResponse
from trunkline.routing import Mount, Route, Router, WebSocketRoute
from trunkline.websockets import WebSocketState


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Paging(BaseModel):
    limit: int = Field(10, le=100)
    tags: list[str] = []
    order_by: Literal["name", "age"] = "name"


class Strict(BaseModel):
    model_config = {"extra": "forbid"}
    q: int = 1


class Agent(BaseModel):
    user_agent: str
    x_tag: list[str] = []
    named: str = Field("", alias="x-other")


def answer(endpoint: Any, query: str = "", headers: Any = (), path: str = "/", route: str = "/") -> Outcome:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return http(App(routes=[Route(route, endpoint)]), path, query_string=query.encode(), headers=raw)


def given(endpoint: Any, *args: Any, **kwargs: Any) -> Any:
    outcome = answer(endpoint, *args, **kwargs)
    assert outcome.status == 200, outcome.text
    return json.loads(outcome.body)


def refused(endpoint: Any, *args: Any, **kwargs: Any) -> Any:
    outcome = answer(endpoint, *args, **kwargs)
    assert outcome.status == 422
    body = json.loads(outcome.body)
    assert body.keys() == {"detail"}
    return body["detail"]


def test_a_name_in_the_path_is_a_path_parameter_and_others_are_query_parameters() -> None:
    def endpoint(room: str, number: int, q: float, flag: bool = False, nothing: str | None = None) -> Any:
        return [room, number, q, flag, nothing]

    route = "/rooms/{room}/{number}"
    assert given(endpoint, "q=1.5&flag=yes", path="/rooms/blue/7", route=route) == ["blue", 7, 1.5, True, None]


def test_one_parameter_without_annotation_is_the_path_parameter_of_its_name() -> None:
    async def endpoint(room):  # type: ignore[no-untyped-def]
        return room

    assert given(endpoint, path="/blue", route="/{room}") == "blue"


def test_the_convertor_of_a_route_and_the_type_of_the_parameter_work_together() -> None:
    def endpoint(item: int, key: uuid.UUID, rest: str) -> Any:
        return [item, str(key), rest]

    key = str(uuid.uuid4())
    assert given(endpoint, path=f"/3/{key}/a/b", route="/{item:int}/{key}/{rest:path}") == [3, key, "a/b"]


def test_each_place_in_annotated_and_in_default_style() -> None:
    def annotated(
        room: Annotated[str, Path(max_length=4)],
        q: Annotated[int, Query(ge=1)],
        user_agent: Annotated[str, Header()],
        session: Annotated[str | None, Cookie()] = None,
    ) -> Any:
        return [room, q, user_agent, session]

    def default(
        room: str = Path(max_length=4),
        q: int = Query(ge=1),
        user_agent: str = Header(),
        session: str | None = Cookie(None),
    ) -> Any:
        return [room, q, user_agent, session]

    headers = [("user-agent", "curl"), ("cookie", "session=abc")]
    for endpoint in (annotated, default):
        assert given(endpoint, "q=1", headers, "/blue", "/{room}") == ["blue", 1, "curl", "abc"]
        errors = refused(endpoint, "q=0", (), "/yellow", "/{room}")
        assert [(error["type"], error["loc"]) for error in errors] == [
            ("string_too_long", ["path", "room"]),
            ("greater_than_equal", ["query", "q"]),
            ("missing", ["header", "user-agent"]),
        ]


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "7", 7),
        (bool, "off", False),
        (Colour, "red", "red"),
        (Literal["a", "b"], "b", "b"),
        (uuid.UUID, "0" * 32, "00000000-0000-0000-0000-000000000000"),
        (int | None, "3", 3),
        (Annotated[int, Field(gt=2)], "3", 3),
        (Annotated[int, Field(gt=2), Query(lt=9)], "3", 3),
        (bytes, "x", "x"),
        (Any, "x", "x"),
    ],
)
def test_types(annotation: Any, text: str, value: Any) -> None:
    def endpoint(q: Any) -> Any:
        return q

    endpoint.__annotations__["q"] = annotation
    if annotation is Any:  # alone it would be the connection
        endpoint.__annotations__["q"] = Annotated[Any, Query()]
    assert given(endpoint, f"q={text}") == value


def test_constraints_inside_annotated_count_with_and_without_a_marker() -> None:
    def endpoint(a: Annotated[int, Field(gt=2)] = 5, b: Annotated[int, Field(gt=2), Query(lt=9)] = 5) -> Any:
        return [a, b]

    assert given(endpoint) == [5, 5]
    assert [error["type"] for error in refused(endpoint, "a=1&b=1")] == ["greater_than", "greater_than"]
    assert [error["type"] for error in refused(endpoint, "b=9")] == ["less_than"]


def test_a_type_that_background_tasks_happen_to_have_is_a_type_like_any_other() -> None:
    def endpoint(call: Callable[[], None], q: int = 0) -> None: ...

    assert [error["type"] for error in refused(endpoint, "call=x")] == ["callable_type"]


Number = TypeAliasType("Number", Annotated[int, Query(alias="n")])


def test_the_name_of_a_type_stands_for_the_type() -> None:
    def endpoint(number: Number, other: int = 0) -> Any:
        return number

    assert given(endpoint, "n=3") == 3


def test_several_values_of_one_name() -> None:
    def endpoint(
        q: Annotated[list[int], Query()],
        x_tag: Annotated[set[str], Header()],
        last: str,
        maybe: Annotated[list[str] | None, Query()] = None,
        pair: Annotated[tuple[int, ...], Query()] = (4, 5),
    ) -> Any:
        return [q, sorted(x_tag), last, maybe, pair]

    headers = [("x-tag", "b"), ("x-tag", "a")]
    assert given(endpoint, "q=1&q=2&last=a&last=b", headers) == [[1, 2], ["a", "b"], "b", None, [4, 5]]
    assert given(endpoint, "q=1&last=&maybe=z&pair=6", headers) == [[1], ["a", "b"], "", ["z"], [6]]
    assert [error["loc"] for error in refused(endpoint, "q=1&q=x&last=a", headers)] == [["query", "q", 1]]


def test_aliases_and_underscores() -> None:
    def endpoint(
        q: Annotated[str, Query(alias="item-query")],
        strange_header: Annotated[str | None, Header(convert_underscores=False)] = None,
        x: Annotated[str | None, Header(alias="X-Other")] = None,
        c: Annotated[str, Cookie(alias="a.b")] = "none",
    ) -> Any:
        return [q, strange_header, x, c]

    headers = [("strange-header", "no"), ("strange_header", "yes"), ("x-other", "o"), ("cookie", "a.b=1")]
    assert given(endpoint, "item-query=v", headers) == ["v", "yes", "o", "1"]
    assert refused(endpoint, "q=v", headers) == [
        {"type": "missing", "loc": ["query", "item-query"], "msg": "Field required", "input": None}
    ]


def test_defaults_are_not_shared_and_factories_are_called_each_time() -> None:
    made: list[int] = []

    def make() -> list[int]:
        made.append(1)
        return list(made)

    def endpoint(
        shared: Annotated[list[str], Query()] = [],  # noqa: B006
        fresh: Annotated[list[int], Query(default_factory=make)] = ...,  # type: ignore[assignment]
    ) -> Any:
        shared.append("x")
        return [shared, fresh]

    app = App(routes=[Route("/", endpoint)])
    bodies = [json.loads(http(app, "/").body) for _ in range(2)]
    assert bodies == [[["x"], [1]], [["x"], [1, 1]]]


def test_a_default_is_validated_only_where_that_is_asked_for() -> None:
    def endpoint(a: int = Query("text"), b: int = Query("text", validate_default=True)) -> Any: ...

    assert [error["loc"] for error in refused(endpoint)] == [["query", "b"]]


# Models


def test_a_model_stands_for_several_parameters() -> None:
    def endpoint(page: Annotated[Paging, Query()], agent: Annotated[Agent, Header()]) -> Any:
        return [page, agent]

    headers = [("user-agent", "curl"), ("x-tag", "1"), ("x-tag", "2"), ("x-other", "o")]
    page = {"limit": 5, "tags": ["a", "b"], "order_by": "name"}
    agent = {"user_agent": "curl", "x_tag": ["1", "2"], "x-other": "o"}
    assert given(endpoint, "limit=5&tags=a&tags=b&unknown=1", headers) == [page, agent]
    errors = refused(endpoint, "limit=500&order_by=x")
    assert [error["loc"] for error in errors] == [
        ["query", "limit"],
        ["query", "order_by"],
        ["header", "user-agent"],
    ]


def test_a_model_may_refuse_others_and_may_be_left_out() -> None:
    def endpoint(
        strict: Annotated[Strict | None, Query()] = None, cookies: Annotated[Paging | None, Cookie()] = None
    ) -> Any:
        return [strict, cookies]

    assert given(endpoint) == [None, None]
    assert given(endpoint, "q=2", [("cookie", "limit=3")]) == [{"q": 2}, {"limit": 3, "tags": [], "order_by": "name"}]
    assert [(e["type"], e["loc"]) for e in refused(endpoint, "x=2")] == [("extra_forbidden", ["query", "x"])]


# What is known by type


def test_the_state_of_the_connection() -> None:
    def endpoint(state: State, conn: HTTPConnection[Any]) -> Any:
        return [state.word, state is conn.state]

    scope: Any = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {"word": "hello"}}
    assert json.loads(run(Router([Route("/", endpoint)]), scope)[1]["body"]) == ["hello", True]


def test_the_connection_by_a_generic_type() -> None:
    async def endpoint(websocket: WebSocket[State], q: int = 0) -> None:
        await websocket.accept()

    assert [message["type"] for message in websocket(Router([WebSocketRoute("/", endpoint)]), "/")] == [
        "websocket.accept",
        "websocket.close",
    ]


def test_parameters_of_mounts_and_prefixes_are_there() -> None:
    def endpoint(tenant: Annotated[str, Path()], item: int) -> Any:
        return [tenant, item]

    app = App(routes=[Mount("/{tenant}", routes=[Route("/{item}", endpoint)])])
    assert json.loads(http(app, "/acme/3").body) == ["acme", 3]


# Invalid parameters


async def numbered(websocket: WebSocket, q: Annotated[int, Query()], token: Annotated[int, Query()] = 0) -> None:
    await websocket.accept()


def test_an_invalid_websocket_is_refused_before_accept_and_its_errors_are_logged_without_what_was_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent = websocket(App(routes=[WebSocketRoute("/live", numbered)]), "/live", query_string=b"token=s3cret")
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]
    assert "a WebSocket to '/live' was refused: 2 invalid parameters" in caplog.text
    assert "query.q: Field required (missing)" in caplog.text
    assert "query.token: Input should be a valid integer" in caplog.text
    assert "s3cret" not in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_handler_may_send_a_denial_response_instead() -> None:
    async def deny(ws: WebSocket, error: WebSocketRequestValidationError) -> JSONResponse:
        return JSONResponse({"errors": error.errors()}, status_code=422)

    app = App(routes=[WebSocketRoute("/", numbered)], exception_handlers={WebSocketRequestValidationError: deny})
    sent = run(app, websocket_scope("/"), CONNECT)
    assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 422)
    assert json.loads(sent[1]["body"])["errors"][0]["loc"] == ["query", "q"]


def test_invalid_parameters_after_an_accept_close_with_1008() -> None:
    async def accepting(ws: WebSocket) -> None:
        await ws.accept()

    app = App(routes=[WebSocketRoute("/", numbered, dependencies=[Depends(accepting)])])
    sent = websocket(app, "/")
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert (sent[1]["code"], sent[1]["reason"]) == (1008, "the parameters of the handshake are invalid")


def test_a_handler_answers_an_invalid_request_instead() -> None:
    async def plain(request: Request, error: RequestValidationError) -> PlainTextResponse:
        return PlainTextResponse(f"{len(error.errors())} {error.body}", status_code=400)

    def endpoint(q: int, r: int) -> None: ...

    app = App(routes=[Route("/", endpoint)], exception_handlers={ValidationException: plain})
    # The class above it is nearer to nothing: the application's own handler for the exact class goes first.
    assert http(app, "/").status == 422
    app = App(routes=[Route("/", endpoint)], exception_handlers={RequestValidationError: plain})
    assert (http(app, "/").status, http(app, "/").text) == (400, "2 None")


def test_errors_of_all_dependencies_are_told_at_once_and_none_of_those_runs() -> None:
    ran: list[str] = []

    async def first(a: int) -> int:
        ran.append("first")
        return a

    async def second(b: int, _: Annotated[int, Depends(first)]) -> int:
        ran.append("second")
        return b

    async def third() -> None:
        ran.append("third")

    def endpoint(
        c: int,
        x: Annotated[int, Depends(second)],
        y: Annotated[int, Depends(first)],
        z: Annotated[None, Depends(third)],
    ) -> None: ...

    errors = refused(endpoint, "a=x&b=y")
    assert [error["loc"][1] for error in errors] == ["a", "b", "c"]
    assert ran == ["third"]


def test_an_error_of_a_validator_has_its_text_and_an_empty_exception_in_json() -> None:
    def even(value: int) -> int:
        if value % 2:
            raise ValueError("not even")
        return value

    def endpoint(q: Annotated[int, AfterValidator(even)] = 0, r: int = 0) -> None: ...

    assert refused(endpoint, "q=3") == [
        {
            "type": "value_error",
            "loc": ["query", "q"],
            "msg": "Value error, not even",
            "input": "3",
            "ctx": {"error": {}},
        }
    ]


def test_the_text_of_a_validation_error_leaves_the_input_out() -> None:
    error = RequestValidationError([{"type": "t", "loc": ("query", "q"), "msg": "m", "input": "s3cret"}])
    assert str(error) == "1 invalid parameter\n  query.q: m (t)"
    assert isinstance(error, TrunklineError)


def test_the_text_of_a_validation_error_is_short_and_has_no_lines_of_the_client() -> None:
    loc = ("query", "a\n2026 everything is well" + "x" * 1000)
    error = RequestValidationError([{"type": "t", "loc": loc, "msg": "m", "input": None}] * 12)
    lines = str(error).split("\n")
    assert len(lines) == 12
    assert lines[0] == "12 invalid parameters"
    assert lines[1].startswith("  query.a\\n2026 everything")
    assert max(map(len, lines)) < 210
    assert lines[-1] == "  and 2 more"


def test_an_accepted_state_is_what_the_endpoint_sees() -> None:
    states: list[WebSocketState] = []

    async def accepting(ws: WebSocket) -> None:
        await ws.accept()

    async def endpoint(ws: WebSocket, _: Annotated[None, Depends(accepting)]) -> None:
        states.append(ws.application_state)

    websocket(App(routes=[WebSocketRoute("/", endpoint)]), "/")
    assert states == [WebSocketState.CONNECTED]
