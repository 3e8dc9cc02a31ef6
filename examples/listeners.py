"""Endpoints that are called for each message. Run it with `trunkline run listeners:app`."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from pydantic import BaseModel

from trunkline import App, Depends, WebSocket

app = App()


# region: echo
@app.listener("/echo")
def echo(message: str) -> str:
    return f"you said: {message}"


# endregion


# region: messages
class Join(BaseModel):
    type: Literal["join"] = "join"
    room: str


class Say(BaseModel):
    type: Literal["say"] = "say"
    text: str


class Said(BaseModel):
    type: Literal["said"] = "said"
    who: str
    text: str


# endregion


# region: parameters
class Database:
    """Stands for a transaction of a real one."""

    def __init__(self) -> None:
        self.rows: list[str] = []


async def transaction() -> AsyncIterator[Database]:
    database = Database()
    yield database  # begins before a message is handled, and ends when its answer has been sent


@app.listener("/rooms/{room}")
async def say(
    message: Say,
    room: str,
    database: Annotated[Database, Depends(transaction, scope="message")],
    who: str = "somebody",
) -> Said:
    database.rows.append(f"{room}: {message.text}")
    return Said(who=who, text=message.text)


# endregion


# region: class
@app.listener("/chat")
class Chat:
    def __init__(self, websocket: WebSocket, who: str = "somebody") -> None:
        self.websocket = websocket
        self.who = who
        self.room = "lobby"

    def on_connect(self) -> Said:
        return Said(who="the server", text=f"welcome, {self.who}")

    def on_join(self, message: Join) -> None:
        self.room = message.room

    def on_say(self, message: Say) -> Said:
        return Said(who=self.who, text=f"{message.text} (in {self.room})")

    def on_disconnect(self, close_code: int) -> None:
        print(f"{self.who} left {self.room} with {close_code}")


# endregion
