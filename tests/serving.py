"""An OpenAI-compatible server for tests, which misbehaves on request and keeps books.

    with serving(latency=0.01, chaos=1.0) as server:        # in a thread of this process
        HTTP([server.url], "test").generate(...)
        server.books()

    python -m tests.serving --port 8000 --latency 0.2 --room 256 --reply some.module:function

As a program it prints its URL once it listens. `GET /books` (beside /v1, no key asked) returns JSON:

    {"posts": calls received, "most_at_once": ..., "seen": {sample: times}, "billed": {sample: times},
     "late": {sample: times}, "prompt_tokens": of those two, "completion_tokens": of those two}

A sample is `DIGEST/SEED`: the digest of the call's body without `n` and `seed`, and the seed of that sample (sample i
of n has seed + i). It is seen when a call for it arrives, and billed when it was served whole: refused, failed,
dropped, stalled and truncated ones are not. It is late when it was ready only after its client had given up, which a
provider would bill too: a deadline that a slow machine can miss shows there. `digest(body)` makes DIGEST.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import json
import random
import re
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from email.utils import formatdate
from pathlib import Path
from typing import Any

from aiohttp import web

REFUSED, FAILED, DROPPED, STALLED, TRUNCATED = 0.10, 0.05, 0.03, 0.02, 0.02
"""Shares of the calls, at chaos 1."""
WORDS = "tea coffee cake red blue hello nice day".split()


def words(body: dict[str, Any], seed: int) -> str:
    """The default reply: a few words that depend on the messages and, unless greedy, on the sample's seed."""
    drawn = random.Random(f"{body['messages']}/{seed if body.get('temperature') else ''}")
    return " ".join(drawn.choice(WORDS) for _ in range(drawn.randint(2, 6)))


def likely(ids: list[int]) -> list[float]:
    """The default scores: the log-prob of each token, which depends on it and the one before."""
    return [-((a * 31 + b * 17) % 97) / 10 for a, b in zip([0, *ids], ids, strict=False)]


@dataclass
class Manners:
    """How a server behaves. A test may change them while it runs."""

    model: str = "test"
    root: str | None = None
    """What /models says the model is made from."""
    latency: float = 0.0
    """Seconds until an answer."""
    spread: float = 0.0
    """Answers take from latency * (1 - spread) to latency * (1 + spread), all alike."""
    room: int = 10**9
    """Calls at once; a further one gets a 429."""
    retry_after: str = ""
    """The Retry-After of a 429; `date:N` for N seconds from now as a date, "" for none."""
    chaos: float = 0.0
    """1: the shares above. Drawn from `seed`, in the order of arrival."""
    seed: int = 0
    stall: float = 600.0
    """Seconds that a stalled call takes."""
    key: str = ""
    """What `Authorization: Bearer` must hold; anything else gets a 401 that repeats it."""
    mode: str = ""
    """"html": every answer is a page. "no_models": /models is a 404. "nothing": everything is."""
    status: int = 0
    """Every call of a model gets this status and `error`."""
    error: dict[str, Any] = field(default_factory=dict)
    fail_next: int = 0
    """So many calls get `status`, and the rest an answer; 0: all get it."""
    context: int = 10**9
    """Longest chat in words, or prompt in tokens."""
    no_fields: str = ""
    """Fields whose presence is a 400, split at commas."""
    demands: str = ""
    """"max_completion_tokens": a 400 asks for it instead of max_tokens."""
    most_n: int = 10**9
    """More samples than this are not given."""
    usage: bool = True
    scores: str = "prompt_logprobs"
    """Or "echo", "echo_one" (demands max_tokens >= 1), "none" (does not know what is meant), "short" (wrong count)."""
    finish: str = "stop"
    streams: str = "yes"
    """What becomes of a call that wants a stream. "whole": it is answered at once. "broken": its stream ends after two
    pieces. "error": after two pieces it says that something went wrong. "slow": a piece takes 50 ms.
    "silent": no piece ever comes."""
    reply: Callable[[dict[str, Any], int], str] = words
    """From the body of a chat and a sample's seed to what is said."""
    score: Callable[[list[int]], list[float]] = likely


def digest(body: dict[str, Any]) -> str:
    """Name what a call asks, whichever samples of it."""
    asked = {name: value for name, value in body.items() if name not in ("n", "seed")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


class Server:
    """The server, in whichever loop it is started."""

    def __init__(self, manners: Manners):
        self.manners = manners
        self.seen, self.billed, self.late = Counter[str](), Counter[str](), Counter[str]()
        self.tokens = Counter({"prompt_tokens": 0, "completion_tokens": 0})
        self.posts = self.at_once = self.most_at_once = 0
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self._draw = random.Random(manners.seed)
        self._runner: web.AppRunner | None = None

    def books(self) -> dict[str, Any]:
        counts = {"seen": dict(self.seen), "billed": dict(self.billed), "late": dict(self.late), **self.tokens}
        return {"posts": self.posts, "most_at_once": self.most_at_once, **counts}

    async def start(self, port: int = 0, tls: Path | None = None) -> None:
        """Listen on 127.0.0.1. `tls` is a folder with cert.pem and key.pem."""
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/books", self._books)
        app.router.add_route("*", "/{path:.*}", self._any)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context, backlog=4096)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"

    async def stop(self) -> None:
        if self._runner and self._runner.server:
            for connection in self._runner.server.connections:
                if connection.transport:  # one whose client reads no more would never close by itself
                    connection.transport.abort()
            await self._runner.cleanup()
            await asyncio.sleep(0)  # transports close in the loop's next turn

    async def _books(self, _: web.Request) -> web.Response:
        return web.json_response(self.books())

    async def _any(self, request: web.Request) -> web.StreamResponse:
        manners, path = self.manners, request.path.removeprefix("/v1")
        if manners.mode == "html":
            return web.Response(text="<!DOCTYPE html><html><body>Welcome</body></html>", content_type="text/html")
        if manners.mode == "nothing" or (manners.mode == "no_models" and path == "/models"):
            return web.json_response({"detail": "Not Found"}, status=404)
        given = request.headers.get("Authorization", "")
        if manners.key and given != f"Bearer {manners.key}":
            return _error(401, f"Incorrect API key provided: {given}", code="invalid_api_key")
        if path == "/models" and request.method == "GET":
            card = {"id": manners.model, "object": "model", "root": manners.root}
            return web.json_response({"object": "list", "data": [card]})
        if path not in ("/chat/completions", "/completions") or request.method != "POST":
            return web.json_response({"detail": "Not Found"}, status=404)
        body = await request.json()
        if not body:
            return _error(400, "messages: field required")
        self.posts += 1
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._call(request, path, body)
        finally:
            self.at_once -= 1

    async def _call(self, request: web.Request, path: str, body: dict[str, Any]) -> web.StreamResponse:
        manners = self.manners
        samples = [f"{digest(body)}/{body.get('seed', 0) + at}" for at in range(body.get("n", 1))]
        self.seen.update(samples)
        drawn = self._draw.random() / manners.chaos if manners.chaos else 1.0
        if self.at_once > manners.room or drawn < REFUSED:
            return _error(429, "slow down", headers=self._when())
        if drawn < REFUSED + FAILED:
            return _error(500, "internal error")
        if drawn < REFUSED + FAILED + DROPPED:
            assert request.transport
            request.transport.abort()
            return web.Response()
        if drawn < REFUSED + FAILED + DROPPED + STALLED:
            await asyncio.sleep(manners.stall)
            return _error(500, "stalled")
        if refusal := self._refusal(body):
            return refusal
        if manners.latency:
            await asyncio.sleep(manners.latency * random.uniform(1 - manners.spread, 1 + manners.spread))
        answer = self._chat(body) if path == "/chat/completions" else self._scores(body)
        if isinstance(answer, web.Response):
            return answer
        whole = json.dumps(answer).encode()
        if drawn < REFUSED + FAILED + DROPPED + STALLED + TRUNCATED:
            return web.Response(body=whole[: len(whole) // 2], content_type="application/json")
        if body.get("stream") and manners.streams != "whole":
            return await self._stream(request, body, answer, samples)
        there = request.transport is not None and not request.transport.is_closing()
        (self.billed if there else self.late).update(samples[: manners.most_n])
        self.tokens.update({name: answer.get("usage", {}).get(name, 0) for name in self.tokens})
        return web.Response(body=whole, content_type="application/json")

    async def _stream(
        self, request: web.Request, body: dict[str, Any], answer: dict[str, Any], samples: list[str]
    ) -> web.StreamResponse:
        """Send the first choice word by word, in slices of bytes that keep to no line and no character."""
        manners, choice = self.manners, answer["choices"][0]
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await reply.prepare(request)
        while manners.streams == "silent" and request.transport and not request.transport.is_closing():
            await asyncio.sleep(0.02)
        pieces = re.findall(r"\s*\S+|\s+$", choice["message"]["content"])
        chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
        if manners.streams in ("broken", "error"):
            chunks = chunks[:2] + ([{"error": {"message": "CUDA out of memory"}}] if manners.streams == "error" else [])
        else:
            chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": manners.finish}]})
            counted = body.get("stream_options", {}).get("include_usage") and "usage" in answer
            chunks += [{"choices": [], "usage": answer["usage"]}] if counted else []
        for chunk in chunks:
            await asyncio.sleep(0.05 if manners.streams == "slow" else 0)
            data = f": still here\r\ndata: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n".encode()
            for at in range(0, len(data), 7):
                await reply.write(data[at : at + 7])
        if manners.streams in ("yes", "slow"):
            await reply.write(b"data: [DONE]\n\n")
            self.billed.update(samples[:1])
        return reply

    def _when(self) -> dict[str, str]:
        said = self.manners.retry_after
        if said.startswith("date:"):
            said = formatdate(time.time() + float(said[5:]), usegmt=True)
        return {"Retry-After": said} if said else {}

    def _refusal(self, body: dict[str, Any]) -> web.Response | None:
        manners = self.manners
        if manners.status:
            status = manners.status
            if manners.fail_next == 1:
                manners.status = 0
            manners.fail_next = max(0, manners.fail_next - 1)
            headers = self._when() if status in (429, 503) else {}
            return web.json_response({"error": manners.error}, status=status, headers=headers)
        if body.get("model") != manners.model:
            return _error(404, f"The model `{body.get('model')}` does not exist.", code="model_not_found")
        for name in (name for name in manners.no_fields.split(",") if name in body):
            return _error(400, f"Unrecognized request argument supplied: '{name}'", param=name)
        if manners.demands == "max_completion_tokens" and "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
            return _error(400, said, param="max_tokens", code="unsupported_parameter")
        if (length := _length(body)) > manners.context:
            return _error(400, f"This model's maximum context length is {manners.context} tokens, not {length}")
        return None

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        count = min(body.get("n", 1), self.manners.most_n)
        texts = [self.manners.reply(body, body.get("seed", 0) + at) for at in range(count)]
        choices: list[dict[str, Any]] = [
            {"index": at, "message": {"role": "assistant", "content": text}, "finish_reason": self.manners.finish}
            for at, text in enumerate(texts)
        ]
        if body.get("logprobs"):
            for choice, text in zip(choices, texts, strict=True):
                told = [{"token": word, "logprob": -0.5} for word in [*text.split(), ""]]
                choice["logprobs"] = {"content": told}
        written = sum(len(text.split()) + 1 for text in texts)
        usage = {"prompt_tokens": _length(body), "completion_tokens": written, "total_tokens": _length(body) + written}
        return {"id": "x", "choices": choices, **({"usage": usage} if self.manners.usage else {})}

    def _scores(self, body: dict[str, Any]) -> dict[str, Any] | web.Response:
        manners, ids = self.manners, body["prompt"]
        values: list[float | None] = [None, *manners.score(ids)[1:]]
        choice: dict[str, Any] = {"index": 0, "text": "tea", "finish_reason": "length"}
        if manners.scores in ("prompt_logprobs", "short") and "prompt_logprobs" in body:
            table = [value and {str(i): {"logprob": value}} for i, value in zip(ids, values, strict=True)]
            choice["prompt_logprobs"] = table[: -1 if manners.scores == "short" else None]
        elif manners.scores == "echo_one" and not body["max_tokens"]:
            return _error(400, "max_tokens must be at least 1")
        elif manners.scores.startswith("echo") and body.get("echo"):
            choice["logprobs"] = {"token_logprobs": [*values, *[-1.0] * body["max_tokens"]]}
        return {"id": "x", "choices": [choice], "usage": {"prompt_tokens": len(ids), "completion_tokens": 1}}


def _length(body: dict[str, Any]) -> int:
    if "prompt" in body:
        return len(body["prompt"])
    return sum(len(message["content"].split()) for message in body["messages"])


def _error(
    status: int, message: str, *, code: str = "", param: str = "", headers: dict[str, str] | None = None
) -> web.Response:
    about = {"message": message, "type": "error", "code": code or None, "param": param or None}
    return web.json_response({"error": about}, status=status, headers=headers)


@contextmanager
def serving(*, port: int = 0, tls: Path | None = None, **manners: Any) -> Iterator[Server]:
    """Run a server in a thread until the end of the block. It has `url`, `books()`, `bodies`, `headers`, `manners`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="test-server")
    thread.start()
    server = Server(Manners(**manners))
    try:
        asyncio.run_coroutine_threadsafe(server.start(port, tls), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def certificate(folder: Path) -> Path:
    """Write a certificate for 127.0.0.1 that nobody vouches for."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"], cwd=folder, check=True, capture_output=True
    )
    return folder


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.serving")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--reply", help="module:function, from (body of a chat, seed) to what is said")
    for one in fields(Manners):
        if isinstance(one.default, str | int | float) and not isinstance(one.default, bool):
            parser.add_argument("--" + one.name.replace("_", "-"), type=type(one.default), default=one.default)
    args = vars(parser.parse_args())
    port, reply = args.pop("port"), args.pop("reply")
    if reply:
        module, _, name = reply.partition(":")
        args["reply"] = getattr(importlib.import_module(module), name)

    async def forever() -> None:
        server = Server(Manners(**args))
        await server.start(port)
        print(server.url, flush=True)
        await asyncio.Event().wait()

    asyncio.run(forever())


if __name__ == "__main__":
    main()
