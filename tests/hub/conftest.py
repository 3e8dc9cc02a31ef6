"""The brokers that the contract suite runs against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hub.redis_groups import RedisCluster, RedisSentinel
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


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """A cluster for all tests that do it no harm."""
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"), node_timeout=30_000)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def shared_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinel]:
    """A master and its Sentinel for all tests that do them no harm."""
    sentinel = RedisSentinel(tmp_path_factory.mktemp("sentinel"), down_after=30_000)
    yield sentinel
    sentinel.stop()


@pytest.fixture(params=["memory", "redis", "sentinel", "cluster"])
def new_broker(request: pytest.FixtureRequest) -> Callable[[], Broker]:
    """Makes brokers on one server, or one group of them."""
    if request.param == "memory":
        memory = MemoryServer()
        return lambda: MemoryBroker(memory)
    servers: RedisServer | RedisSentinel | RedisCluster = request.getfixturevalue(f"shared_{request.param}")
    servers.flush()
    return lambda: RedisBroker(servers.url)
