"""A dashboard behind a login: whoever has logged in sees live numbers, until they log out or their session ends.

    trunkline run examples.dashboard.main:app

Log in as `ada` with the password `lovelace`. The login is a form over HTTP that sets a cookie; a browser sends the
cookie along when the page opens its WebSocket, and the origin check of `App` sees to it that no other page can use it.
One `Authentication` serves both: the pages know who is there, and the WebSocket is closed with 3000 when the session
ends, whether by itself or because somebody logs out. The page that hears 3000 shows the login again.

Sessions are kept in the memory of one process here; with several, keep them where all find them, and let a topic of the
hub tell all processes who has logged out.
"""

import asyncio
import hmac
import os
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import scrypt, sha256
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from trunkline import App, Depends, HTTPException, Request, WebSocket
from trunkline.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from trunkline.security import (
    Authenticated,
    Authentication,
    CookieToken,
    Forbidden,
    get_authentication,
    origin_allowed,
)

SESSION_SECONDS = float(os.environ.get("SESSION_SECONDS", "3600"))
MAX_FORM = 4096  # bytes
COOKIE = "session"
SALT = b"of this example"


def hashed(password: str) -> bytes:
    """What is kept of a password."""
    return scrypt(password.encode(), salt=SALT, n=2**14, r=8, p=1)


PASSWORDS = {"ada": hashed("lovelace"), "grace": hashed("hopper")}


@dataclass(eq=False)
class Session:
    """Somebody who has logged in.

    Attributes:
        user: Their name.
        expires_at: When that ends, in seconds since 1970; `Authentication` looks at it.
        connections: Their open pages.
    """

    user: str
    expires_at: float
    connections: set[Authenticated[Any]] = field(default_factory=set)


# By the hash of the cookie: who reads the memory of the server cannot log in with what is there.
sessions: dict[str, Session] = {}


def key_of(token: str) -> str:
    """Where a session is kept."""
    return sha256(token.encode()).hexdigest()


async def session_of(token: str) -> Session | None:
    """The session of a cookie."""
    return sessions.get(key_of(token))


authentication = Authentication(CookieToken(COOKIE), session_of)
LoggedIn = Annotated[Session, Depends(authentication)]

app = App()


# region: live
@app.stream("/live")
async def live(websocket: WebSocket, session: LoggedIn) -> AsyncIterator[dict[str, Any]]:
    """The numbers, once a second. What closes the connection when the session ends is the authentication."""
    authenticated = get_authentication(websocket)
    session.connections.add(authenticated)
    try:
        while True:
            yield {
                "user": session.user,
                "pages": len(session.connections),
                "sessions": len(sessions),
                "load": round(os.getloadavg()[0], 2),
                "seconds": round(session.expires_at - time.time()),
            }
            await asyncio.sleep(1)
    finally:
        session.connections.discard(authenticated)


# endregion


async def from_here(request: Request) -> None:
    """Take forms from our own pages only: a page of somebody else must not log anybody in or out."""
    if not origin_allowed(request.headers.get("origin"), [request.headers.get("host", "")]):
        raise Forbidden("This form belongs to another page")


@app.post("/login", dependencies=[Depends(from_here)])
async def login(request: Request) -> Response:
    """Log in: a new session, whose cookie no script can read and no other site can have sent."""
    form = await form_of(request)
    user, password = form.get("user", ""), form.get("password", "")
    # In a thread, since it takes long on purpose; and as long for somebody who does not exist.
    given = await asyncio.to_thread(hashed, password)
    if not hmac.compare_digest(given, PASSWORDS.get(user, b"")):
        return page("login.html", "This is not a name and its password.", status_code=401)
    forget_expired()
    token = secrets.token_urlsafe(32)
    sessions[key_of(token)] = Session(user, time.time() + SESSION_SECONDS)
    return with_cookie(RedirectResponse("./", status_code=303), token, request)


@app.post("/logout", dependencies=[Depends(from_here)])
async def logout(request: Request, session: LoggedIn) -> Response:
    """Log out: the session is gone, and with it every connection of it."""
    del sessions[key_of(request.cookies[COOKIE])]
    for authenticated in tuple(session.connections):
        authenticated.revoke("You have logged out")
    response = RedirectResponse("./", status_code=303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@app.post("/stay", dependencies=[Depends(from_here)])
async def stay(request: Request, session: LoggedIn) -> Response:
    """Stay logged in: the session is longer from now on, and its open connections go on."""
    session.expires_at = time.time() + SESSION_SECONDS
    for authenticated in tuple(session.connections):
        authenticated.renew(session)
    return with_cookie(Response(status_code=204), request.cookies[COOKIE], request)


@app.get("/me")
async def me(session: LoggedIn) -> dict[str, str]:
    """Who is logged in; 401 for nobody. A page asks when its WebSocket was refused, which it is not told why."""
    return {"user": session.user}


@app.get("/")
async def start(request: Request) -> Response:
    """The dashboard, or the login."""
    session = await session_of(request.cookies.get(COOKIE, ""))
    if session is not None and session.expires_at > time.time():
        return page("dashboard.html")
    return page("login.html", "Your session has ended." if "ended" in request.query_params else "")


@app.get("/static/{file}")
async def asset(request: Request) -> FileResponse:
    """What the pages need."""
    if request.path_params["file"] not in ("dashboard.css", "dashboard.js"):
        raise HTTPException(404)
    return FileResponse(STATIC / request.path_params["file"], headers=HEADERS)


STATIC = Path(__file__).parent / "static"
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def page(name: str, message: str = "", status_code: int = 200) -> HTMLResponse:
    """A page, with a message of ours in it."""
    text = (STATIC / name).read_text().replace("{message}", message)
    return HTMLResponse(text, status_code=status_code, headers=HEADERS)


def with_cookie(response: Response, token: str, request: Request) -> Response:
    """A response that sets the cookie of a session."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=round(SESSION_SECONDS),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def forget_expired() -> None:
    """Make room: nobody asks for a session that has ended."""
    now = time.time()
    for key in [key for key, session in sessions.items() if session.expires_at <= now]:
        del sessions[key]


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a small form."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise HTTPException(413)
    return {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}
