"""The echo of trunkline_app.py as functions that are called for each message."""

from __future__ import annotations

from trunkline import App
from trunkline.routing import ListenerRoute


def text(message: str) -> str:
    return message


def binary(message: bytes) -> bytes:
    return message


app = App(routes=[ListenerRoute("/text", text), ListenerRoute("/binary", binary)])
