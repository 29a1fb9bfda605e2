"""What is asked of servers before anything else is: are they there, do they let us in, do they have the model?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from sparring.engines.wire import Gone, Refused, Rejected, Stumbled, Wire, key_advice
from sparring.errors import EngineError

OPTIONS = ("key", "tokenizer", "concurrency", "deadline")
WAITING = 30.0
"""Seconds for each question at the door."""
LISTED = 10
"""Names of models in a message."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a server tells of a model."""

    root: str | None = None
    """Where it has the model from."""
    reads: str | None = None
    """Where its tokenizer is from: the base model's, for an adapter."""


class Door:
    """Questions to the endpoints of one engine."""

    def __init__(self, wire: Wire, model: str):
        self.wire, self.model, self.urls = wire, model, list(wire.keys)

    async def enter(self) -> Card:
        """Ask every endpoint, and return what the first tells of the model. Raises EngineError."""
        cards = await asyncio.gather(*(self._ask(url) for url in self.urls))
        return next((card for card in cards if card.root), cards[0])

    async def served(self) -> str:
        """Say what the first endpoint serves; "" where it does not say. Raises EngineError."""
        names = await self._models(self.urls[0])
        return "" if names is None else f"{self.urls[0]} serves {listed(list(names))}"

    async def _ask(self, url: str) -> Card:
        models = await self._models(url)
        if models is None:
            return Card()
        names = (self.model, f"{self.model}:latest", f"models/{self.model}", self.model.partition(":")[0])
        found = next((models[name] for name in names if name in models), None)
        if found is None:
            close = get_close_matches(self.model, models, n=1, cutoff=0.4)
            nearest = f"did you mean {close[0]!r}? " if close else ""
            raise EngineError(f"{url} does not serve {self.model!r}; {nearest}it serves {listed(list(models))}")
        root = _text(found.get("root"))
        base = models.get(_text(found.get("parent")) or "")
        return Card(root, _text(base.get("root")) if base else root)

    async def _models(self, url: str) -> dict[str, dict[str, Any]] | None:
        """Return the models an endpoint lists, by name; None where it answers but keeps no list."""
        try:
            status, body, raw = await self.wire.get(url, "/models", WAITING)
        except Gone as error:
            raise EngineError(f"cannot reach {url}: {error}") from None
        except Stumbled as error:
            raise EngineError(f"cannot reach {error.detail}; is it {_other_scheme(url)}?") from None
        entries: Any = cast("dict[str, Any]", body).get("data") if isinstance(body, dict) else body
        if status == 200 and isinstance(entries, list):
            cards = [cast("dict[str, Any]", entry) for entry in cast("list[Any]", entries) if isinstance(entry, dict)]
            return {self.wire.clean(str(card["id"])): card for card in cards if "id" in card}
        if status in (401, 403):
            said = self.wire.told(raw).message
            raise EngineError(f"{url} answers {status}: {said}; {key_advice(url, self.wire.keys[url])}")
        if status in (200, 301, 302, 303, 307, 308):
            what = self.wire.sketch(raw, body) if status == 200 else "a redirection"
            raise EngineError(f"{url}/models answers with {what}; {_BASE}")
        if status >= 500:
            raise EngineError(f"{url} answers {status}: {self.wire.told(raw).message}; is it still starting?")
        await self._takes_chats(url)
        return None

    async def _takes_chats(self, url: str) -> None:
        """A server without a list may still serve: an empty call, which costs nothing, is then refused for its fields,
        not for its address."""
        try:
            await self.wire.post(url, "/chat/completions", b"{}", WAITING)
        except Rejected as rejected:
            if rejected.status in (401, 403):
                advice = key_advice(url, self.wire.keys[url])
                raise EngineError(f"{url} answers {rejected.status}: {rejected.told.message}; {advice}") from None
            if rejected.status in (404, 405) and not rejected.names_a_model():
                raise EngineError(f"{url}/chat/completions is not there ({rejected.status}); {_BASE}") from None
        except Gone as error:
            raise EngineError(f"cannot reach {url}: {error}") from None
        except (Refused, Stumbled):
            return


_BASE = "is this the API's base URL? it usually ends in /v1"


def checked_url(url: str) -> str:
    """Return an endpoint's base URL without a slash at its end. Raises EngineError."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise EngineError(f"the URL of {parts.hostname} holds a password; keys come from the environment: ?key=NAME")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EngineError(f"{url!r} is no endpoint: it must be http://HOST/... or https://HOST/...")
    if parts.query or parts.fragment:
        raise EngineError(f"{url!r}: options and the model belong to the whole pool, after its last URL")
    return url.rstrip("/")


def options_of(query: str) -> dict[str, str]:
    """Return the options of an engine's name. Raises EngineError for an unknown one."""
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS:
            close = get_close_matches(name, OPTIONS, n=1)
            raise EngineError(
                f"unknown option {name[:40]!r} in an engine's name; "
                + (f"did you mean {close[0]!r}?" if close else f"there are {', '.join(OPTIONS)}")
            )
    return options


def number(options: dict[str, str], name: str, default: float) -> float:
    """Return an option as a number. Raises EngineError."""
    try:
        return float(options.get(name, default))
    except ValueError:
        raise EngineError(f"{name}={options[name][:40]!r} in an engine's name is no number") from None


def listed(names: Sequence[str]) -> str:
    """Name some models."""
    shown = ", ".join(names[:LISTED])
    return (shown or "no model at all") + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def _other_scheme(url: str) -> str:
    return "https://, not http://" if url.startswith("http://") else "http://, not https://"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
