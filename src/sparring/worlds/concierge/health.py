"""What went on in one conversation and its answer, counted. A report on the loop, never a part of its signal."""

from __future__ import annotations

from collections.abc import Sequence

from sparring.worlds.concierge.language import ANY, asked, needed, read_answer, read_persona, told


def conversation_health(
    task_text: str, persona_text: str, turns: Sequence[tuple[str, str]], answer: str | None
) -> dict[str, float]:
    """Count what the questions asked for and what the answer asserts.

    `turns` are (question, reply) in order; `answer` is None where there is none. All values are counts, so they add up
    over conversations and divide into shares:

    questions       asked in all
    open            of these, asked while a needed fact was still unknown
    relevant        asked for at least one needed fact that was still unknown; of `open`, hence relevant <= open
    repeated        asked only for what had been asked before, or the same small talk again
    malformed       no question of this world
    chit_chat       asked for no fact
    needed          facts that the task's answer needs
    known           of these, told in the conversation
    is_answer       1 if the answer can be read as one to this task
    facts_right     needed facts that the answer asserts and that are true of the user
    facts_invented  asserted, not told, and wrong
    facts_garbled   asserted and wrong although the fact was told
    hedged          needed facts left open
    """
    wants, values = needed(task_text), read_persona(persona_text)
    counts = dict.fromkeys(("questions", "open", "relevant", "repeated", "malformed", "chit_chat"), 0.0)
    known: dict[str, str] = {}
    earlier: set[str] = set()
    for question, reply in turns:
        slots, missing = asked(question), wants - known.keys()
        counts["questions"] += 1
        counts["open"] += bool(missing)
        counts["malformed"] += slots is None
        counts["chit_chat"] += slots is not None and not slots
        counts["relevant"] += bool(slots and slots & missing)
        topics = set(slots) if slots else {question.strip()}
        counts["repeated"] += slots is not None and topics <= earlier
        earlier |= topics
        known |= told(reply)
    return counts | _answer_health(task_text, answer, values, known)


def _answer_health(
    task_text: str, answer: str | None, values: dict[str, str], known: dict[str, str]
) -> dict[str, float]:
    read = None if answer is None else read_answer(task_text, answer)
    asserted = {slot: value for slot, value in (read or {}).items() if value != ANY}
    wrong = {slot for slot, value in asserted.items() if value != values[slot]}
    wants = needed(task_text)
    return {
        "needed": float(len(wants)),
        "known": float(len(wants & known.keys())),
        "is_answer": float(read is not None),
        "facts_right": float(len(asserted) - len(wrong)),
        "facts_invented": float(len(wrong - known.keys())),
        "facts_garbled": float(len(wrong & known.keys())),
        "hedged": float(len(read or {}) - len(asserted)),
    }
