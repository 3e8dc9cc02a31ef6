"""The application: routes, middleware, exception handlers, the lifespan, and other applications mounted in it."""

from __future__ import annotations

from trunkline.applications._app import App
from trunkline.applications._children import LifespanError

__all__ = ["App", "LifespanError"]
