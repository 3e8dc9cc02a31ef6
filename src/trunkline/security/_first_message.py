"""A token in the first message of a WebSocket, for clients that can put it nowhere else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio

from trunkline.security._errors import Unauthorized
from trunkline.security._tokens import TokenSource, signature_for
from trunkline.states import CONNECTING
from trunkline.websockets import WebSocket

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["FirstMessageToken"]

# Characters: more than any token has, and nothing to parse for somebody unknown.
LONGEST = 16 * 1024


class FirstMessageToken(TokenSource):
    """A token that a client sends as its first message, after the connection has been accepted.

    The connection is accepted to hear it, so everybody gets so far: a refusal is a close with 3000. For WebSocket
    routes only. What comes behind it are the endpoint's own messages. In `FirstOf` it is the last.

    Args:
        seconds: How long the message is waited for.
        field: Where the token is in the message, which is a JSON object then; left out, the text is the token.

    Raises:
        ValueError: The time is none.
    """

    _connection_class = WebSocket
    _accepts = True

    def __init__(self, seconds: float = 10.0, *, field: str | None = None) -> None:
        if not seconds > 0:
            raise ValueError(f"the first message is waited for more than 0 seconds, but got {seconds!r}")
        self._seconds = seconds
        self._field = field
        self.__signature__ = signature_for(WebSocket)

    async def find(self, connection: WebSocket[Any]) -> str:
        """The token of this connection.

        Raises:
            Unauthorized: No message came in time, or one without a token.
            WebSocketDisconnect: The client has left.
        """
        if connection.application_state is CONNECTING:
            await connection.accept()
        data: str | bytes = b""
        with anyio.move_on_after(self._seconds) as waiting:
            data = await connection._receive_any()
        if waiting.cancelled_caught:
            self._refuse("No token came in time")
        token = self._token_in(data) if isinstance(data, str) and len(data) <= LONGEST else None
        if not isinstance(token, str) or not token:
            self._refuse("The first message is not a token")
        return token

    def _token_in(self, text: str) -> object:
        if self._field is None:
            return text
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return message.get(self._field) if isinstance(message, dict) else None

    def _refuse(self, words: str) -> NoReturn:
        raise Unauthorized(words, challenge=self.challenge)
