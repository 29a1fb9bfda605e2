"""Tokens a second of a stage of conversations, against bare `model.generate` on the very requests of that stage.

The other side is the engine's own limit: prompts already token ids, sorted by length, the same rows a batch, nothing
decoded. Both count the tokens produced, end-of-turn included. No request stands twice, so the engine saves none.
Once as the rows end by themselves, where the engine gains by dropping them from the batch; once with every row as long
as `max_tokens`, where only a shared prefill is left to gain.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bench.alternate import compare
from bench.table import Figure
from sparring.engines.base import Request
from sparring.engines.hf import HF
from sparring.errors import RolloutError
from sparring.flow import Flow, Role, Tally, run
from sparring.types import Chat, Completion, Sampling, assistant, user
from sparring.worlds import concierge
from sparring.worlds.concierge import language

ROWS, SAMPLES, TURNS = 256, 10, 2
SAMPLING = Sampling(temperature=0.9, top_p=0.9, max_tokens=24)


FIGURES = tuple(
    Figure(
        f"rollouts: a stage, {how}",
        f"{key}_per_s",
        "tokens/s",
        against="bare `generate` on its requests",
        peer=f"{key}_other_per_s",
        ratio=f"{key}_ratio",
        asked=0.8,
        aim=0.95,
    )
    for how, key in (("rows end by themselves", "rollout_tokens"), ("rows of one length", "rollout_tokens_forced"))
)


class Recording(HF):
    """The engine, remembering what it was asked."""

    seen: list[Request]

    def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
        self.seen += requests
        return super().generate(requests)


def converse(task: str, index: int, policy: Role, roleplayer: Role) -> Flow[int]:
    """Questions and replies, however they end: a question cut off costs the same tokens."""
    asked: Chat = [user(task)]
    played: Chat = []
    for _ in range(TURNS):
        question = (yield from policy.complete(asked, index)).text
        played = [*played, user(question)]
        reply = (yield from roleplayer.complete(played, index)).text
        asked, played = [*asked, assistant(question), user(reply)], [*played, assistant(reply)]
    return len(asked)


def stage(engine: HF, tasks: Sequence[str]) -> int:
    """Run the stage; return the tokens it produced."""
    tally = Tally()
    policy = Role("policy", engine, SAMPLING)
    roles = [Role("roleplayer", engine, SAMPLING, concierge.prompt("play").replace("{task}", task)) for task in tasks]
    flows = [
        (f"{at} #{k}", converse(task, k, policy, roles[at])) for at, task in enumerate(tasks) for k in range(SAMPLES)
    ]
    run(flows, tally=tally)
    return sum(count["completion_tokens"] for count in tally.counts.values())


@torch.inference_mode()
def bare(engine: HF, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> int:
    """Generate; return the tokens produced up to each row's end."""
    ends = torch.tensor(sorted(engine.ends), dtype=torch.long, device=engine.device)
    tokens = 0
    for ids, mask in batches:
        out = engine.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=SAMPLING.temperature,
            top_p=SAMPLING.top_p,
            top_k=0,
            max_new_tokens=SAMPLING.max_tokens,
            pad_token_id=engine.pad,
        )[:, ids.shape[1] :]
        end = torch.isin(out, ends).long()
        tokens += int((end.cumsum(dim=1) - end == 0).sum())
    return tokens


def padded(engine: HF, requests: Sequence[Request]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    prompts = sorted((engine.template.prompt(request.chat) for request in requests), key=len)
    tokenizer = engine.tokenizer
    tokenizer.padding_side = "left"
    batches: list[tuple[torch.Tensor, torch.Tensor]] = []
    for start in range(0, len(prompts), ROWS):
        batch = tokenizer.pad({"input_ids": prompts[start : start + ROWS]}, return_tensors="pt")
        batches.append((batch["input_ids"].to(engine.device), batch["attention_mask"].to(engine.device)))
    return batches


def against(name: str, engine: Recording, tasks: Sequence[str], times: int) -> dict[str, float]:
    engine.seen = []
    stage(engine, tasks)
    batches = padded(engine, engine.seen)
    return compare(name, lambda: stage(engine, tasks), lambda: bare(engine, batches), times)


def measure(quick: bool) -> dict[str, float]:
    engine = Recording(concierge.MODEL, rows=ROWS, device="cpu")
    tasks, times = [row["text"] for row in language.tasks()], 2 if quick else 5
    as_they_end = against("rollout_tokens", engine, tasks[: 20 if quick else 60], times)
    engine.ends, engine.model.generation_config.eos_token_id = frozenset(), None
    return as_they_end | against("rollout_tokens_forced", engine, tasks[: 10 if quick else 26], times)
