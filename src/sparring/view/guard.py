"""Who may ask what of the page's server: the page itself, in a browser on this machine, and no other site.

A page of another site can make this browser send requests here, and can make a name of its own mean 127.0.0.1. So the
Host must be ours, whatever a browser says of where a request comes from must be this page, and what changes anything
(talking to a model does) needs the token that only the page was given.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

HOST = "127.0.0.1"
TOKEN = "X-Sparring-Token"
LARGEST = 64 * 1024
"""Bytes of a request's body."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Server": "sparring",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer that does not say otherwise."""


@dataclass(frozen=True)
class Guard:
    """The rules of one server."""

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """Made anew at every start."""

    @property
    def hosts(self) -> frozenset[str]:
        names = (HOST, "localhost")
        return frozenset([f"{name}:{self.port}" for name in names] + ([*names] if self.port == 80 else []))

    def refusal(self, request: web.Request) -> web.HTTPException | None:
        """Return what to answer to a request that is not the page's; None where it is."""
        headers = request.headers
        if headers.getall("Host", []) != [request.host] or request.host not in self.hosts:
            return web.HTTPMisdirectedRequest(text="This server answers to its own address alone.")
        if not request.raw_path.startswith("/"):
            return web.HTTPBadRequest(text="This is no proxy.")
        origins, sites = headers.getall("Origin", []), headers.getall("Sec-Fetch-Site", [])
        foreign = any(origin != f"http://{request.host}" for origin in origins)
        if foreign or any(site not in ("same-origin", "none") for site in sites):
            return web.HTTPForbidden(text="Another site may not ask for this. Open the address in a tab of its own.")
        return None if request.method in ("GET", "HEAD") else self._changing(request)

    def _changing(self, request: web.Request) -> web.HTTPException | None:
        if request.method != "POST":
            return web.HTTPMethodNotAllowed(
                request.method, ["GET", "HEAD", "POST"], text="There is no such method here."
            )
        given = request.headers.get(TOKEN, "").encode("utf-8", "surrogateescape")
        if "Origin" not in request.headers or not secrets.compare_digest(given, self.token.encode()):
            return web.HTTPForbidden(text="This page is of an earlier start: load it again.")
        if request.content_type != "application/json":
            return web.HTTPUnsupportedMediaType(text="Only JSON is read here.")
        return None

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            if refusal := self.refusal(request):
                raise refusal
            return await handler(request)

        return guarded


async def protect(_: web.Request, response: web.StreamResponse) -> None:
    """Put the headers on an answer, whatever made it."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = HEADERS["Server"]
