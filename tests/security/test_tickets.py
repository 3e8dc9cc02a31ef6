"""One-time tickets: good once, for a short time, in memory and in Redis."""

import asyncio
import builtins
import logging
import sys
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest

import trunkline.workers
from tests.asgi_call import CONNECT, Outcome, call, http_scope, websocket_scope
from tests.hub.redis_server import RedisServer
from trunkline import App, Depends, WebSocket
from trunkline.exceptions import HTTPException
from trunkline.security import (
    Authentication,
    BearerToken,
    FirstOf,
    MemoryTicketStore,
    TicketError,
    Tickets,
    TicketStore,
)
from trunkline.security._tickets import _key_of

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[TicketStore]:
    url = "memory://"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("shared_redis")
        server.command("FLUSHALL")
        url = server.url
    tickets = Tickets(url)
    yield tickets._store
    await tickets.aclose()


# The contract of stores


async def test_what_is_put_is_taken_once(store: TicketStore) -> None:
    await store.put("a", "ä", 60)
    await store.put("b", "", 60)
    assert await store.take("c") is None
    assert await store.take("a") == "ä"
    assert await store.take("a") is None
    assert await store.take("b") == ""


async def test_of_several_who_ask_at_once_one_gets_it(store: TicketStore) -> None:
    await store.put("a", "value", 60)
    taken = await asyncio.gather(*(store.take("a") for _ in range(10)))
    assert sorted(taken, key=str) == [None] * 9 + ["value"]


async def test_what_has_expired_is_gone(store: TicketStore) -> None:
    await store.put("a", "value", 0.001)
    await store.put("b", "value", 60)
    await asyncio.sleep(0.005)
    assert await store.take("a") is None
    assert await store.take("b") == "value"


# In memory


async def test_in_memory_what_has_expired_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryTicketStore(limit=2)
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    await store.put("a", "value", 10)
    await store.put("b", "value", 10)
    with pytest.raises(HTTPException, match="503: Too many tickets are outstanding"):
        await store.put("c", "value", 10)
    now[0] = 111.0
    await store.put("c", "value", 10)
    assert list(store._kept) == ["c"]


# In Redis


async def test_redis_holds_a_hash_that_expires(shared_redis: RedisServer) -> None:
    shared_redis.command("FLUSHALL")
    tickets = Tickets(shared_redis.url, seconds=20)
    ticket = await tickets.issue("anna")
    keys = shared_redis.command("KEYS", "*").decode()
    assert ticket not in keys
    assert f"trunkline:ticket:{_key_of(ticket)}" in keys
    left = int(shared_redis.command("PTTL", f"trunkline:ticket:{_key_of(ticket)}").strip(b":\r\n"))
    assert 0 < left <= 20_000
    await tickets.aclose()


async def test_two_processes_share_what_is_in_redis(shared_redis: RedisServer) -> None:
    one, other = Tickets(shared_redis.url), Tickets(shared_redis.url)
    ticket = await one.issue("anna")
    outcome = await ask(other, ticket)
    assert outcome.text == '"anna"'
    assert (await ask(one, ticket)).status == 401
    await one.aclose()
    await other.aclose()


def test_a_store_in_redis_serves_one_loop_after_the_other(shared_redis: RedisServer) -> None:
    tickets = Tickets(shared_redis.url)

    async def once() -> None:
        ticket = await tickets.issue("anna")
        assert await tickets._store.take(_key_of(ticket)) == "anna"
        await tickets.aclose()

    asyncio.run(once())
    asyncio.run(once())


async def test_a_redis_that_is_gone_is_an_error_without_the_ticket(redis_server: RedisServer) -> None:
    tickets = Tickets(redis_server.url)
    ticket = await tickets.issue("anna")
    redis_server.kill()
    outcome = await ask(tickets, ticket)
    assert outcome.error is not None
    assert ticket not in repr(outcome.error)
    assert _key_of(ticket) not in repr(outcome.error)
    await tickets.aclose()


def test_tickets_in_redis_need_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_redis(name: str, *args: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return real(name, *args)

    monkeypatch.delitem(sys.modules, "trunkline.security._redis", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_redis)
    missing = "redis"
    with pytest.raises(TicketError, match=r"pip install 'trunkline\[redis\]'"):
        Tickets("redis://localhost")
    missing = "asyncio"
    with pytest.raises(ModuleNotFoundError, match="asyncio"):
        Tickets("redis://localhost")


# As a source of tokens


def application(tickets: Tickets) -> App:
    app = App()

    @app.get("/")
    async def get(name: Annotated[str, Depends(tickets)]) -> str:
        return name

    @app.websocket("/")
    async def serve(websocket: WebSocket, name: Annotated[str, Depends(tickets)]) -> None:
        await websocket.accept()
        await websocket.send_text(name)

    return app


async def ask(tickets: Tickets, ticket: str, name: str = "ticket") -> Outcome:
    return await call(application(tickets), http_scope(query_string=f"{name}={ticket}".encode()))


@pytest.mark.parametrize("name", ["ticket", "t"])
async def test_a_ticket_lets_in_once(name: str, store: TicketStore) -> None:
    tickets = Tickets(store, name=name)
    ticket = await tickets.issue("anna")
    assert len(ticket) == 43
    assert ticket != await tickets.issue("anna")
    scope = websocket_scope(query_string=f"{name}={ticket}".encode())
    outcome = await call(application(tickets), scope, [CONNECT])
    assert outcome.sent[1]["text"] == "anna"
    for _ in range(2):
        outcome = await call(application(tickets), scope, [CONNECT])
        assert (outcome.status, outcome.text) == (401, "The ticket is not valid")
        assert outcome.headers["www-authenticate"] == "Ticket"


async def test_no_ticket_and_a_wrong_one(store: TicketStore) -> None:
    tickets = Tickets(store)
    assert (await ask(tickets, "", "other")).text == "Not authenticated"
    for wrong in ("nonsense", "%F0%9F%8E%AB", "a" * 5000):
        assert (await ask(tickets, wrong)).text == "The ticket is not valid"


async def test_tickets_beside_other_sources() -> None:
    """What a ticket was issued for is what `verify` gets."""

    async def verify(token: str) -> str | None:
        return token.removeprefix("session-") if token.startswith("session-") else None

    tickets = Tickets()
    authentication: Authentication[str] = Authentication(FirstOf(tickets, BearerToken()), verify)
    app = App()

    @app.get("/", dependencies=[])
    async def get(user: Annotated[str, Depends(authentication)]) -> str:
        return user

    ticket = await tickets.issue("session-anna")
    query = f"ticket={ticket}".encode()
    assert (await call(app, http_scope("/", query_string=query))).text == '"anna"'
    bearer = {"authorization": "Bearer session-bob"}
    assert (await call(app, http_scope("/", bearer))).text == '"bob"'
    # One that is used up is refused, whatever else is there.
    assert (await call(app, http_scope("/", bearer, query_string=query))).status == 401


# What cannot be


@pytest.mark.parametrize("store", ["nonsense", "redis+sentinel://localhost/x", None])
def test_a_store_that_cannot_be(store: Any) -> None:
    with pytest.raises(ValueError, match=r'expected "memory://", "redis://host:port/db".* but got'):
        Tickets(store)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_that_cannot_be(seconds: float) -> None:
    with pytest.raises(ValueError, match="a ticket is good for more than 0 seconds, but got"):
        Tickets(seconds=seconds)


async def test_a_value_that_cannot_be() -> None:
    with pytest.raises(TypeError, match="a ticket stands for a str, for example the name of the user, but got 1"):
        await Tickets().issue(1)  # type: ignore[arg-type]


# Several workers


async def test_tickets_in_memory_warn_where_there_are_several_workers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    monkeypatch.setenv("WEB_CONCURRENCY", "1")
    monkeypatch.setattr(trunkline.workers, "_told", 1)
    tickets = Tickets()
    await tickets.issue("anna")
    assert warnings() == []
    trunkline.workers.note_workers(2)  # as our engine does, when the first connection comes
    await tickets.issue("anna")
    await tickets.issue("anna")
    assert len(warnings()) == 1
    assert warnings()[0].startswith("there are 2 worker processes, but these tickets are kept in the memory of the one")
    Tickets()
    assert len(warnings()) == 2
    Tickets("redis://localhost:1")
    assert len(warnings()) == 2
