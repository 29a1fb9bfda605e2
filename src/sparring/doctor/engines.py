"""Checks of the engines: that they answer, and that the policy's is what the trainer would train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from sparring.doctor.machine import SAVED, host_memory
from sparring.doctor.plumbing import Finding, Plumbing, gigabytes
from sparring.engines import is_person
from sparring.engines.base import Request, Scorer
from sparring.engines.scripted import Scripted
from sparring.engines.weights import parameters
from sparring.errors import EngineError, RolloutError, SettingsError, SparringError
from sparring.training.canary import FILE as CANARY
from sparring.training.canary import check_canary
from sparring.types import Chat, Completion, LogProb, Sampling, assistant, system, user
from sparring.worlds import model_of

HELLO: Chat = [user("Hello! What do you like?")]
CHATS: dict[str, Chat] = {
    "a question": HELLO,
    "a system message": [system("You are helpful."), *HELLO],
    "two turns": [*HELLO, assistant("I like tea."), user("And what else?")],
}
TEXTS: tuple[tuple[Chat, str], ...] = tuple(zip(CHATS.values(), ("I like tea.", "Tea", "And cake."), strict=True))
SHORT = 8
"""Tokens of a first reply."""


def answers(plumbing: Plumbing) -> Iterator[Finding]:
    """Have each role's engine say a few words."""
    for role, name in plumbing.engines.items():
        try:
            yield _answer(plumbing, role, name)
        except SparringError as error:
            setting = "policy" if role == "policy" else f"roles.{role}.engine"
            yield Finding(role, "miss", str(error), f"mend {setting}, or name another engine there")


def _answer(plumbing: Plumbing, role: str, name: str) -> Finding:
    if not name:
        raise SettingsError("its engine is not set")
    engine = plumbing.engine(name)
    if is_person(name):
        return Finding(role, "ok", f"{name}: a person at this terminal, who is not asked now")
    if isinstance(engine, Scripted):
        return Finding(role, "ok", f"{name}: a rule")
    [reply] = engine.generate([Request(HELLO, Sampling(max_tokens=SHORT), role=role)])
    if isinstance(reply, RolloutError):
        raise reply
    if reply.finish == "refused":
        raise EngineError(f"{name} refused to answer {HELLO[0]['content']!r}")
    return Finding(role, "ok", f"{name}: {reply.text!r:.60} ({_tokens(reply)})")


def _tokens(reply: Completion) -> str:
    counts = (reply.prompt_tokens, reply.completion_tokens)
    return " + ".join("?" if count is None else str(count) for count in counts) + " tokens"


def log_probs(plumbing: Plumbing) -> Iterator[Finding]:
    """Have the policy's engine score a text: by that it proves to hold what was trained."""
    [score] = _scores(plumbing, TEXTS[:1])
    yield Finding("log-probs", "ok", f"{score.total:.3f} nats over {score.tokens} tokens")


def handed_over(plumbing: Plumbing) -> Iterator[Finding]:
    """Score the texts that a training job kept with its checkpoint, where the policy is one."""
    if plumbing.model and (plumbing.model / CANARY).is_file():
        check_canary(plumbing.model, plumbing.engine(plumbing.policy))
        yield Finding("hand-over", "ok", f"{plumbing.model} is as its training job left it")


def weights(plumbing: Plumbing) -> Iterator[Finding]:
    """Compare log-probs of the policy's engine to the trainer's libraries, on the weights that would be trained."""
    name = "weights"
    if plumbing.model is None:
        yield Finding(name, "skip", f"those of {model_of(plumbing.policy)!r} are not on this machine yet")
        return
    if find_spec("torch") is None:
        yield Finding(name, "skip", "torch, which would tell them, is not installed here")
        return
    need, free = SAVED * parameters(plumbing.model), host_memory()
    if free is not None and need > free:
        yield Finding(name, "skip", f"{gigabytes(need)} for them in float32 are not free here, {gigabytes(free)} are")
        return
    engine = plumbing.engine(plumbing.policy)
    tolerance: float = getattr(engine, "rounding", 1e-3)
    apart = 0.0
    for score, (total, tokens) in zip(_scores(plumbing, TEXTS), reference(plumbing.model, TEXTS), strict=True):
        if score.tokens != tokens:
            raise EngineError(f"the engine scores {score.tokens} tokens where the trainer reads {tokens}")
        apart = max(apart, abs(score.total - total) / tokens)
    if not apart <= tolerance:
        raise EngineError(
            f"the engine does not hold the weights that would be trained: its log-probs are up to {apart:.4f} nats a "
            f"token away from theirs (allowed: {tolerance})"
        )
    yield Finding(name, "ok", f"log-probs differ by at most {apart:.1e} nats a token (allowed: {tolerance})")


def _scores(plumbing: Plumbing, texts: Sequence[tuple[Chat, str]]) -> list[LogProb]:
    engine = plumbing.engine(plumbing.policy)
    if not isinstance(engine, Scorer):
        raise EngineError(f"policy {plumbing.policy!r} cannot return log-probs")
    scores: list[LogProb] = []
    for score in engine.log_prob([chat for chat, _ in texts], [target for _, target in texts]):
        if isinstance(score, RolloutError):
            raise score
        scores.append(score)
    return scores


def reference(model: Path, texts: Sequence[tuple[Chat, str]]) -> list[tuple[float, int]]:
    """Return log-prob (nats) and number of tokens of each target, by transformers alone, in float32 on the CPU."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    from sparring.engines.hf import open_model
    from sparring.engines.template import Template, end_tokens

    disable_progress_bar()  # it would write across the findings
    tokenizer, loaded = open_model(str(model), torch.float32)
    template = Template(tokenizer, str(model), end_tokens(loaded, tokenizer))
    found: list[tuple[float, int]] = []
    for chat, words in texts:
        before, target = template.target(chat, words)
        with torch.inference_mode():
            logits = loaded.eval()(input_ids=torch.tensor([before + target])).logits[0, len(before) - 1 : -1]
        picked = logits.log_softmax(dim=-1)[range(len(target)), target]
        found.append((picked.double().sum().item(), len(target)))
    return found


# Chat templates


def templates(plumbing: Plumbing) -> Iterator[Finding]:
    """Compare the prompt tokens that the policy's engine counts to those that the trainer reads."""
    engine, counts = plumbing.engine(plumbing.policy), list[int]()
    for what, chat in CHATS.items():
        [reply] = engine.generate([Request(chat, Sampling(max_tokens=1), role="policy")])
        if isinstance(reply, RolloutError):
            raise reply
        if reply.prompt_tokens is None:
            yield Finding("chat template", "skip", "the policy's engine does not say how many tokens it read")
            return
        ids = plumbing.template.prompt(chat)
        if reply.prompt_tokens != len(ids):
            raise EngineError(f"for {what} the engine reads {reply.prompt_tokens} tokens, the trainer {len(ids)}")
        counts.append(len(ids))
    yield Finding("chat template", "ok", f"engine and trainer read {', '.join(map(str, counts))} tokens alike")


def end_of_turn(plumbing: Plumbing) -> Iterator[Finding]:
    """Make sure that the last token which is learned of a reply is one that ends it when sampled."""
    template = plumbing.template
    row = template.rows([user("Hello!"), assistant("Hello!")])[-1]
    last = row.ids[row.spans[-1][1] - 1]
    word = template.tokenizer.convert_ids_to_tokens(last)
    if last not in template.ends:
        ends = ", ".join(repr(template.tokenizer.convert_ids_to_tokens(end)) for end in sorted(template.ends))
        raise EngineError(f"the last token learned of a reply is {word!r}, and turns end with {ends}: none is learned")
    yield Finding("end of turn", "ok", f"learned as {word!r}")
