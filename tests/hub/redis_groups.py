"""Redis servers that belong together: a cluster, and a master with a replica and a Sentinel that watches them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.contracts.servers import free_port
from tests.hub.redis_server import DEADLINE, RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["RedisCluster", "RedisSentinel", "until"]

# A replica does not wait for others that might want the same snapshot.
AT_ONCE = {"repl_diskless_sync_delay": 0}


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait for servers to agree."""
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def is_synchronised(replica: RedisServer) -> bool:
    """Whether a replica has all of its master's data."""
    return b"master_link_status:up" in replica.command("INFO", "replication")


class RedisCluster:
    """Three masters with a third of the slots each, and a replica of the first.

    Args:
        folder: Where they keep their data.
        node_timeout: For how many milliseconds a server may be silent before the others believe that it is gone.
            Short where a test waits for that; long where a busy machine must not look like it.
    """

    def __init__(self, folder: Path, node_timeout: int = 500) -> None:
        self.servers = []
        ports = []
        for number in range(4):
            data = folder / str(number)
            data.mkdir()
            ports.append(free_port())
            options = {"cluster_enabled": "yes", "cluster_node_timeout": node_timeout, "cluster_port": ports[-1]}
            options |= AT_ONCE
            self.servers.append(RedisServer(data, **options))
        self.masters, self.replica = self.servers[:3], self.servers[3]
        for number, (server, slots) in enumerate(
            zip(self.masters, ("0 5460", "5461 10922", "10923 16383"), strict=True), start=1
        ):
            server.command("CLUSTER", "SET-CONFIG-EPOCH", str(number))
            server.command("CLUSTER", "ADDSLOTSRANGE", *slots.split())
        for server, port in zip(self.servers, ports, strict=True):
            self.servers[0].command("CLUSTER", "MEET", "127.0.0.1", str(server.port), str(port))
        until(self._is_complete, "the cluster does not come together")
        first = self.masters[0].command("CLUSTER", "MYID").split()[1].decode()
        self.replica.command("CLUSTER", "REPLICATE", first)
        until(lambda: is_synchronised(self.replica), "the replica does not follow")
        until(lambda: all(self._knows_the_replica(server) for server in self.servers), "nobody knows the replica")
        # Of the first two the second alone would do.
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:2])

    def _is_complete(self) -> bool:
        states = [server.command("CLUSTER", "INFO") for server in self.servers]
        return all(b"cluster_state:ok" in state and b"cluster_known_nodes:4" in state for state in states)

    def _knows_the_replica(self, server: RedisServer) -> bool:
        return b" slave " in server.command("CLUSTER", "NODES").replace(b"myself,", b" ")

    def flush(self) -> None:
        """Forget all data."""
        for server in self.masters:
            server.command("FLUSHALL")

    def stop(self) -> None:
        """End all."""
        for server in self.servers:
            server.stop()


class RedisSentinel:
    """A master, a replica, and a Sentinel that makes the one the other when the master is silent.

    Args:
        folder: Where they keep their data.
        down_after: For how many milliseconds the master may be silent before the Sentinel believes that it is gone.
            Short where a test waits for that; long where a busy machine must not look like it.
    """

    def __init__(self, folder: Path, down_after: int = 300) -> None:
        for name in ("master", "replica", "sentinel"):
            (folder / name).mkdir()
        self.master = RedisServer(folder / "master", **AT_ONCE)
        self.replica = RedisServer(folder / "replica", replicaof=f"127.0.0.1 {self.master.port}", **AT_ONCE)
        until(lambda: is_synchronised(self.replica), "the replica does not follow")
        self.sentinel = _Sentinel(folder / "sentinel", self.master, down_after)
        until(self._is_watched, "the Sentinel does not know the replica")
        # The first of them is not there.
        self.url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{self.sentinel.port}/rooms"

    def _is_watched(self) -> bool:
        return str(self.replica.port).encode() in self.sentinel.command("SENTINEL", "REPLICAS", "rooms")

    def flush(self) -> None:
        """Forget all data."""
        self.master.command("FLUSHALL")

    def stop(self) -> None:
        """End all."""
        for server in (self.sentinel, self.replica, self.master):
            server.stop()


class _Sentinel(RedisServer):
    """A Sentinel, which keeps what it knows in its configuration."""

    def __init__(self, folder: Path, master: RedisServer, down_after: int) -> None:
        self._configuration = folder / "sentinel.conf"
        self._configuration.write_text(
            f"""
            sentinel monitor rooms 127.0.0.1 {master.port} 1
            sentinel down-after-milliseconds rooms {down_after}
            sentinel failover-timeout rooms 2000
            """
        )
        super().__init__(folder)

    def _command_line(self) -> list[str]:
        return [self._program, str(self._configuration), "--sentinel", "--port", str(self.port)]
