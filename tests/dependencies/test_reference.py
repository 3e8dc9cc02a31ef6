"""Parameters side by side with FastAPI's: the same endpoint and the same connection give the same values and errors.

Endpoints are generated: each parameter has a place, a type, constraints, a default and an alias or none, and is written
in `Annotated` or as a default; some stand in a dependency of the endpoint. Both frameworks get the same connection.

Not generated, because `docs/differences.md` names it: `Annotated` and a marker as the default together, where FastAPI
forgets what else `Annotated` says.
"""

import inspect
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_origin
from urllib.parse import urlencode

import fastapi
import fastapi.exceptions
import starlette.requests
from hypothesis import example, given, settings, strategies as st
from pydantic import AliasChoices, BaseModel, Field, Json

import trunkline
import trunkline.exceptions
from tests.asgi_call import http, websocket
from trunkline.routing import Route

NAMES = ["a", "b_c", "item"]
ALIASES = [None, None, "x", "X-Y", "b-c"]
VALIDATION_ALIASES = [None, None, None, "x", AliasChoices("X-Y", "b_c"), AliasChoices("limit", "item", "x")]
VALUES = ["1", "0", "-7", "1.5", "true", "abc", "", "a", " 3 ", "1e3", "[1]", "None", "ü", "99999999999999999999"]


class Filter(BaseModel):
    limit: int = 3
    b_c: str | None = None
    tags: list[str] = []
    needed: int


class Forbidding(BaseModel):
    model_config = {"extra": "forbid"}
    a: int = 1
    x_y: list[int] = Field([], alias="X-Y")


class Allowing(BaseModel):
    model_config = {"extra": "allow"}
    a: float = 0


class Choosing(BaseModel):
    model_config = {"extra": "forbid"}
    b_c: int = Field(1, validation_alias=AliasChoices("x", "b_c", "other"))
    tags: list[int] = Field([], validation_alias=AliasChoices("item", "a"))


class ByName(BaseModel):
    model_config = {"extra": "allow", "populate_by_name": True}
    b_c: int = Field(1, alias="x")


class ByNameOnly(BaseModel):
    model_config = {"validate_by_alias": False, "validate_by_name": True}
    b_c: int = Field(1, alias="x")


class Holding(BaseModel):
    item: Json[list[int]]


# Types, each with defaults that fit, and with constraints that its values can be compared with.
SCALARS: list[tuple[Any, list[Any], list[dict[str, Any]]]] = [
    (int, [0, 7], [{}, {"ge": 1}, {"gt": 1, "lt": 10}, {"multiple_of": 3}]),
    (float, [0.5], [{}, {"le": 2}, {"allow_inf_nan": False}]),
    (str, ["", "text"], [{}, {}, {"min_length": 2}, {"max_length": 1}, {"pattern": "^a"}]),
    (bool, [True], [{}, {"strict": True}]),
    (Literal["a", "1"], ["a"], [{}]),
    (int | None, [None, 3], [{}, {"ge": 1}]),
    (str | None, [None], [{}, {"min_length": 2}]),
    (int | str, [1], [{}, {"union_mode": "left_to_right"}]),
    (Annotated[int, Field(gt=0)], [1], [{}, {"lt": 5}]),
]
SEQUENCES: list[tuple[Any, list[Any], list[dict[str, Any]]]] = [
    (list[int], [[], [1, 2]], [{}, {"min_length": 2}, {"fail_fast": True}]),
    (Json[list[int]], [[1]], [{}]),
    (list[str] | None, [None, ["a"]], [{}]),
    (tuple[int, ...], [(1,)], [{}]),
    (set[str], [{"a"}], [{"max_length": 1}, {}]),
    (list, [[]], [{}]),
]
MODELS: list[tuple[Any, list[Any], list[dict[str, Any]]]] = [
    (Filter, [], [{}]),
    (Forbidding, [], [{}]),
    (Allowing, [], [{}]),
    (Choosing, [], [{}]),
    (ByName, [], [{}]),
    (ByNameOnly, [], [{}]),
    (Holding, [], [{}]),
    (Choosing | None, [None], [{}]),
    (Filter | None, [None], [{}]),
    (Forbidding | None, [None], [{}]),
]
PLACES = {
    "Path": SCALARS,
    "Query": [*SCALARS, *SEQUENCES, *MODELS],
    "Header": [*SCALARS, *SEQUENCES, *MODELS],
    "Cookie": [*SCALARS, *SEQUENCES, *MODELS],
    "": SCALARS,
}
REQUIRED = inspect.Parameter.empty


@dataclass
class Spec:
    """One parameter, for either framework."""

    name: str
    place: str
    annotation: Any
    default: Any
    options: dict[str, Any]
    is_annotated: bool

    def parameter(self, framework: Any) -> inspect.Parameter:
        annotation, default = self.annotation, self.default
        if self.place and (self.is_annotated or self.place == "Path"):
            annotation = Annotated[annotation, getattr(framework, self.place)(**self.options)]
        elif self.place:
            default = getattr(framework, self.place)(... if default is REQUIRED else default, **self.options)
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


@st.composite
def specs(draw: Any, names: list[str], path: str) -> list[Spec]:
    found = []
    for name in names:
        place = "Path" if f"{{{name}}}" in path else draw(st.sampled_from([key for key in PLACES if key != "Path"]))
        annotation, defaults, options = draw(st.sampled_from(PLACES[place]))
        chosen = dict(draw(st.sampled_from(options)))
        default = REQUIRED if place == "Path" else draw(st.sampled_from([REQUIRED, *defaults]))
        is_model = any(annotation is model for model, _, _ in MODELS)
        alias = draw(st.sampled_from(ALIASES))
        if alias is not None and place and place != "Path" and not is_model:
            chosen["alias"] = alias
        validation_alias = draw(st.sampled_from(VALIDATION_ALIASES))
        if validation_alias is not None and place and place != "Path" and not is_model:
            chosen["validation_alias"] = validation_alias
        if place == "Header" and draw(st.booleans()):
            chosen["convert_underscores"] = False
        if place == "Path" and draw(st.booleans()):
            place, chosen = "", {}
        is_annotated = get_origin(annotation) is Annotated or draw(st.booleans())
        found.append(Spec(name, place, annotation, default, chosen, is_annotated))
    return found


@st.composite
def cases(draw: Any) -> Any:
    path = draw(st.sampled_from(["/", "/{a}", "/{a}/{item}"]))
    own = draw(specs(draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3)), path))
    inner = draw(specs(draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=2)), path))
    return path, own, inner


keys = st.sampled_from(["a", "b_c", "b-c", "item", "x", "X-Y", "x-y", "limit", "needed", "tags", "other"])
pairs = st.lists(st.tuples(keys, st.sampled_from(VALUES)), max_size=5)


def taking(parameters: list[inspect.Parameter], does: Any, annotations: Any = None) -> Any:
    """A function with this signature."""

    async def function(**values: Any) -> Any:
        return does(values)

    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function


def endpoint(framework: Any, own: list[Spec], inner: list[Spec], seen: list[Any], *, over: Any = None) -> Any:
    """An endpoint that notes what it and its dependency were given; `over` is the connection that it takes."""
    dependency = taking([spec.parameter(framework) for spec in inner], dict)
    depends = inspect.Parameter(
        "found", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Any, framework.Depends(dependency)]
    )

    def note(values: dict[str, Any]) -> Any:
        values.pop("connection", None)
        seen.append(values)

    connection = inspect.Parameter("connection", inspect.Parameter.KEYWORD_ONLY, annotation=over)
    parameters = [depends, *(spec.parameter(framework) for spec in own)]
    return taking([connection, *parameters] if over else parameters, note)


def scope_of(path: str, query: Any, headers: Any, cookies: Any, values: list[str]) -> dict[str, Any]:
    filled = path.replace("{a}", values[0] or "v").replace("{item}", values[1] or "w")
    raw = [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers]
    if cookies:
        raw.append((b"cookie", "; ".join(f"{key}={value}" for key, value in cookies).encode("latin-1")))
    return {"path": filled, "query_string": urlencode(query).encode(), "headers": raw}


def comparable(value: Any) -> Any:
    """Values that are equal where their types are, too: 1 is not True."""
    if isinstance(value, dict):
        return {key: comparable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(comparable, value)]
    if isinstance(value, float):
        return "float", repr(value)
    return type(value).__name__, value


def outcome(app: Any, seen: list[Any], scope: dict[str, Any]) -> Any:
    answer = http(app, scope.pop("path"), **scope)
    if answer.status == 200:
        return "values", comparable(seen.pop())
    assert answer.status == 422, answer.text
    return "errors", json.loads(answer.body)["detail"]


segments = st.lists(st.sampled_from([value for value in VALUES if value.strip()]), min_size=2, max_size=2)


FOUND = Spec("item", "Cookie", Filter, REQUIRED, {}, True)  # an empty cookie for a list, seen once in many runs


JSON = Spec("item", "Query", Json[list[int]], REQUIRED, {}, True)  # an empty one is none


@given(cases(), pairs, pairs, pairs, segments)
@example(("/", [JSON], []), [("item", "")], [], [], ["1", "1"])
@example(("/", [FOUND], []), [], [], [("tags", ""), ("needed", "1")], ["1", "1"])
@settings(max_examples=300)
def test_values_and_errors_are_those_of_fastapi(case: Any, query: Any, headers: Any, cookies: Any, values: Any) -> None:
    path, own, inner = case
    scope = scope_of(path, query, headers, cookies, values)
    ours: list[Any] = []
    theirs: list[Any] = []
    app = trunkline.App(routes=[Route(path, endpoint(trunkline, own, inner, ours))])
    reference = fastapi.FastAPI(openapi_url=None)
    reference.get(path)(endpoint(fastapi, own, inner, theirs))
    assert outcome(app, ours, dict(scope)) == outcome(reference, theirs, dict(scope))


@given(cases(), pairs, pairs, pairs, segments)
@settings(max_examples=100)
def test_values_and_errors_of_a_websocket_are_those_of_fastapi(
    case: Any, query: Any, headers: Any, cookies: Any, values: Any
) -> None:
    path, own, inner = case
    scope = scope_of(path, query, headers, cookies, values)
    filled = scope.pop("path")
    outcomes = []
    for framework, app in ((trunkline, trunkline.App()), (fastapi, fastapi.FastAPI(openapi_url=None))):
        seen: list[Any] = []
        handler = noting_errors(seen)
        app.add_exception_handler(errors_of(framework), handler)
        app.websocket(path)(endpoint(framework, own, inner, seen, over=framework.WebSocket))
        sent = websocket(app, filled, **dict(scope))
        outcomes.append((comparable(seen), [message["type"] for message in sent]))
    assert outcomes[0] == outcomes[1]


def noting_errors(seen: list[Any]) -> Any:
    async def note(connection: Any, error: Any) -> None:
        seen.append({"errors": list(error.errors())})
        await connection.close(1008)

    return note


def errors_of(framework: Any) -> Any:
    """The class of what is raised for an invalid handshake."""
    found = {trunkline: trunkline.exceptions, fastapi: fastapi.exceptions}[framework]
    return found.WebSocketRequestValidationError


def test_the_request_of_starlette_is_not_ours() -> None:
    """Else the comparison above would compare FastAPI with itself."""
    assert not issubclass(trunkline.Request, starlette.requests.Request)
