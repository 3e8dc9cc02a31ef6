"""Publishing from where no hub lives: HTTP handlers of another process, threads, Celery, cron.

A publisher of a hub hands over to the hub's event loop. A publisher of a URL has a hub of its own in a thread of its
own, started with the first publication, so it may be used from any thread and any event loop, also from many short
ones as `asyncio.run` makes them. A child process that was forked starts its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

from trunkline.hub.errors import HubError
from trunkline.hub.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from concurrent.futures import Future
    from typing import Self

    from trunkline.hub.config import TopicConfig
    from trunkline.hub.publication import Position

__all__ = ["Publisher"]


class _Thread:
    """A hub in a thread with an event loop."""

    def __init__(self, url: str, topics: Mapping[str, TopicConfig] | None) -> None:
        self.process = os.getpid()
        self.hub = Hub(url, topics=topics)
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="publisher", daemon=True)
        self._thread.start()
        self._started.wait()

    async def _live(self) -> None:
        self._end = asyncio.Event()
        async with self.hub:
            self._started.set()
            await self._end.wait()

    def stop(self) -> None:
        self.hub.loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


class Publisher:
    """Publishes to the topics of a hub, from any thread, with or without an event loop.

        publisher = Publisher("redis://localhost", topics=TOPICS)
        publisher.publish_sync("room:42", {"text": "from a Celery task"})

    Args:
        hub_or_url: A hub of this process, whose event loop runs, or the URL of a broker between processes, as `Hub`
            takes it.
        topics: For a URL: what topics keep. Give the same as to the hubs.

    Raises:
        ValueError: It is no URL of a broker between processes.
        TypeError: It is neither, or `topics` were given for a hub, which has its own.
    """

    def __init__(self, hub_or_url: Hub | str, *, topics: Mapping[str, TopicConfig] | None = None) -> None:
        if not isinstance(hub_or_url, (Hub, str)):
            raise TypeError(f"expected a Hub or the URL of a broker, but got {hub_or_url!r}")
        if isinstance(hub_or_url, Hub) and topics is not None:
            raise TypeError("a publisher of a hub publishes as the hub does: give `topics` to the hub alone")
        if isinstance(hub_or_url, str):
            if hub_or_url.startswith("memory:"):
                raise ValueError(f"nobody else is to be reached by {hub_or_url!r}: give the Hub itself")
            Hub(hub_or_url, topics=topics)  # for its errors, here instead of in the first publication
        self._hub_or_url = hub_or_url
        self._topics = topics
        self._lock = threading.Lock()
        self._thread: _Thread | None = None

    async def publish(
        self, topic: str, value: Any, *, idempotency_key: str | None = None, timeout: float = 5.0
    ) -> Position | None:
        """Publish, waiting in the event loop that runs.

        Args:
            topic: The name of the topic.
            value: A `str` for a text message, `bytes` for a binary one, anything else as JSON.
            idempotency_key: What names this publication, so that trying it again sends it once.
            timeout: Seconds within which the broker must have taken it.

        Returns:
            Its position, for a topic with a history.

        Raises:
            TypeError: The value cannot be written as JSON.
            HubError: The hub's event loop does not run.
            BrokerError: The broker could not be reached in time; nothing was published.
            OutcomeUnknown: The broker has not answered in time; try again under the same `idempotency_key`.
        """
        hub = self._hub()
        publishing = hub.topic(topic).publish(value, idempotency_key=idempotency_key, timeout=timeout)
        if hub.is_at_home():
            return await publishing
        return await asyncio.wrap_future(_submit(hub, publishing))

    def publish_sync(
        self, topic: str, value: Any, *, idempotency_key: str | None = None, timeout: float = 5.0
    ) -> Position | None:
        """Publish, and let the thread wait.

        Args:
            topic: The name of the topic.
            value: A `str` for a text message, `bytes` for a binary one, anything else as JSON.
            idempotency_key: What names this publication, so that trying it again sends it once.
            timeout: Seconds within which the broker must have taken it.

        Returns:
            Its position, for a topic with a history.

        Raises:
            TypeError: The value cannot be written as JSON.
            HubError: The hub's event loop does not run, or runs in this very thread.
            BrokerError: The broker could not be reached in time; nothing was published.
            OutcomeUnknown: The broker has not answered in time; try again under the same `idempotency_key`.
        """
        hub = self._hub()
        if _is_in(hub):
            raise HubError("the hub lives in this thread, which must not wait: use `await publisher.publish(...)`")
        submitted = _submit(hub, hub.topic(topic).publish(value, idempotency_key=idempotency_key, timeout=timeout))
        try:
            return submitted.result()
        except BaseException:
            submitted.cancel()
            raise

    def close(self) -> None:
        """End the thread of a publisher of a URL; a hub stays. The next publication starts it again."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and thread.process == os.getpid():
            thread.stop()

    async def aclose(self) -> None:
        """As `close`, while the event loop goes on."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _hub(self) -> Hub:
        if isinstance(self._hub_or_url, Hub):
            return self._hub_or_url
        with self._lock:
            # A thread does not survive a fork.
            if self._thread is None or self._thread.process != os.getpid():
                self._thread = _Thread(self._hub_or_url, self._topics)
            return self._thread.hub


def _is_in(hub: Hub) -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return hub.is_at_home()


def _submit(hub: Hub, publishing: Coroutine[Any, Any, Position | None]) -> Future[Position | None]:
    if not hub.is_running():
        publishing.close()
        raise HubError("the hub has not been used in an event loop that runs: there is nobody to publish to yet")
    return asyncio.run_coroutine_threadsafe(publishing, hub.loop)
