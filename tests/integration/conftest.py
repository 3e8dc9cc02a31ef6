"""Redis, for what is tested on several processes."""

from __future__ import annotations

from tests.hub.conftest import redis_server

__all__ = ["redis_server"]
