"""A real vLLM server: log-probs against transformers, and a stage of conversations against all that the server does.

Policy (an adapter) and roleplayer (the base) speak through one server, as in a round of STaR-GATE; the scores are of
the same two. The other side replays the very requests of the stage, one a sample, from a process of its own that keeps
256 of them at the server and waits for no turn. Both get the same tokens, since every sample has its seed. Needs
`make vllm`; two cores are shared by server and client.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bench.alternate import compare
from bench.rollouts import converse
from bench.table import Figure, unmeasured
from sparring.engines.base import Scorer
from sparring.engines.hf import HF
from sparring.engines.http import Turn
from sparring.engines.vllm import VLLM, Serving, open_vllm
from sparring.flow import Role, run
from sparring.training.settings import LoRASettings, SFTSettings
from sparring.training.sft import fine_tune
from sparring.types import Chat, Example, LogProb, Sampling, assistant, user
from sparring.worlds import concierge
from sparring.worlds.concierge import language
from tests.servable import servable

FIGURES = (
    Figure(
        "vLLM: a stage",
        "vllm_conversations_per_s",
        "conversations/s",
        against="its requests, all at once",
        peer="vllm_conversations_other_per_s",
        ratio="vllm_conversations_ratio",
        asked=0.8,
        aim=0.95,
    ),
    Figure(
        "vLLM: base, nats a token from hf", "vllm_base_max_nats_apart", asked=0.02, aim=1e-3, of="ours", at_most=True
    ),
    Figure(
        "vLLM: adapter, nats a token from hf",
        "vllm_adapter_max_nats_apart",
        asked=0.02,
        aim=1e-3,
        of="ours",
        at_most=True,
    ),
)
PYTHON = Path(__file__).parents[1] / ".venv-vllm" / "bin" / "python"
SAMPLING = Sampling(temperature=0.9, top_p=0.9, max_tokens=24)
SAMPLES = 10
SERVING = Serving(
    command=(str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"),
    # With its prefill cut up, vLLM 0.32 on a CPU dies of the first sample that has a seed. In company of an adapter, it
    # lends the base what is in the last place for adapters (its pull request 48421), which must therefore stay empty.
    arguments=("--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill", "--max-loras", "16"),
    environment={
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",  # of two cores, one is the client's and the front end's
        "TORCHDYNAMO_DISABLE": "1",
    },
    max_lora_rank=8,
)


class Recording(VLLM):
    """The engine, remembering what it sent."""

    sent: list[Mapping[str, Any]] | None = None

    async def _call(self, path: str, body: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
        if self.sent is not None:
            self.sent.append(body)
        return await super()._call(path, body, turn)


def adapter(base: Path, folder: Path, tasks: Sequence[str]) -> Path:
    """Train an adapter a little, and return its checkpoint."""
    rows = [Example([user(task), assistant("What kind of food do you like?")], [0, 1]) for task in tasks[:64]]
    settings = SFTSettings(learning_rate=1e-4, validation_share=0, lora=LoRASettings(r=8, alpha=16), threads=1)
    fine_tune(str(base), rows, folder, 0, settings, lambda _: None)
    return folder


def nats_apart(ours: Scorer, theirs: Scorer, tasks: Sequence[str], pairs: int) -> float:
    """Return the largest difference of scores, in nats a token."""
    chats: list[Chat] = [[user(a), assistant("What kind of food do you like?"), user(f"Tea. {a}")] for a in tasks]
    chats, targets = chats[:pairs], [f"{a} {b}" for a, b in zip(tasks, reversed(tasks), strict=True)][:pairs]
    differences: list[float] = []
    for one, other in zip(ours.log_prob(chats, targets), theirs.log_prob(chats, targets), strict=True):
        assert isinstance(one, LogProb) and isinstance(other, LogProb) and one.tokens == other.tokens
        differences.append(abs(one.total - other.total) / one.tokens)
    return max(differences)


def stage(asker: VLLM, player: VLLM, tasks: Sequence[str]) -> int:
    """Run the stage; return the conversations."""
    policy = Role("policy", asker, SAMPLING)
    roles = [Role("roleplayer", player, SAMPLING, concierge.prompt("play").replace("{task}", task)) for task in tasks]
    flows = [
        (f"{at} #{k}", converse(task, k, policy, roles[at])) for at, task in enumerate(tasks) for k in range(SAMPLES)
    ]
    return len([turns for turns in run(flows) if turns == 5])


def single(sent: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the requests with one for each sample."""
    return [{**body, "n": 1, "seed": body["seed"] + index} for body in sent for index in range(body["n"])]


@contextmanager
def replaying(
    url: str, bodies: Sequence[Mapping[str, Any]], conversations: int, folder: Path
) -> Generator[Callable[[], int]]:
    """Start the load and yield what sends all of it; that returns the conversations it was made of."""
    path = folder / "bodies.jsonl"
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies), encoding="utf-8")
    command = [sys.executable, "-m", "bench.load", f"{url}/completions", str(path), str(SERVING.concurrency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:

        def send() -> int:
            assert load.stdin and load.stdout
            load.stdin.write("\n")
            load.stdin.flush()
            assert int(load.stdout.readline()) == len(bodies)
            return conversations

        yield send


def measure(quick: bool) -> dict[str, Any]:
    if not PYTHON.exists():
        return unmeasured(FIGURES, "there is no vLLM in .venv-vllm; `make vllm` makes it")
    torch.set_num_threads(1)
    tasks = [row["text"] for row in language.tasks()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = servable(concierge.MODEL, folder / "base")
        checkpoint = adapter(base, folder / "checkpoint", tasks)
        opened = open_vllm(str(base), SERVING)
        assert opened.template
        player = Recording(opened.server, opened.template)
        asker = Recording(opened.server, opened.template, checkpoint / "adapter")
        pairs = 50 if quick else 400
        figures = {
            "vllm_base_max_nats_apart": nats_apart(player, HF(base, device="cpu"), tasks, pairs),
            "vllm_adapter_max_nats_apart": nats_apart(asker, HF(checkpoint, device="cpu"), tasks, pairs),
        }
        tasks = tasks[: 10 if quick else 40]
        asker.sent = player.sent = []
        conversations = stage(asker, player, tasks)
        bodies = single(asker.sent)
        assert len(bodies) == 4 * conversations
        asker.sent = player.sent = None
        with replaying(opened.server.url, bodies, conversations, folder) as send:
            figures |= compare("vllm_conversations", lambda: stage(asker, player, tasks), send, 2 if quick else 3)
        for engine in (asker, player, opened):
            engine.close()
    return figures
