"""The application: routes, middleware, exception handlers, the lifespan, and other applications mounted in it."""

from __future__ import annotations

from trunkline.applications._app import App

__all__ = ["App"]
