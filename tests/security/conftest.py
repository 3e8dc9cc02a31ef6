"""Each kind of connection (a plain ASGI server, our engine, our engine with a task for each connection), and Redis."""

from __future__ import annotations

from tests.hub.conftest import redis_server, shared_redis
from tests.listeners.conftest import anyio_backend, client

__all__ = ["anyio_backend", "client", "redis_server", "shared_redis"]
