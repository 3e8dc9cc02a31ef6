"""How to refuse a connection, how to end one, and how to map exceptions of your own."""

from typing import Any

from trunkline import App, HTTPException, Router, WebSocket, WebSocketException

app = App()


# region: refuse
@app.websocket("/members")
async def members_only(websocket: WebSocket) -> None:
    if "token" not in websocket.query_params:
        raise HTTPException(401, "a token is needed")  # the client sees HTTP 401
    if websocket.query_params["token"] != "s3cret":
        raise WebSocketException(1008)  # the client sees HTTP 403
    await websocket.accept()
    await websocket.send_text("welcome")


# endregion


# region: end
@app.websocket("/numbers")
async def numbers(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        number = await websocket.receive_json()
        if number == 0:
            raise WebSocketException(4000, "zero is not taken")
        await websocket.send_json(1 / number)


# endregion


# region: handler
class OutOfStock(Exception):
    pass


@app.exception_handler(OutOfStock)
async def sold_out(websocket: Any, error: OutOfStock) -> None:
    await websocket.send_json({"error": "sold out"})
    await websocket.close(4001, "sold out")


@app.websocket("/orders")
async def orders(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    raise OutOfStock


# endregion


# region: tables
class SoldOut(Exception):
    pass


class NotYourTurn(Exception):
    pass


shop = Router(exception_handlers={SoldOut: 4001})


@shop.listener("/auction", exception_handlers={NotYourTurn: 4002})
def bid(message: str) -> str:
    if message == "again":
        raise NotYourTurn  # the table of the route: the client gets 4002
    raise SoldOut  # that of the router: 4001


app.include_router(shop)

# endregion
