"""A task outside of the server, for example of Celery, that tells the browsers of a user."""

import os

from trunkline import Publisher, TopicConfig
from trunkline.hub import Position, Retention

TOPICS = {"user:*": TopicConfig(history=Retention(count=100, seconds=3600))}
publisher = Publisher(os.environ["TRUNKLINE_BROKER"], topics=TOPICS)


def order_shipped(user: int) -> Position | None:
    # Run again after an error, the task tells it once.
    return publisher.publish_sync(f"user:{user}", {"order": "shipped"}, idempotency_key="order 12")
