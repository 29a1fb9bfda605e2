"""One sending to an OpenAI-compatible server, and what its answer means.

Keys live here and go nowhere but into the header of a call. What a server says is data: it is shortened, stripped of
control characters and of the key before it enters a message.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp

from sparring.engines.hearing import Hearing
from sparring.engines.sse import END, KIND, Said, events
from sparring.errors import EngineError, RolloutError, ServerError

PROVIDERS = {
    "anthropic.com": "ANTHROPIC_API_KEY",
    "cerebras.ai": "CEREBRAS_API_KEY",
    "deepinfra.com": "DEEPINFRA_API_KEY",
    "deepseek.com": "DEEPSEEK_API_KEY",
    "fireworks.ai": "FIREWORKS_API_KEY",
    "groq.com": "GROQ_API_KEY",
    "mistral.ai": "MISTRAL_API_KEY",
    "openai.com": "OPENAI_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
    "together.ai": "TOGETHER_API_KEY",
    "together.xyz": "TOGETHER_API_KEY",
    "x.ai": "XAI_API_KEY",
}
"""Registered names and where their keys are kept. No other host is sent one that was not named: `api.openai.evil` would
have OpenAI's."""

CONNECTING = 10.0
"""Seconds until a connection stands, or nobody is there."""
IDLE = 4.0
"""Seconds a connection is kept for the next call. Servers close theirs after 5 (uvicorn), and a call sent just then
would look as if it had been dropped, and perhaps billed."""
LONGEST_WAIT = 3600.0
"""Seconds after which we ask again whatever a server's Retry-After says."""
LATE = 0.02
"""Seconds by which an alarm may ring late before the loop counts as held up."""
SHOWN = 300
"""Characters of a server's text in a message."""

OVERFLOW = re.compile(
    r"context[ _]?(length|window|size)|max_model_len|prompt is too long|too many (input |prompt )?tokens"
    r"|maximum (input|sequence|prompt|model) length|exceeds? the (maximum|available) (number of tokens|context)",
    re.IGNORECASE,
)
FILTERED = re.compile(
    r"content[ _](filter|policy|management|moderation)|ResponsibleAIPolicyViolation|moderation_blocked|was flagged",
    re.IGNORECASE,
)
QUOTA = re.compile(r"insufficient_quota|billing_hard_limit|insufficient (funds|credits|balance)", re.IGNORECASE)


class Refused(Exception):
    """Not now; come again. Not billed."""

    def __init__(self, wait: float | None, detail: str):
        super().__init__(detail)
        self.wait, self.detail = wait, detail


class Gone(Exception):
    """Nobody is there. Not billed."""


class Stumbled(Exception):
    """The server failed at this call: it may be tried again."""

    def __init__(self, detail: str, may_be_billed: bool):
        super().__init__(detail)
        self.detail, self.may_be_billed = detail, may_be_billed


class Rejected(Exception):
    """The server will not answer this call as it stands. Not billed."""

    def __init__(self, status: int, told: Told, url: str):
        super().__init__(f"{url}: {status}: {told.message}")
        self.status, self.told, self.url = status, told, url

    def names(self, field: str) -> bool:
        """Return whether it is about this field of the call."""
        return self.told.param == field or bool(re.search(rf"['\"`]{field}['\"`]", self.told.message))

    def names_a_model(self) -> bool:
        """Return whether it misses a model, not a page."""
        return "model" in f"{self.told.code} {self.told.message}".lower()

    def overflows(self) -> bool:
        return bool(OVERFLOW.search(f"{self.told.code} {self.told.message}"))


class Unanswered(RolloutError):
    """A call that came to nothing in the end, though its last sending may have been billed."""


@dataclass(frozen=True, slots=True)
class Told:
    """A server's complaint, cleaned."""

    message: str
    code: str = ""
    """Its code and type."""
    param: str = ""


class Key:
    """A key that does not show."""

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str):
        self.name, self._value = name, value

    def __repr__(self) -> str:
        return f"<the key in {self.name}>"

    def header(self) -> str:
        return f"Bearer {self._value}"

    def hidden(self, text: str) -> str:
        return text.replace(self._value, "[key]")


def key_of(url: str, named: str | None) -> Key | None:
    """Return the key for an endpoint: the named variable's, or its provider's; None where there is none.

    Raises EngineError where a variable is named that is not set, or that is no name at all.
    """
    if named is not None:
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", named):
            raise EngineError("key= takes the NAME of an environment variable in capitals, never the key itself")
        value = os.environ.get(named, "").strip()
        if not value:
            raise EngineError(f"environment variable {named}, named as the key of {url}, is not set")
        return _key(named, value)
    name = usual_key(url)
    value = os.environ.get(name, "").strip() if name else ""
    return _key(name, value) if value else None


def usual_key(url: str) -> str:
    """Return the name of the variable in which a provider's key is usually kept, "" for anybody else's host."""
    parts = urlsplit(url)
    return PROVIDERS.get(".".join((parts.hostname or "").split(".")[-2:]), "") if parts.scheme == "https" else ""


def _key(name: str, value: str) -> Key:
    if not value.isascii() or not value.isprintable():
        raise EngineError(f"environment variable {name} holds something that cannot be a key: not plain ASCII")
    return Key(name, value)


@asynccontextmanager
async def within(seconds: float) -> AsyncGenerator[None]:
    """Raise TimeoutError in what takes longer, as asyncio.timeout does; but a late alarm gives as much time again.

    A loop that was held up has not read yet what came in time: given up, it would be paid for twice.
    """
    loop, alarm = asyncio.get_running_loop(), list[asyncio.TimerHandle]()

    def ring(due: float) -> None:
        now = loop.time()
        if now - due > LATE:
            alarm[:] = [loop.call_at(2 * now - due, ring, 2 * now - due)]
        else:
            limit.reschedule(now)

    async with asyncio.timeout(None) as limit:
        due = loop.time() + seconds
        alarm.append(loop.call_at(due, ring, due))
        try:
            yield
        finally:
            alarm[0].cancel()


class Wire:
    """Connections to the endpoints of one engine. It belongs to the loop in which it was made."""

    def __init__(self, keys: Mapping[str, Key | None]):
        self.keys = keys
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECTING),
            headers={"User-Agent": "sparring"},
        )

    async def post(
        self, url: str, path: str, data: bytes, deadline: float, hearing: Hearing | None = None
    ) -> dict[str, Any]:
        """Send a call, and return its answer. Raises Refused, Gone, Stumbled, Rejected, or what ends the run.

        Where the answer comes as a stream, `hearing` is told its words; the answer is the one that it would be at once.
        """
        once = hashlib.sha256(path.encode() + data).hexdigest()
        headers = {"Content-Type": "application/json", "Idempotency-Key": once}
        async with self._answering("POST", url, path, headers, data, deadline) as got:
            if hearing and got.status == 200 and got.content_type == KIND:
                return await self._listen(url + path, got.content.iter_any(), Said(hearing))
            status, raw = got.status, await got.read()
        return self._answer(url, path, status, got.headers, raw)

    async def _listen(self, where: str, chunks: AsyncIterable[bytes], said: Said) -> dict[str, Any]:
        """Hear a stream to its end. Raises Stumbled where it breaks off: what was said till then may be billed."""
        async for data in events(chunks):
            said.take(data)
            if said.error or data.strip() == END:
                break
        if said.error:
            raise Stumbled(f"{where}: {self.told(json.dumps({'error': said.error}).encode()).message}", True)
        if not said.done:
            raise Stumbled(f"{where}: the stream broke off", may_be_billed=True)
        return said.answer

    def _answer(self, url: str, path: str, status: int, got: Mapping[str, str], raw: bytes) -> dict[str, Any]:
        body = _json(raw)
        if status == 200 and isinstance(body, dict) and not cast("dict[str, Any]", body).get("error"):
            return cast("dict[str, Any]", body)
        if status == 200 and not isinstance(body, dict):
            raise Stumbled(f"{url}{path}: {self.sketch(raw, body)}", may_be_billed=True)
        told = self.told(raw)
        if status == 200:  # some gateways say it in the body alone
            found = re.match(r"[45]\d\d\b", told.code, re.ASCII)
            status = int(found[0]) if found else 500
        raise self._verdict(status, got, told, url)

    async def get(self, url: str, path: str, deadline: float) -> tuple[int, Any, bytes]:
        """Return status, what the JSON says (None where it is none) and the bytes. Raises Gone or Stumbled."""
        async with self._answering("GET", url, path, {}, None, deadline) as got:
            raw = await got.read()
        return got.status, _json(raw), raw

    @asynccontextmanager
    async def _answering(
        self, method: str, url: str, path: str, headers: dict[str, str], data: bytes | None, deadline: float
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Yield an answer that is to be read within; what goes wrong until then is told in our words."""
        key = self.keys[url]
        if key:
            headers["Authorization"] = key.header()
        try:
            async with (
                within(deadline),
                self.session.request(method, url + path, data=data, headers=headers, allow_redirects=False) as got,
            ):
                yield got
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise Gone(self.clean(unreachable(error))) from None
        except TimeoutError:
            raise Stumbled(f"{url}{path}: no answer within {deadline:g} s", may_be_billed=True) from None
        except aiohttp.ClientError as error:
            what = self.clean(str(error)) or type(error).__name__
            raise Stumbled(f"{url}{path}: the connection broke ({what})", may_be_billed=True) from None

    def _verdict(self, status: int, headers: Mapping[str, str], told: Told, url: str) -> Exception:
        wait = retry_after(headers)
        if status == 429 or (status == 503 and wait is not None):
            if QUOTA.search(f"{told.code} {told.message}"):
                return ServerError(f"{url}: this account's quota is used up: {told.message}")
            return Refused(wait, f"{url}: {status}: {told.message}")
        if status >= 500 or status in (408, 409, 425):
            return Stumbled(f"{url}: {status}: {told.message}", may_be_billed=False)
        return Rejected(status, told, url)

    def told(self, raw: bytes) -> Told:
        """Return the complaint in an answer's body, in whichever of the usual shapes it comes."""
        body = _json(raw)
        if isinstance(body, list) and body:
            body = cast("list[Any]", body)[0]
        if not isinstance(body, dict):
            return Told(self.sketch(raw, body))
        fields = cast("dict[str, Any]", body)
        inner = fields.get("error", fields)
        if not isinstance(inner, dict):
            return Told(self.clean(inner if isinstance(inner, str) else json.dumps(inner)))
        about = cast("dict[str, Any]", inner)
        message = about.get("message") or about.get("detail") or about.get("msg") or about
        code = " ".join(str(about[name]) for name in ("code", "type") if about.get(name))
        text = message if isinstance(message, str) else json.dumps(message)
        return Told(self.clean(text), self.clean(code), str(about.get("param") or ""))

    def sketch(self, raw: bytes, body: Any) -> str:
        """Say what kind of thing came where a JSON object was due."""
        if body is not None:
            return f"JSON of another shape: {self.clean(json.dumps(body))}"
        text = raw[:4096].decode(errors="replace")
        if not text.strip():
            return "an empty answer"
        kind = "an HTML page" if re.match(r"\s*<(!doctype|html|head|body)", text, re.IGNORECASE) else "no whole JSON"
        return f"{kind}: {self.clean(text)}"

    def clean(self, text: str) -> str:
        for key in self.keys.values():
            text = key.hidden(text) if key else text
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def final(rejected: Rejected, key: Key | None) -> Exception:
    """Return the error of ours that a rejection comes to: one rollout's, or the run's."""
    told, status = rejected.told, rejected.status
    said = f"{told.code} {told.message}"
    if status in (400, 413, 422) and rejected.overflows():
        return RolloutError("context overflow", told.message)
    if status in (400, 403, 422) and FILTERED.search(said):
        return RolloutError("refused by the provider", told.message)
    if status in (401, 403):
        return ServerError(f"{rejected.url} answers {status}: {told.message}; {key_advice(rejected.url, key)}")
    if status == 402:
        return ServerError(f"{rejected.url} wants to be paid first (402): {told.message}")
    if status in (301, 302, 303, 307, 308, 404, 405):
        return EngineError(f"{rejected.url} answers {status}: {told.message}; does it still serve this model?")
    return RolloutError("request refused", f"{status}: {told.message}")


def key_advice(url: str, key: Key | None) -> str:
    if key:
        return f"is the key in {key.name} the right one?"
    name = usual_key(url)
    return f"set {name} to its key" if name else "name the environment variable that holds its key: ?key=NAME"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a server asks to wait, in either form; None where it does not say, or not readably."""
    said = headers.get("Retry-After", "").strip()
    try:
        wait = float(said)
    except ValueError:
        wait = _until(said, headers.get("Date", ""))
    return min(max(0.0, wait), LONGEST_WAIT) if wait is not None and isfinite(wait) else None


def _until(date: str, today: str) -> float | None:
    """By the server's own clock, where it tells it."""
    try:
        then = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    try:
        now = parsedate_to_datetime(today)
    except (ValueError, OverflowError):
        now = datetime.now(UTC)
    return (_aware(then) - _aware(now)).total_seconds()


def _aware(date: datetime) -> datetime:
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def unreachable(error: Exception) -> str:
    """Say in words why no connection stands."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        what = error.certificate_error
        why = getattr(what, "verify_message", "") or str(what)
        return f"its certificate is not trusted ({why}); SSL_CERT_FILE may name your own authority's"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"no TLS there ({error.os_error}); is it http://, not https://?"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "no such host"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {CONNECTING:g} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = isinstance(error.os_error, ConnectionRefusedError)
        return "connection refused" if refused else str(error.os_error)
    return str(error)


def _json(raw: bytes) -> Any:
    """Return what JSON says, None for what is none."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
