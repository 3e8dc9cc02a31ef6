"""Commands as bytes and replies out of bytes (RESP2), many at a time.

redis-py makes and reads them one by one, with a timer and several coroutines for each line of a reply, which is fine
for a command now and then and was most of the cost of a publication. It makes the connections, which are handed over
here once they stand; a connection that is read from here is read from nowhere else.

Source: the Redis serialization protocol, version 2 (https://redis.io/docs/latest/develop/reference/protocol-spec/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Reader", "Replies", "pack"]

READ_SIZE = 64 * 1024
_STATUS, _ERROR, _NUMBER, _BULK, _ARRAY = b"+-:$*"


def pack(commands: Iterable[Sequence[Any]]) -> bytes:
    """Commands as they are sent; a word that is not `bytes` goes as its text."""
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            form = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(form), form))
    return b"".join(parts)


class Replies:
    """What a server says, in pieces as they come.

    Args:
        read_error: Makes an exception of what an error reply says. It stands in the place of a reply, to be raised by
            whom it concerns.
    """

    def __init__(self, read_error: Callable[[str], Exception]) -> None:
        self._read_error = read_error
        self._pieces: list[bytes] = []
        self._size = 0
        # Less than this has no whole line, or bulk, in it.
        self._needed = 1
        # Arrays that are not complete yet, outermost first: what they have, and how many are to come in all.
        self._open: list[tuple[list[Any], int]] = []

    def feed(self, piece: bytes) -> list[Any]:
        """The replies that are whole with this piece: `bytes`, numbers, lists, None, or the exception of an error."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size < self._needed:
            return []
        data = b"".join(self._pieces)
        found: list[Any] = []
        place = 0
        while (end := data.find(b"\r\n", place)) >= 0:
            behind = end + 2
            kind, word = data[place], data[place + 1 : end]
            if kind == _BULK:
                size = int(word)
                if size >= 0:
                    start, behind = behind, behind + size + 2
                    if behind > len(data):
                        break
                    word = data[start : behind - 2]
                self._place(word if size >= 0 else None, found)
            elif kind == _ARRAY:
                self._begin(int(word), found)
            elif kind == _NUMBER:
                self._place(int(word), found)
            elif kind == _STATUS:
                self._place(word, found)
            elif kind == _ERROR:
                self._place(self._read_error(word.decode(errors="replace")), found)
            else:
                raise ConnectionError(f"expected a reply of RESP2, but got {data[place : place + 40]!r}")
            place = behind
        self._pieces, self._size = [data[place:]], len(data) - place
        self._needed = (behind if end >= 0 else len(data) + 1) - place
        return found

    def _begin(self, count: int, found: list[Any]) -> None:
        if count > 0:
            self._open.append(([], count))
        else:
            self._place([] if count == 0 else None, found)

    def _place(self, value: Any, found: list[Any]) -> None:
        """Put a value where it belongs: into the array that is open, or to the replies that are whole."""
        while self._open:
            items, count = self._open[-1]
            items.append(value)
            if len(items) < count:
                return
            self._open.pop()
            value = items
        found.append(value)


class Reader:
    """Reads what comes on a connection of redis-py's that stands.

    Args:
        connection: Nothing may be on its way from the server.
    """

    def __init__(self, connection: Any) -> None:
        self._stream: asyncio.StreamReader = connection._reader
        self._replies = Replies(connection._parser.parse_error)

    async def next(self) -> list[Any]:
        """The replies that come next, at least one.

        Raises:
            ConnectionError: The server has closed the connection, or speaks another protocol.
        """
        while True:
            piece = await self._stream.read(READ_SIZE)
            if not piece:
                raise ConnectionError("Connection closed by server.")
            if found := self._replies.feed(piece):
                return found
