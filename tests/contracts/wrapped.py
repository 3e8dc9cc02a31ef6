"""The same application, behind a middleware that wraps `receive` and `send`: what it serves does not use the Line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contracts.application import app as the_suites

if TYPE_CHECKING:
    from trunkline.types import ASGIApp, Message, Receive, Scope, Send


def without_line(wrapped: ASGIApp) -> ASGIApp:
    """An application behind such a middleware."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_through() -> Message:
            return await receive()

        async def send_through(message: Message) -> None:
            await send(message)

        await wrapped(scope, receive_through, send_through)

    return app


app = without_line(the_suites)
