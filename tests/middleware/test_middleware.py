"""The listing of middleware."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import starlette.middleware

from trunkline.middleware import Middleware

if TYPE_CHECKING:
    from trunkline.types import ASGIApp, Receive, Scope, Send


class Tagging:
    def __init__(self, app: ASGIApp, tag: str, *, level: int = 0) -> None:
        self.app = app
        self.tag = tag
        self.level = level

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def factory(app: ASGIApp, tag: str) -> ASGIApp:
    return Tagging(app, tag)


def test_it_unpacks_as_class_and_arguments() -> None:
    cls, args, kwargs = Middleware(Tagging, "a", level=2)
    assert (cls, args, kwargs) == (Tagging, ("a",), {"level": 2})


def test_its_repr_is_that_of_the_reference() -> None:
    for made in (
        Middleware(Tagging, "a", level=2),
        Middleware(factory, "a"),
        Middleware(functools.partial(factory), "a"),
    ):
        theirs = starlette.middleware.Middleware(made.cls, *made.args, **made.kwargs)
        assert repr(made) == repr(theirs)
