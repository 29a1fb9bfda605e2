"""How well responses follow instructions that code can check: IFEval's four shares, FollowBench's over nested levels.

A response is None where its rollout failed: it misses every instruction. Prompts without instructions are left out.
What is drawn for an interval are prompts, of nested levels whole groups; several responses to a prompt are one cluster.

IFEval: https://arxiv.org/abs/2311.07911. FollowBench: https://arxiv.org/abs/2310.20410; its constraints are judged by a
model or by a rule, ours by checkers alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

from sparring.evals.statistics import Interval, mean_interval, ratio_interval
from sparring.tasks.instructions import Checker, Instructed, Instruction, follow, follow_loosely

Metrics = dict[str, Interval | None]
Answers = Sequence[tuple[Instructed, str | None]]
Checkers = Mapping[str, Checker]


@dataclass(frozen=True, slots=True)
class Checked:
    """Which instructions of its prompt a response obeys."""

    asked: Instructed
    strict: list[bool]
    loose: list[bool]
    """In any of the eight variants of the response."""


def check(answers: Answers, checkers: Checkers) -> list[Checked]:
    """Return what each response obeys, of prompts that have instructions."""
    return [_checked(asked, text, checkers) for asked, text in answers if asked.instructions]


def _checked(asked: Instructed, text: str | None, checkers: Checkers) -> Checked:
    if text is None:
        missed = [False] * len(asked.instructions)
        return Checked(asked, missed, missed)
    return Checked(asked, follow(asked, text, checkers), follow_loosely(asked, text, checkers))


def following(answers: Answers, checkers: Checkers) -> Metrics:
    """Return IFEval's four, each of strict and loose: `prompt_...`, the share of responses that obey all instructions
    of their prompt, and `instruction_...`, the share of all instructions that are obeyed. None without a response.
    """
    checked = check(answers, checkers)
    return {
        "prompt_strict": mean_interval(_clusters((one.asked.id, [all(one.strict)]) for one in checked)),
        "prompt_loose": mean_interval(_clusters((one.asked.id, [all(one.loose)]) for one in checked)),
        "instruction_strict": ratio_interval(_clusters((one.asked.id, one.strict) for one in checked)),
        "instruction_loose": ratio_interval(_clusters((one.asked.id, one.loose) for one in checked)),
    }


def category(instruction: Instruction) -> str:
    """Return the family of an instruction: what its id has before the colon."""
    return instruction.id.partition(":")[0]


def by_category(
    answers: Answers, checkers: Checkers, of: Callable[[Instruction], str] = category
) -> dict[str, Metrics]:
    """Return `strict` and `loose`, the shares of instructions of each category that are obeyed, by name."""
    strict: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    loose: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in check(answers, checkers):
        for instruction, strictly, loosely in zip(one.asked.instructions, one.strict, one.loose, strict=True):
            strict[of(instruction)][one.asked.id].append(strictly)
            loose[of(instruction)][one.asked.id].append(loosely)
    return {
        name: {"strict": ratio_interval(strict[name]), "loose": ratio_interval(loose[name])} for name in sorted(strict)
    }


def levels(answers: Answers, checkers: Checkers) -> Metrics:
    """Return FollowBench's shares of prompts in nested levels, one response each, as they stand (strict).

    `hsr_K` (hard satisfaction rate): share of level K's responses that obey all instructions. `ssr_K` (soft): mean of
    the share that each obeys. `hsr`, `ssr`: means over a group's levels. `csl` (consistent satisfaction levels): levels
    of a group, counted from 1, that are obeyed in full before the first that is not. Prompts of no group are left out;
    a level that no group has is None. Raises ValueError for two responses to one level of a group.
    """
    groups = _groups(check(answers, checkers))
    highest = max((level for group in groups.values() for level in group), default=0)
    found: Metrics = {}
    for level in range(1, highest + 1):
        at = [group[level] for group in groups.values() if level in group]
        found[f"hsr_{level}"] = mean_interval([float(all(obeyed)) for obeyed in at])
        found[f"ssr_{level}"] = mean_interval([_share(obeyed) for obeyed in at])
    each = list(groups.values())
    return found | {
        "hsr": mean_interval({n: [float(all(obeyed)) for obeyed in group.values()] for n, group in enumerate(each)}),
        "ssr": mean_interval({n: [_share(obeyed) for obeyed in group.values()] for n, group in enumerate(each)}),
        "csl": mean_interval([_consecutive(group) for group in each]),
    }


Group = dict[int, list[bool]]
"""What is obeyed of the instructions of each level."""


def _groups(checked: Iterable[Checked]) -> dict[str, Group]:
    groups: dict[str, Group] = defaultdict(dict)
    for one in checked:
        if one.asked.group is not None and one.asked.level is not None:
            group = groups[one.asked.group]
            if one.asked.level in group:
                raise ValueError(f"two responses to level {one.asked.level} of group {one.asked.group}; give one")
            group[one.asked.level] = one.strict
    return groups


def _consecutive(group: Group) -> float:
    return float(sum(1 for _ in takewhile(lambda level: all(group.get(level, [False])), count(1))))


def _share(obeyed: Sequence[bool]) -> float:
    return sum(obeyed) / len(obeyed)


def _clusters(values: Iterable[tuple[Hashable, Sequence[bool]]]) -> dict[Hashable, list[float]]:
    clusters: dict[Hashable, list[float]] = defaultdict(list)
    for cluster, those in values:
        clusters[cluster] += map(float, those)
    return clusters
