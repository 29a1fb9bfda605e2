"""What is served: the page, its data, how the run stands, and talks: fixed addresses, none of them a file's."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from html import escape
from typing import Any, cast

from aiohttp import web

from sparring.errors import SparringError
from sparring.files import Row, text_of
from sparring.runs import Run
from sparring.view.guard import LARGEST, Guard, protect
from sparring.view.now import now
from sparring.view.talks import Busy, Talks
from sparring.view.watch import Watch

LONGEST = 20_000
"""Characters of a message to a model."""
POLICY = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'"
"""What a page cannot ask for by itself; its own policy, in its head, allows its scripts by their hashes."""


@dataclass(frozen=True)
class Served:
    """What the addresses of one server lead to."""

    run: Run
    watch: Watch
    talks: Talks
    guard: Guard
    thread: Executor
    """One thread, in which the run's files are read."""

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.guard.middleware], client_max_size=LARGEST)
        app.on_response_prepare.append(protect)
        app.router.add_get("/", self.page)
        app.router.add_get("/now", self.now)
        app.router.add_get(r"/data/{edition:\d{1,9}}/{name:[a-z0-9-]{1,20}}.json", self.data)
        app.router.add_post("/say", self.say)
        app.router.add_post("/stop", self.stop)
        app.router.add_post("/end", self.end)
        return app

    async def page(self, _: web.Request) -> web.Response:
        edition, html = await self._do(self.watch.page)
        headers = {"Content-Security-Policy": POLICY}
        text = served(html, edition.number, self.guard.token)
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def now(self, request: web.Request) -> web.Response:
        edition = request.query.get("edition", "")
        since = int(edition) if edition.isdecimal() and edition.isascii() and len(edition) < 10 else 0
        try:
            return _json(text_of(await self._do(self._now, since)))
        except SparringError:
            raise web.HTTPInternalServerError(text="A file of the run cannot be read.") from None

    def _now(self, since: int) -> Row:
        newest = self.watch.look()
        news = self.watch.news(since) if since != newest.number else []
        return {**now(self.run, time.time()), "edition": newest.number, "news": news, "problem": self.watch.problem}

    async def data(self, request: web.Request) -> web.Response:
        number, name = int(request.match_info["edition"]), request.match_info["name"]
        try:
            block = await self._do(self.watch.block, number, name)
        except SparringError:
            raise web.HTTPInternalServerError(text="A file of the run cannot be read.") from None
        if block is None:
            raise web.HTTPNotFound(text="There is no such block.")
        return _json(block, {"Content-Encoding": "gzip"})

    async def say(self, request: web.Request) -> web.StreamResponse:
        asked = await _asked(request)
        text, compare = asked.get("text"), asked.get("compare") is True
        if not isinstance(text, str) or len(text) > LONGEST:
            raise web.HTTPBadRequest(text=f"A message has at most {LONGEST:,} characters.")
        events = self.talks.say(_page(asked), text, compare)
        try:
            first = await anext(events, None)
        except Busy as busy:
            raise web.HTTPConflict(text=str(busy)) from None
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            await response.prepare(request)
            await response.write(_line(first))
            async for event in events:
                await response.write(_line(event))
            await response.write_eof()
        except ConnectionError:
            pass  # the page was closed, or its reader has heard enough
        finally:
            await events.aclose()
        return response

    async def stop(self, request: web.Request) -> web.Response:
        self.talks.stop(_page(await _asked(request)))
        return _json(b"{}")

    async def end(self, request: web.Request) -> web.Response:
        self.talks.end(_page(await _asked(request)))
        return _json(b"{}")

    async def _do(self, what: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.thread, what, *arguments)


def served(html: str, edition: int, token: str) -> str:
    """Return the page with what it needs to ask its server."""
    data = {"live": f"data/{edition}", "edition": edition, "token": token}
    told = "".join(f' data-{name}="{escape(str(value))}"' for name, value in data.items())
    return html.replace(' data-live="data"', told, 1)  # in <html>, before any word of the run


async def _asked(request: web.Request) -> Row:
    try:
        value = json.loads(await request.text())
    except (ValueError, LookupError, RecursionError):
        raise web.HTTPBadRequest(text="This is no JSON.") from None
    if not isinstance(value, dict):
        raise web.HTTPBadRequest(text="This is no object.")
    return cast(Row, value)


def _page(asked: Row) -> str:
    """Return the name that a page gave itself when it was loaded."""
    page = asked.get("page")
    if not isinstance(page, str) or not 8 <= len(page) <= 64 or not page.isalnum() or not page.isascii():
        raise web.HTTPBadRequest(text="A page says which it is: 8 to 64 letters and digits.")
    return page


def _json(data: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=data, content_type="application/json", charset="utf-8", headers=headers)


def _line(event: Row | None) -> bytes:
    return b"\n" if event is None else text_of(event)
