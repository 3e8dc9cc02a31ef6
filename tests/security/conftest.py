"""Each kind of connection: a plain ASGI server, our engine, and our engine with a task for each connection."""

from __future__ import annotations

from tests.listeners.conftest import anyio_backend, client

__all__ = ["anyio_backend", "client"]
