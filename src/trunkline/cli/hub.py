"""`trunkline hub`: look into the topics of a hub over Redis from outside, and publish to them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from trunkline.cli.loading import CommandError
from trunkline.hub import BrokerError, Hub, HubError, PresenceConfig, Retention, TopicConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = ["main"]


async def _watch(hub: Hub, options: argparse.Namespace) -> None:
    topic = hub.pattern(options.topic) if options.pattern else hub.topic(options.topic)
    async with topic.subscribe() as publications:
        print(f"watching {options.topic}", file=sys.stderr, flush=True)
        async for publication in publications:
            place = f"{publication.topic}  " if options.pattern else ""
            place += "" if publication.position is None else f"{publication.position}  "
            data = publication.data
            print(f"{place}{data if isinstance(data, str) else data.hex(' ')}", flush=True)


async def _publish(hub: Hub, options: argparse.Namespace) -> None:
    text = sys.stdin.read() if options.value is None else options.value
    position = await hub.topic(options.topic).publish(_value(text) if options.json else text)
    if position is not None:
        print(position)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"expected JSON, but {error}: {text!r}") from None


async def _topics(hub: Hub, options: argparse.Namespace) -> None:
    hub.ready()
    topics = await hub.broker.topics()
    for topic, processes in sorted(topics.items()):
        print(f"{processes:6}  {topic}")


async def _presence(hub: Hub, options: argparse.Namespace) -> None:
    print(json.dumps(await hub.topic(options.topic).presence(), ensure_ascii=False, indent=2, sort_keys=True))


async def _stats(hub: Hub, options: argparse.Namespace) -> None:
    topic = hub.topic(options.topic)
    present = await topic.presence()
    history = await hub.broker.history(topic.name, None)
    print(f"processes    {(await hub.broker.topics()).get(topic.name, 0)}")
    print(f"position     {history.top if history.top.offset else 'none: nothing kept was published'}")
    print(f"present      {len(present)} keys, {sum(map(len, present.values()))} connections")


_ACTIONS: Mapping[str, tuple[Callable[[Hub, argparse.Namespace], Awaitable[None]], str]] = {
    "watch": (_watch, "print what is published to a topic"),
    "publish": (_publish, "publish to a topic"),
    "topics": (_topics, "list the topics that somebody listens to"),
    "presence": (_presence, "print who is in a topic"),
    "stats": (_stats, "print figures of a topic"),
}


def _retention(text: str) -> Retention:
    count, _, seconds = text.partition(":")
    try:
        return Retention(int(count), float(seconds))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected COUNT:SECONDS, for example 100:3600, but got {text!r}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trunkline hub", description="Look into a hub over Redis, and publish to it.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (_, summary) in _ACTIONS.items():
        action = actions.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
        action.add_argument("url", metavar="URL", help="the URL of the broker, as the hub has it")
        if name != "topics":
            action.add_argument("topic", metavar="TOPIC", help="the name of the topic")
        if name in ("watch", "publish"):
            action.add_argument(
                "--keep", type=_retention, metavar="COUNT:SECONDS", help="the history of the topic, as its hubs keep it"
            )
        if name == "watch":
            action.add_argument(
                "--pattern", action="store_true", help="TOPIC is a pattern, in which * stands for anything"
            )
        if name == "publish":
            action.add_argument("value", nargs="?", metavar="VALUE", help="what to publish; standard input if left out")
            action.add_argument("--json", action="store_true", help="the value is JSON, not text")
    return parser


async def _run(options: argparse.Namespace) -> None:
    config = TopicConfig(history=getattr(options, "keep", None), presence=PresenceConfig())
    try:
        hub = Hub(options.url, topics={"*": config})
    except (ValueError, HubError) as error:
        raise CommandError(str(error)) from None
    async with hub:
        await _ACTIONS[options.action][0](hub, options)


def main(arguments: Sequence[str]) -> int:
    """Do what is asked; 1 if Redis cannot be reached."""
    options = _parser().parse_args(arguments)
    if options.url.startswith("memory:"):
        raise CommandError("a hub in memory cannot be looked into from another process")
    try:
        asyncio.run(_run(options))
    except BrokerError as error:
        print(f"trunkline hub: {error}", file=sys.stderr)
        return 1
    return 0
