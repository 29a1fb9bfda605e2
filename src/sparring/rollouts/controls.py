"""What is scored of a conversation, and its controls: pairs of a chat and the oracle's response after it.

STaR-GATE section 4.1. The instruction to ask is gone, and the repeated task is the cue to answer.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from sparring.rollouts.conversation import Conversation
from sparring.rollouts.situation import Situation
from sparring.types import Chat


def heard(conversation: Conversation) -> tuple[Chat, str]:
    """The oracle's response after the conversation: what the policy's questions are paid for."""
    return conversation.answering(), conversation.situation.oracle


def floor(situation: Situation) -> tuple[Chat, str]:
    """The same response with nothing known but the name and the task."""
    return Conversation(situation, 0).answering(), situation.oracle


def ceiling(situation: Situation) -> tuple[Chat, str]:
    """The same response with the whole persona told and no conversation."""
    return Conversation(situation, 0).answering(situation.persona.text), situation.oracle


def ceiling_and_heard(conversation: Conversation) -> tuple[Chat, str]:
    """The same response with the persona told and the conversation held."""
    return conversation.answering(conversation.situation.persona.text), conversation.situation.oracle


def shuffled(conversations: Sequence[Conversation], seed: int) -> list[Conversation]:
    """Return each conversation with the turns of another persona's on its task: what those lend is not about the user.

    As published, the conversations of a task are rotated among its personas, by one random rotation a task. A task
    with one persona cannot be shuffled, and its conversations are left out.
    """
    by_task: dict[str, dict[str, list[Conversation]]] = defaultdict(lambda: defaultdict(list))
    for conversation in conversations:
        by_task[conversation.situation.task.id][conversation.situation.persona.id].append(conversation)
    mixed: list[Conversation] = []
    for task, personas in by_task.items():
        groups = list(personas.values())
        if len(groups) < 2:
            continue
        turn = random.Random(f"{seed}/{task}").randrange(1, len(groups))
        for at, group in enumerate(groups):
            others = groups[(at + turn) % len(groups)]
            mixed += [ours.heard_from(others[i % len(others)]) for i, ours in enumerate(group)]
    return mixed


def for_another(conversation: Conversation, rival: Situation) -> tuple[Chat, str]:
    """The response written for another persona on the same task, after this conversation.

    `information_gain` subtracts its log-prob: what a conversation lends to anybody's response is not about this user.
    (Subtracting the floor instead would leave the order within a pair as it is: the floor is one number a pair.)
    """
    return conversation.answering(), rival.oracle


def rivals(situations: Sequence[Situation]) -> dict[str, Situation]:
    """Return, by situation id, the next persona's situation on the same task; none where there is no other."""
    by_task: dict[str, list[Situation]] = defaultdict(list)
    for situation in situations:
        by_task[situation.task.id].append(situation)
    return {
        s.id: group[(at + 1) % len(group)] for group in by_task.values() if len(group) > 1 for at, s in enumerate(group)
    }
