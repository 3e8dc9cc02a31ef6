"""The ASGI types, and the shapes of the callables an application is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

__all__ = [
    "ASGIApp",
    "ExceptionHandler",
    "ExceptionHandlers",
    "HTTPExceptionHandler",
    "Lifespan",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "StatefulLifespan",
    "StatelessLifespan",
    "WebSocketExceptionHandler",
]

AppType = TypeVar("AppType")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

StatelessLifespan = Callable[[AppType], AbstractAsyncContextManager[None]]
StatefulLifespan = Callable[[AppType], AbstractAsyncContextManager[Mapping[str, Any]]]
Lifespan = StatelessLifespan[AppType] | StatefulLifespan[AppType]

# A handler gets the Request or WebSocket and the exception. An HTTP handler returns a response or an awaitable of one.
HTTPExceptionHandler = Callable[[Any, Any], Any]
WebSocketExceptionHandler = Callable[[Any, Any], Awaitable[None]]
ExceptionHandler = HTTPExceptionHandler | WebSocketExceptionHandler

# By class of exceptions or HTTP status; a number is short for "close with this code", and counts for WebSockets only.
ExceptionHandlers = Mapping[Any, ExceptionHandler | int]
