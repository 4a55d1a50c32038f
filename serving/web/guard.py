"""Who may ask the page, and what every answer says to the browser: one layer around the whole application."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "Login"]

OPEN = "/health"  # asked by whatever watches over the page, which has no password
ASSETS = "/static/"
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
_ASKING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Login:
    """Name and password of HTTP's basic login."""

    user: str
    password: str

    def admits(self, authorization: str) -> bool:
        """Whether a header says both."""
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        wanted = f"{self.user}:{self.password}".encode()
        return hmac.compare_digest(given, wanted) and scheme.lower() == "basic"

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


class Guard:
    """Refuses what comes from elsewhere, and adds the headers that keep a browser from being used against its user.

    Args:
        app: the application.
        hosts: names under which the page may be asked; none for any. On the loopback they keep a site of somebody
            else, whose name was made to mean this machine, from reading the page.
        login: what everybody has to know; None for nothing.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = (), login: Login | None = None) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-cache" if scope["path"].startswith(ASSETS) else "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            advice = "Whoever runs it can add --allow-host NAME."
            return _refused(400, "The page is not known under this name.", advice)
        if scope["method"] not in _ASKING and not _from_here(headers, host):
            return _refused(403, "A search can only be sent from the page itself.")
        if self._login and scope["path"] != OPEN and not self._login.admits(headers.get("authorization", "")):
            response = _refused(401, "The page asks for a name and a password.")
            response.headers["www-authenticate"] = 'Basic realm="Lens", charset="UTF-8"'
            return response
        return None


def _refused(status: int, message: str, advice: str = "") -> Response:
    return JSONResponse({"error": message, "advice": advice}, status)


def _name(host: str) -> str:
    """Without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _from_here(headers: Headers, host: str) -> bool:
    """Whether a browser says that a page of ours sends this; what is no browser says nothing, and may."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or urlsplit(origin).netloc == host
