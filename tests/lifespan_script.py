"""Applications whose lifespan goes by a script, and the ways in which it can fail; for both test clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trunkline.types import ASGIApp, Receive, Scope, Send

UP, DOWN = "lifespan.startup.complete", "lifespan.shutdown.complete"


class Broken(Exception):
    """What a broken application raises."""


def lifespan_app(*script: str | Exception) -> ASGIApp:
    """An application that answers each phase with an item of the script: a message type, or an exception to raise.

    It leaves the length of the script in the state.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["phases"] = len(script)
        for item in script:
            await receive()
            if isinstance(item, Exception):
                raise item
            await send({"type": item, "message": "reason"})

    return app


async def dies_after_start(scope: Scope, receive: Receive, send: Send) -> None:
    """An application whose lifespan starts, and then fails before it is asked to stop."""
    await receive()
    await send({"type": UP})
    raise Broken("meanwhile")


FAILURES: list[tuple[ASGIApp, type[Exception], str]] = [
    (lifespan_app(Broken("up")), Broken, "up"),
    (lifespan_app(UP, Broken("down")), Broken, "down"),
    (dies_after_start, Broken, "meanwhile"),
    (lifespan_app("lifespan.startup.failed"), RuntimeError, "lifespan startup of the application failed: reason"),
    (lifespan_app(UP, "lifespan.shutdown.failed"), RuntimeError, "lifespan shutdown of the application failed: reason"),
    (lifespan_app(DOWN), RuntimeError, 'Expected ASGI message "lifespan.startup.complete"'),
]


def failure_id(value: Any) -> str | None:
    return value if isinstance(value, str) else ""
