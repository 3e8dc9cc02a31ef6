"""trunkline: the WebSocket framework for Python's ASGI."""

__version__ = "0.1.0"
