"""Three ways to write an endpoint that mostly sends, from the naive one to the right one."""

import asyncio
import itertools

from trunkline import App, WebSocket

app = App()


# region: naive
@app.websocket("/naive")
async def naive(websocket: WebSocket) -> None:
    await websocket.accept()
    for number in itertools.count():
        await websocket.send_json(number)
        await asyncio.sleep(1)


# endregion


# region: wait_closed
@app.websocket("/wait-closed")
async def announced(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("welcome")
    code, reason = await websocket.wait_closed()
    print(f"left with {code} {reason}")


# endregion


# region: tasks
@app.websocket("/tasks")
async def both(websocket: WebSocket) -> None:
    await websocket.accept()
    async with websocket.tasks() as tasks:
        tasks.create_task(send_numbers(websocket))
        async for text in websocket.iter_text():
            await websocket.send_text(f"you said: {text}")


async def send_numbers(websocket: WebSocket) -> None:
    for number in itertools.count():
        await websocket.send_json(number)
        await asyncio.sleep(1)


# endregion
