"""Limits and compression: of one route, and of a whole server.

Run it with `trunkline run limits:app`, or with other limits for all: `trunkline run limits:app --ws limits:Engine`.
"""

from typing import Annotated

from trunkline import App, Depends, WebSocket
from trunkline.engine import DeflateSettings, EngineSettings, WebSocketProtocol
from trunkline.limits import Limits, Rate
from trunkline.line import line_of
from trunkline.security import BearerToken

# region: app
app = App(limits=Limits(connections_per_ip=20, idle_timeout=600, max_life=24 * 3600))
# endregion


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


# region: message
@app.websocket("/chat", limits=Limits(max_message=4096, messages_per_second=Rate(5, burst=20)))
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


# endregion


# region: user
async def current_user(token: Annotated[str, Depends(BearerToken())]) -> str:
    return token.partition(":")[0]  # here it would be verified


@app.websocket("/feed", limits=Limits(connections_per_user=3, user=current_user))
async def feed(websocket: WebSocket, user: Annotated[str, Depends(current_user)]) -> None:
    await websocket.accept()
    await websocket.send_text(f"hello {user}")
    await websocket.wait_closed()


# endregion


# region: route
@app.websocket("/prices")
async def prices(websocket: WebSocket) -> None:
    line = line_of(websocket.scope)
    if line is not None:  # None on another server than our engine
        line.configure(max_message=4096, compression=DeflateSettings(context_takeover=True))
    await websocket.accept()
    async for symbol in websocket.iter_text():
        await websocket.send_json({"type": "price", "symbol": symbol, "price": 101.25, "currency": "EUR"})


# endregion


# region: server
class Engine(WebSocketProtocol):
    settings = EngineSettings(max_message=65536, compression=DeflateSettings(window_bits=15, memory_level=8))


# endregion
