"""vLLM, started and stopped by us: one server holds a model, and adapters of it that come and go while it runs.

vLLM stays in a process and an environment of its own, named by `Serving.command`. Policy (an adapter), roleplayer and
scorer (the base) speak through the same server.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from typing import Any, TypeVar

from sparring.engines import weights
from sparring.engines.adapters import adapter_in, layers_of, read_adapter
from sparring.engines.http import HTTP, Turn, load_template, seed_of
from sparring.engines.process import Process, free_port
from sparring.engines.template import Template
from sparring.errors import EngineError, RolloutError, ServerError, SparringError
from sparring.types import Chat, Completion, LogProb, Sampling

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Bounds on the rank of adapters that vLLM knows (`MaxLoRARanks`)."""
ADAPTERS_AT_ONCE = 2
"""Adapters that may share a batch: an actor and its refiner, or a policy and the one before it."""
TARGETS = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    *("qkv_proj", "gate_up_proj"),
)
"""Layers that adapters may be of. The head is not among them: with adapters of it vLLM 0.32 dies of prompt log-probs,
or leaves the adapter out of them (vllm issues 16668, 29955, 51594)."""
BASE = "base"
"""What the server calls the model itself."""

T = TypeVar("T")


@dataclass(frozen=True)
class Serving:
    """How a vLLM server is started and used."""

    command: tuple[str, ...] = ("vllm", "serve")
    """Program and first words. One that ends in `serve` is given the model as a word, any other as `--model`."""
    arguments: tuple[str, ...] = ()
    """More of vLLM's own arguments. They come last, and win."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict[str, str]())
    """Variables set for the server beside ours."""
    startup: float = 600.0
    """Seconds until it must be ready, > 0."""
    max_lora_rank: int = 16
    """Largest rank of an adapter. The server is told the next of RANKS."""
    concurrency: int = 256
    """Calls at once."""

    def __post_init__(self) -> None:
        if not self.command:
            raise EngineError("the command of vLLM is empty; it must name a program, such as ['vllm', 'serve']")
        if not 1 <= self.max_lora_rank <= RANKS[-1]:
            raise EngineError(f"max_lora_rank = {self.max_lora_rank}, but it must be in [1, {RANKS[-1]}]")
        if not self.startup > 0 or self.concurrency < 1:
            raise EngineError(f"startup = {self.startup} s must be > 0, and concurrency = {self.concurrency} >= 1")


class Server:
    """A vLLM server of one model."""

    def __init__(self, model: str, serving: Serving):
        """Start it, and wait until it has answered a call. Raises EngineError, with its last lines."""
        self.model, self.serving = model, serving
        said = serving.arguments
        self.name = option(said, "--served-model-name") or BASE
        port = int(option(said, "--port") or free_port())
        self.max_lora_rank = int(
            option(said, "--max-lora-rank") or next(rank for rank in RANKS if rank >= serving.max_lora_rank)
        )
        self.targets = options(said, "--lora-target-modules") or TARGETS
        self._numbers = count(1)
        self._gone: asyncio.Future[str] | None = None
        """The process's end, as the loop of our calls sees it."""
        self.users = 0
        """Engines that speak through it."""
        self.process = Process(
            command_of(model, serving, port, self.max_lora_rank),
            # Our own defaults give way to the user's environment, and that to the settings.
            {"VLLM_NO_USAGE_STATS": "1", **os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", **serving.environment},
            port=port,
            model=model,
            startup=serving.startup,
        )
        self.process.ready()
        self._try_out()
        self.url = f"http://127.0.0.1:{port}/v1"
        self.limit = self._limit()
        """Longest chat with its reply, in tokens."""

    def adapter(self, folder: Path) -> str:
        """Load the adapter in `folder` and return its name, a new one each time: vLLM keys its prefix cache by it.

        Raises EngineError for what is no adapter, or none that this server can take.
        """
        config = read_adapter(folder)
        patterns: dict[str, int] = config.get("rank_pattern") or {}
        rank = max([int(config["r"]), *patterns.values()])
        if rank > self.max_lora_rank:
            raise EngineError(
                f"adapter {str(folder)!r} has rank r = {rank}, above max_lora_rank = {self.max_lora_rank} of the "
                f"server: set max_lora_rank = {rank} for vLLM, or train with a lower r"
            )
        if strange := layers_of(folder) - set(self.targets):
            raise EngineError(
                f"adapter {str(folder)!r} changes {', '.join(sorted(strange))}, but the server takes adapters of "
                f"{', '.join(self.targets)}: train with these as lora.target_modules, or give the server "
                "--lora-target-modules with all of its names (never lm_head: vLLM would score without it)"
            )
        name = f"adapter-{weights.digest(folder)[:8]}-{next(self._numbers)}"
        status, text = self._ask("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder.resolve())})
        if status != 200:
            raise EngineError(
                f"the server of {self.model!r} does not take adapter {str(folder)!r} (trained on "
                f"{config.get('base_model_name_or_path')!r}): {status}: {_message(text)}"
            )
        return name

    def unload(self, name: str) -> None:
        """Let go of an adapter. Calls under way with it end as usual."""
        if not self.process.ended.done():
            self._ask("/v1/unload_lora_adapter", {"lora_name": name})

    def close(self) -> None:
        """Stop it."""
        self.process.close()

    async def while_up(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call to this server. Raises ServerError as soon as the server has ended."""
        if self._gone is None:
            self._gone = asyncio.wrap_future(self.process.ended)
        task = asyncio.ensure_future(call)
        try:
            await asyncio.wait((task, self._gone), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ServerError(f"the server of {self.model!r} has ended: {self._gone.result()}")
        finally:
            task.cancel()

    def _ask(self, path: str, body: Mapping[str, Any]) -> tuple[int, str]:
        try:
            return self.process.ask("POST", path, body)
        except OSError as error:
            trouble = self.process.verdict(str(error))
            raise ServerError(f"the server of {self.model!r} does not answer {path}: {trouble}") from error

    def _try_out(self) -> None:
        """Make it say one token: some trouble (a head size that its kernels lack) ends it at the first call alone."""
        body = {"model": self.name, "prompt": [0], "max_tokens": 1}
        try:
            status, text = self.process.ask("POST", "/v1/completions", body, wait=self.serving.startup)
        except OSError as error:
            status, text = 0, str(error)
        if status != 200:
            raise EngineError(f"the server of {self.model!r} cannot answer a call: {self.process.verdict(text)}")

    def _limit(self) -> int:
        _, text = self.process.ask("GET", "/v1/models")
        return next(card["max_model_len"] for card in json.loads(text)["data"] if card["id"] == self.name)


class VLLM(HTTP):
    """A model, or an adapter of one, on a server of ours. A Generator and a Scorer.

    Chats are sent as token ids, made here: what is sampled from is what a trainer reads, whatever the server thinks of
    chat templates.
    """

    chats = "/completions"

    def __init__(self, server: Server, template: Template, adapter: Path | None = None):
        """Load the adapter, if any. Raises EngineError."""
        self.server, self.adapter = server, adapter
        name = server.adapter(adapter) if adapter else server.name
        super().__init__([server.url], name, concurrency=server.serving.concurrency, template=template)
        said = server.serving.arguments
        self.rounding = 1e-3 if option(said, "--dtype") == "float32" else 5e-2
        self._identity = identity_of(server.model, adapter, said)
        self._template, self._stops = template, sorted(template.ends)
        self._open = True
        server.users += 1

    @property
    def identity(self) -> str:
        """Who answers, for the ledger: model, weights where they are in a folder, and the arguments that were given."""
        return self._identity

    def __repr__(self) -> str:
        return f"vllm:{self.server.model}" + (f"@{self.adapter}" if self.adapter else "")

    def close(self) -> None:
        """Unload the adapter; stop the server, if no other engine speaks through it."""
        if not self._open:
            return
        self._open = False
        super().close()
        if self.adapter:
            self.server.unload(self.model)
        self.server.users -= 1
        if not self.server.users:
            self.server.close()

    def _body(self, chat: Chat, sampling: Sampling, index: int, count: int) -> dict[str, Any]:
        return {
            "model": self.model,
            "prompt": self._template.prompt(chat),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed_of(chat, sampling) + index,
            "n": count,
            "stop_token_ids": self._stops,
            "return_token_ids": True,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            **({"logprobs": 0} if sampling.log_prob else {}),  # 0 others beside the token that was drawn
        }

    def _replies(self, reply: Mapping[str, Any], count: int) -> list[Completion | RolloutError]:
        return [self._completion(choice, reply["usage"]) for choice in reply["choices"]]

    def _completion(self, choice: Mapping[str, Any], usage: Mapping[str, int]) -> Completion:
        ids: list[int] = choice["token_ids"]
        ended = bool(ids) and ids[-1] in self._template.ends
        text = self._template.tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True)
        told = choice.get("logprobs")
        log_prob = LogProb(sum(told["token_logprobs"]), len(ids)) if told else None
        return Completion(text, "stop" if ended else "length", usage["prompt_tokens"], len(ids), log_prob)

    async def _call(self, path: str, body: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
        limit, tokens = self.server.limit, len(body["prompt"])
        if tokens >= limit:  # vLLM wants room for a token to say, even to score
            raise RolloutError("context overflow", f"{tokens} tokens and one to say > {limit}, the context of {self!r}")
        return await self.server.while_up(super()._call(path, body, turn))


_servers: list[Server] = []
_opening = threading.Lock()


def open_vllm(rest: str, serving: Serving) -> VLLM:
    """Open MODEL or MODEL@CHECKPOINT: a folder or an id on the Hub, and a folder with the adapter or `adapter/` in it.

    Engines of one model share one server, started by the first and stopped with the last. Raises EngineError.
    """
    model, checkpoint = rest, ""
    if "@" in rest and not Path(rest).expanduser().is_dir():
        model, _, checkpoint = rest.partition("@")
    if model.startswith((".", "/", "~")) and not Path(model).expanduser().is_dir():
        raise EngineError(f"model {model!r} cannot be served: there is no such folder")
    adapter = adapter_in(Path(checkpoint).expanduser()) if checkpoint else None
    template = load_template(model, f"vllm:{rest}")
    with _opening:
        server = _server(model, serving)
        try:
            return VLLM(server, template, adapter)
        except SparringError:
            if not server.users:
                server.close()
            raise


def _server(model: str, serving: Serving) -> Server:
    """Return the server that runs already, or start it."""
    _servers[:] = [server for server in _servers if not server.process.ended.done()]
    for server in _servers:
        if (server.model, server.serving) == (model, serving):
            return server
    _servers.append(Server(model, serving))
    return _servers[-1]


def identity_of(model: str, adapter: Path | None, arguments: Sequence[str]) -> str:
    """Return a name for what answers that changes with the weights, and not with where they lie."""
    folder = Path(model).expanduser()
    known = weights.identity(model) or model
    parts = [f"vllm:{folder.resolve().name}#{known}" if folder.is_dir() else f"vllm:{known}"]
    parts += [f"adapter#{weights.digest(adapter)}"] if adapter else []
    return " ".join([*parts, *arguments])


def command_of(model: str, serving: Serving, port: int, rank: int) -> list[str]:
    """Return the whole command line."""
    place = str(Path(model).expanduser().resolve()) if Path(model).expanduser().is_dir() else model
    return [
        *serving.command,
        *([place] if serving.command[-1] == "serve" else ["--model", place]),
        *("--served-model-name", BASE, "--host", "127.0.0.1", "--port", str(port)),
        *("--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(ADAPTERS_AT_ONCE)),
        # What we ask for is what is done: no default of the model's own for what a call does not name (top_k, say).
        *("--generation-config", "vllm"),
        *("--lora-target-modules", *TARGETS),
        "--disable-uvicorn-access-log",
        *serving.arguments,
    ]


def option(arguments: Sequence[str], name: str) -> str | None:
    """Return the value that a command line gives an option last, in either form; None where it does not."""
    return (options(arguments, name) or (None,))[0]


def options(arguments: Sequence[str], name: str) -> tuple[str, ...]:
    """Return all values that follow an option where it stands last."""
    found: tuple[str, ...] = ()
    for at, word in enumerate(arguments):
        if word.startswith(f"{name}="):
            found = (word.partition("=")[2],)
        elif word == name:
            found = tuple(takewhile(lambda value: not value.startswith("--"), arguments[at + 1 :]))
    return found


def _message(text: str) -> str:
    """Return what a server's error says."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:300]
