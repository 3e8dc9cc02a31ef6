"""The three kinds of endpoints: in memory, and on real servers with a real client, with the Line and without."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.contracts.clients import MemoryClient, WebsocketsClient
from tests.contracts.script import Case, Outcome, Step, close, drop, receive, send
from tests.contracts.servers import serve, serving
from tests.integration.endpoints_app import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS = serving(
    "tests.integration.endpoints_app", "engine", "engine-without-the-line", "uvicorn-websockets-sansio", "hypercorn"
)
MEMORY = "in memory"


@pytest.fixture(scope="module", params=[MEMORY, *ROWS], ids=lambda row: row if row == MEMORY else row.name)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What runs a case: in memory, or on a server."""
    if request.param == MEMORY:
        yield lambda case: MemoryClient(app).run(case, "testserver")
        return
    with serve(request.param, tmp_path_factory.mktemp("log")) as running:
        yield lambda case: WebsocketsClient().run(case, running.host)


def case(path: str, *steps: Step, subprotocols: tuple[str, ...] = (), **expected: Any) -> Case:
    return Case(name=path, path=path, steps=steps, subprotocols=subprotocols, expected=Outcome(**expected))


ENDS = (close(),)
SAY = '{"type":"say","text":"hü"}'

# What becomes of exceptions: the innermost table that has a handler counts.

KINDS = ("raw", "plain", "waiting", "stream")

FULL = {"route": 4001, "included": 4002, "router": 4002, "inclusion": 4004, "mount": 4005, "app": 4003}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", FULL)
def test_a_close_code_stands_for_an_exception(run: Callable[[Case], Outcome], kind: str, level: str) -> None:
    before = ("failing",) if kind == "stream" else ()
    ended = case(f"/{level}/{kind}", send("full"), received=before, closed=(FULL[level], ""))
    assert run(ended) == ended.expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", FULL)
def test_a_close_code_before_accept_is_a_refusal(run: Callable[[Case], Outcome], kind: str, level: str) -> None:
    refused = case(f"/{level}/{kind}?fail=full", refused=403)
    assert run(refused) == refused.expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("why", "received", "closed"),
    [
        ("broke", ("it broke",), (1011, "")),
        ("teapot", (), (4418, "")),
        ("kicked", (), (4100, "kicked")),
        ("unmapped", (), (4999, "")),
    ],
)
def test_the_tables_of_a_route_and_of_its_application(
    run: Callable[[Case], Outcome], kind: str, why: str, received: tuple[str, ...], closed: tuple[int, str]
) -> None:
    before = ("failing",) if kind == "stream" else ()
    ended = case(f"/route/{kind}", send(why), received=before + received, closed=closed)
    assert run(ended) == ended.expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_of_a_router_may_deny_the_handshake(run: Callable[[Case], Outcome], kind: str) -> None:
    denied = case(f"/included/{kind}?fail=closed", refused=409, body='{"room":"closed"}')
    assert run(denied) == denied.expected


# What listeners and streams do for a connection


def logged(run: Callable[[Case], Outcome], *wanted: str) -> None:
    """Wait until just this has been noted, in this order."""
    seen: list[str] = []
    deadline = time.monotonic() + 10
    while len(seen) < len(wanted):
        assert time.monotonic() < deadline, f"{seen} instead of {wanted}"
        (text,) = run(case("/log")).received
        seen += json.loads(text)
    assert seen == list(wanted)


def test_a_dependency_of_the_scope_message(run: Callable[[Case], Outcome]) -> None:
    outcome = run(case("/per-message", send("a"), receive(), send("b"), receive(), *ENDS))
    assert outcome.received == ("a in session", "b in session")
    of_each = [[f"begin {one}", f"after {one}", f"commit {one}"] for one in "ab"]
    logged(run, "session begins", *of_each[0], *of_each[1], "session ends")


def test_a_dependency_of_the_scope_message_when_that_fails(run: Callable[[Case], Outcome]) -> None:
    assert run(case("/per-message", send("break"))).closed == (4001, "")
    logged(run, "session begins", "begin break", "roll back break")


@pytest.mark.parametrize("code", [1000, 3001])
def test_a_class_has_an_instance_for_each_connection(
    run: Callable[[Case], Outcome], code: int, request: pytest.FixtureRequest
) -> None:
    steps = receive(), send('{"type":"join","room":"blue"}'), send(SAY), send("{}"), receive(2), close(code)
    welcome, said, error = run(case("/class?who=anna", *steps)).received
    assert (welcome, said) == ("welcome, anna", '{"type":"say","text":"hü in blue"}')
    assert json.loads(error)["code"] == "invalid_message"
    heard = 1006 if "hypercorn" in request.node.name else code  # which tells no application a client's code
    logged(run, f"anna left with {heard}")


def test_answers_of_several_messages_in_hand_keep_the_order(run: Callable[[Case], Outcome]) -> None:
    steps = send("1"), send("2"), send("3"), send("4"), receive(4), *ENDS
    assert run(case("/at-once", *steps)).received == ("1", "2", "3", "4")


def test_a_listener_in_a_worker_thread(run: Callable[[Case], Outcome]) -> None:
    assert run(case("/threaded", send("a"), receive(), *ENDS)).received == ("a in a worker: True",)


@pytest.mark.parametrize("leaves", [close(1001), drop()], ids=["closes", "is lost"])
def test_a_stream_is_cancelled_when_the_client_leaves(run: Callable[[Case], Outcome], leaves: Step) -> None:
    assert run(case("/endless", receive(), leaves)).received == ("ready",)
    logged(run, "the stream has ended")


def test_a_stream_that_ends_closes(run: Callable[[Case], Outcome]) -> None:
    outcome = run(case("/finite"))
    assert outcome.received == ("text", b"bytes", '{"type":"say","text":"typed"}')
    assert outcome.closed == (1000, "")


# What a route says of typed messages

TYPED = ("raw", "once", "plain", "waiting", "stream")


def answers(outcome: Outcome) -> list[Any]:
    """The messages decoded; of errors their types."""
    values = [json.loads(data) if isinstance(data, str) else msgspec.msgpack.decode(data) for data in outcome.received]
    return [[error["type"] for error in value["errors"]] if value["type"] == "error" else value for value in values]


@pytest.mark.parametrize("kind", TYPED)
def test_an_invalid_message_is_answered_and_the_endpoint_goes_on(run: Callable[[Case], Outcome], kind: str) -> None:
    steps = send("{"), send('{"type":"say"}'), send(SAY), receive(3), *ENDS
    outcome = run(case(f"/reply/{kind}", *steps))
    assert answers(outcome) == [["json_invalid"], ["missing"], {"type": "say", "text": "hü"}]


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize("union", ["models", "declared", "dictionaries", "dataclasses"])
def test_a_union_is_told_apart_by_its_tag(run: Callable[[Case], Outcome], kind: str, union: str) -> None:
    steps = send('{"type":"shout"}'), send('{"type":"say"}'), send("{}"), send(SAY), receive(4), *ENDS
    outcome = run(case(f"/{union}/{kind}", *steps))
    *errors, value = answers(outcome)
    assert errors == [["union_tag_invalid"], ["missing"], ["union_tag_not_found"]]
    assert value == {"type": "say", "text": "hü"}


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize(
    ("level", "data", "closed"),
    [
        ("strict", "{", (1007, "the message cannot be decoded")),
        ("strict", '{"type":"say"}', (1008, "the message is not of an expected type")),
        ("raise", '{"type":"say"}', (4999, "")),
        ("mapped", "{", (4422, "")),
    ],
)
def test_a_policy_of_a_route(
    run: Callable[[Case], Outcome], kind: str, level: str, data: str, closed: tuple[int, str]
) -> None:
    ended = case(f"/{level}/{kind}", send(data), closed=closed)
    assert run(ended) == ended.expected


@pytest.mark.parametrize("kind", TYPED)
def test_over_a_number_of_invalid_messages_in_a_row(run: Callable[[Case], Outcome], kind: str) -> None:
    steps = [send("{"), send("{"), send(SAY), send("{"), send("{"), receive(5), send("{")]
    outcome = run(case(f"/few/{kind}", *steps))
    assert [type(answer) for answer in answers(outcome)] == [list, list, dict, list, list]
    assert outcome.closed == (1008, "too many invalid messages")


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize("subprotocol", ["game+json", "game+pack", None])
def test_the_codec_of_a_route_or_of_its_subprotocol(
    run: Callable[[Case], Outcome], kind: str, subprotocol: str | None
) -> None:
    data: str | bytes = msgspec.msgpack.encode({"type": "move", "x": 1})
    if subprotocol == "game+json":
        data = '{"type":"move","x":1}'
    offered = () if subprotocol is None else ("other", subprotocol)
    outcome = run(case(f"/game/{kind}", send(data), receive(), *ENDS, subprotocols=offered))
    assert (outcome.subprotocol, outcome.received) == (subprotocol, (data,))


@pytest.mark.parametrize("kind", TYPED)
def test_a_codec_of_ones_own(run: Callable[[Case], Outcome], kind: str) -> None:
    steps = send("say hello"), send("shout"), receive(2), *ENDS
    assert run(case(f"/words/{kind}", *steps)).received == ("say hello", "error word")


@pytest.mark.parametrize("kind", TYPED)
def test_the_codec_of_an_application_and_a_route_that_says_otherwise(run: Callable[[Case], Outcome], kind: str) -> None:
    for path, data in (
        (f"/packed/{kind}", msgspec.msgpack.encode({"type": "move", "x": 1})),
        (f"/packed/json/{kind}", '{"type":"move","x":1}'),
    ):
        assert run(case(path, send(data), receive(), *ENDS)).received == (data,)
