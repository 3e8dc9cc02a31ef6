"""Parameters of endpoints, and dependencies that HTTP and WebSocket routes share.

    async def get_user(conn: HTTPConnection, token: Annotated[str, Query()]) -> User: ...

    @app.get("/me")
    async def me(user: Annotated[User, Depends(get_user)]) -> User: ...

    @app.websocket("/feed/{topic}")
    async def feed(websocket: WebSocket, topic: str, user: Annotated[User, Depends(get_user)]) -> None: ...

A route makes a plan of its endpoint once, which says everything that could not work; a connection follows it.
"""

from __future__ import annotations

from trunkline.dependencies._markers import Cookie, DependencyError, Depends, Header, Path, Query

__all__ = ["Cookie", "DependencyError", "Depends", "Header", "Path", "Query"]
