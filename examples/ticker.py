"""Streams: a ticker, and an answer word by word. Run it with `trunkline run ticker:app`."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Literal

from pydantic import BaseModel

from trunkline import App

app = App()


# region: ticker
class Price(BaseModel):
    symbol: str
    price: float


@app.stream("/ticker/{symbol}")
async def ticker(symbol: str, every: float = 1.0) -> AsyncIterator[Price]:
    price = 100.0
    while True:
        price += random.uniform(-1, 1)
        yield Price(symbol=symbol, price=round(price, 2))
        await asyncio.sleep(every)


# endregion


# region: watchlist
class Watch(BaseModel):
    type: Literal["watch"] = "watch"
    symbol: str


class Done(BaseModel):
    type: Literal["done"] = "done"


@app.stream("/watchlist")
async def watchlist(messages: AsyncIterator[Watch | Done]) -> AsyncIterator[Price]:
    async for message in messages:
        if isinstance(message, Done):
            return
        yield Price(symbol=message.symbol, price=100.0)


# endregion
