"""A tab of a browser, and everything that a page did in it which one does not see."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import ConsoleMessage, Dialog, Page, Request, Route

CANARY = """
    window.__pwned = [];
    const caught = what => () => { window.__pwned.push(what) };
    for (const name of ["alert", "confirm", "prompt", "print"]) window[name] = caught(name);
    document.addEventListener("securitypolicyviolation", event => {
        window.__pwned.push(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`);
    });
"""
"""Runs in every page before its own scripts. `__pwned` fills where something of a run is executed, or tried to be."""


class Tab:
    """One page, watched: what it asked for, said in the console, and what went wrong in it."""

    def __init__(self, page: Page):
        self.page = page
        self.requests: list[str] = []
        self.console: list[str] = []
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        self._own, self._others = "", tuple[str, ...]()
        page.add_init_script(CANARY)
        page.on("request", self._asked)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("popup", lambda other: self.dialogs.append(f"window {other.url}"))
        page.route("http://**", self._only_own)
        page.route("https://**", self._only_own)

    def open(self, what: Path | str) -> Page:
        """Go to a file, or to an address of this machine; no other address is reached, no other folder read unseen."""
        url = what.resolve().as_uri() if isinstance(what, Path) else what
        self._own = url.rpartition("/")[0] if isinstance(what, Path) else "/".join(url.split("/")[:3])
        self.requests.clear()
        self.page.goto(url)
        return self.page

    def look_into(self, group: str) -> None:
        """Go to a group of rollouts by its id, as a link does."""
        self.page.evaluate("id => { location.hash = '#' + new URLSearchParams({g: id}) }", group)

    def may_ask(self, address: str) -> None:
        """Let requests to an address through: they stay strange, and whoever is asked has to refuse them."""
        self._others = (*self._others, address)

    @property
    def strange(self) -> list[str]:
        """What no page of ours does: dialogs, errors, words in the console, requests elsewhere, a canary's song."""
        found = [f"dialog {one}" for one in self.dialogs] + [f"error {one}" for one in self.errors]
        found += [f"console {one}" for one in self.console]
        found += [f"request {one}" for one in self.requests if not self._is_own(one)]
        sang: list[str] = self.page.evaluate("[...window.__pwned, ...Object.keys(Object.prototype)]")
        return [*found, *(f"canary {one}" for one in sang)]

    def _is_own(self, url: str) -> bool:
        return url.startswith((f"{self._own}/", "data:"))

    def _only_own(self, route: Route) -> None:
        if self._own and (self._is_own(route.request.url) or route.request.url.startswith(self._others)):
            route.continue_()
        else:
            route.abort()

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()
