"""Proof of a run's plumbing before it starts: one finding a check, with what to do where something is missed.

What is wrong with an engine, a template or a file is a finding; a bug crashes. The policy's model is looked at where
its files are on this machine; a check that needs more than there is is skipped, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sparring.doctor import engines, machine
from sparring.doctor.plumbing import Finding, Job, Plumbing
from sparring.errors import SparringError

__all__ = ["Finding", "Job", "Plumbing", "examine"]

Check = Callable[[Plumbing], Iterator[Finding]]


def examine(plumbing: Plumbing) -> Iterator[Finding]:
    """Yield the findings of all checks, cheap ones first."""
    for name, (check, to_do) in CHECKS.items():
        if name in OF_THE_POLICY and plumbing.policy in plumbing.failed:
            yield Finding(name, "skip", "the policy's engine is not there")
            continue
        try:
            yield from check(plumbing)
        except SparringError as error:
            yield Finding(name, "miss", str(error), to_do)


SAME = "name the policy's own model: engine and trainer must hold the same files, tokenizer and chat template"
CHECKS: dict[str, tuple[Check, str]] = {
    "servers": (machine.servers, "end the server"),
    "ledger": (machine.ledger, "keep the ledger on a local disk that can be written; SPARRING_HOME names its folder"),
    "training": (machine.training, "mend the training settings"),
    "disk": (machine.disk, "free some space, or put the run elsewhere"),
    "end of turn": (engines.end_of_turn, "use a chat template that closes a reply with the model's end-of-turn token"),
    "engines": (engines.answers, "name engines that answer"),
    "log-probs": (engines.log_probs, "score with hf:ID, vllm:ID, or a server that returns prompt log-probs"),
    "hand-over": (engines.handed_over, "train it again, or take its canary.json away if it was meant to be changed"),
    "weights": (engines.weights, SAME),
    "chat template": (engines.templates, SAME),
    "memory": (machine.memory, "train with training.lora, on more devices, or a smaller model"),
}
"""By name: the check, and what to do where it is missed."""
OF_THE_POLICY = ("log-probs", "hand-over", "weights", "chat template")
"""Checks that are skipped where the policy's engine cannot be opened, which is a miss already."""
