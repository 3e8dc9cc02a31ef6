"""The brokers that the contract suite runs against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hub.redis_server import RedisServer
from trunkline.hub.brokers import Broker, MemoryBroker, MemoryServer
from trunkline.hub.brokers.redis import RedisBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for all tests that do it no harm."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for one test."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=["memory", "redis"])
def new_broker(request: pytest.FixtureRequest) -> Callable[[], Broker]:
    """Makes brokers on one server."""
    if request.param == "memory":
        memory = MemoryServer()
        return lambda: MemoryBroker(memory)
    redis: RedisServer = request.getfixturevalue("shared_redis")
    redis.command("FLUSHALL")
    return lambda: RedisBroker(redis.url)
