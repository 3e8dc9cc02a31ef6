"""The broker over Redis or Valkey: one process publishes, all that have members are told.

- Publications and questions go through one connection, in order, many at a time (`commands`).
- Connections are redis-py's; what is said on them is written and read here, as much at a time as there is (`replies`).
- What is delivered comes through another one, to which a topic is subscribed once per process (`listener`).
- A topic with a history has a stream whose ids are the offsets, and beside it the epoch (`scripts`).
- The URL (`urls`) says how the server is found: it is always the same, or the master of which Sentinels tell
  (`servers`), or one of those of a cluster, with two connections to each (`cluster`).

Both connections come back by themselves. What was published while the second was away is recovered by the hub where
there is a history, and counted where there is none.
"""

from __future__ import annotations

from trunkline.hub.brokers.redis.broker import RedisBroker

__all__ = ["RedisBroker"]
