"""What is raised to refuse a connection because of who is there."""

from __future__ import annotations

from trunkline.exceptions import HTTPException

__all__ = ["Forbidden", "Unauthorized"]


class Unauthorized(HTTPException):
    """Raised where nobody, or nobody known, is there: 401, or after `accept` of a WebSocket a close with 3000.

    Args:
        detail: The text of the answer, or the close reason. Never a token.
        challenge: How one may authenticate, for the header `WWW-Authenticate`, which every 401 has (RFC 9110 section
            11.6.1).
    """

    def __init__(self, detail: str = "Not authenticated", *, challenge: str = "Bearer") -> None:
        super().__init__(401, detail, {"WWW-Authenticate": challenge})


class Forbidden(HTTPException):
    """Raised where somebody is known who may not do this: 403, or after `accept` of a WebSocket a close with 3003.

    Args:
        detail: The text of the answer, or the close reason.
    """

    def __init__(self, detail: str = "Forbidden") -> None:
        super().__init__(403, detail)
