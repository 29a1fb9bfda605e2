"""Gauges: figures that tell early when a loop spoils what it improves, and the bounds beyond which there is a warning.

What is said becomes all alike, or much longer or shorter; a judge passes what a checker does not; held-out tasks are
lost while others are won; what is tested was learned. No gauge stops a run. What acts on a round that got worse is the
setting `roll_back`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sparring.evals.statistics import Interval, mean_interval, ratio_interval
from sparring.rollouts.conversation import QUESTION_MARKS
from sparring.tasks.cleaning import grams, words

Cluster = TypeVar("Cluster", bound=Hashable)
OVERLAP = 13
"""Words in a row that two prompts have in common by copying: GPT-3's and lm-eval's."""


def distinct(said: Mapping[Cluster, Sequence[str]], n: int | None = None) -> Interval | None:
    """Return how many different texts there are of all, or (distinct-n) different `n` words in a row of all such.

    1: no two are alike. It falls with the number of texts, so only shares of the same exam compare. The interval takes
    for given how common each text is.
    """
    units = {who: [unit for text in texts for unit in _units(text, n)] for who, texts in said.items()}
    common = Counter(unit for those in units.values() for unit in those)
    return ratio_interval({who: [1 / common[unit] for unit in those] for who, those in units.items()})


def _units(text: str, n: int | None) -> Sequence[Hashable]:
    return [plain(text)] if n is None else grams(text, n)


def length(said: Mapping[Cluster, Sequence[str]]) -> Interval | None:
    """Return the words of a text."""
    return mean_interval({who: [float(len(words(text))) for text in texts] for who, texts in said.items()})


def questions(said: Mapping[Cluster, Sequence[str]]) -> Interval | None:
    """Return how many questions a text asks, by its question marks."""
    marks = re.compile(f"[{QUESTION_MARKS}]+")
    return mean_interval({who: [float(len(marks.findall(text))) for text in texts] for who, texts in said.items()})


def forgotten(now: Mapping[Cluster, float], before: Mapping[Cluster, float]) -> Interval | None:
    """Return the share of held-out tasks that are done worse than before, whatever others have gained."""
    return mean_interval([float(now[one] < before[one]) for one in now if one in before])


def divergence(judged: Mapping[Cluster, Sequence[tuple[bool, bool]]]) -> Interval | None:
    """Return the share of answers that a judge passes less the share that a checker does: (passed, right) of each."""
    return mean_interval({who: [float(passed) - right for passed, right in those] for who, those in judged.items()})


def contamination(tests: Sequence[str], learned: Iterable[str], n: int | None = OVERLAP) -> Interval | None:
    """Return the share of test prompts that are among those learned from, or have `n` words in a row of one of them.

    The same is what differs in case and spacing alone. With None only the same counts: where prompts are made from one
    template, all have many words in common.
    """
    places: dict[Hashable, set[int]] = {}
    for at, text in enumerate(tests):
        for mark in _marks(text, n):
            places.setdefault(mark, set()).add(at)
    met = {at for text in set(learned) for mark in _marks(text, n) for at in places.get(mark, ())}
    return mean_interval([float(at in met) for at in range(len(tests))])


def _marks(text: str, n: int | None) -> Iterator[Hashable]:
    yield plain(text)
    if n is not None:
        yield from (gram for gram in grams(text, n) if len(gram) == n)


def plain(text: str) -> str:
    """Return a text without what differs by case, width and spacing."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True, slots=True)
class Brake:
    """How far a gauge may go before a warning is due; both bounds are still allowed."""

    metric: str
    says: str
    """With blanks for `value`, the `bound` that it passed and m_0's value, `then`."""
    least: float = -math.inf
    most: float = math.inf
    of_m_0: bool = False
    """Whether bounds are times m_0's value."""


def _times(metric: str, what: str, least: float, most: float = math.inf) -> Brake:
    says = f"{what}: {{value:.2f}}, {{bound:.2f}} were allowed, m_0 had {{then:.2f}}"
    return Brake(metric, says, least, most, of_m_0=True)


BRAKES = (
    _times("distinct_questions", "questions have become alike (share of different ones)", least=0.5),
    _times("questions_a_turn", "the number of questions in a turn has drifted", least=0.5, most=1.5),
    _times("distinct_2", "answers have become alike (share of different word pairs)", least=0.5),
    _times("answer_words", "the length of answers, in words, has drifted", least=0.5, most=2.0),
    Brake("judge_over_checker", "the judge passes {value:+.1%} of answers over the checker's share", -0.1, 0.1),
    Brake("contaminated", "{value:.1%} of test prompts are in what this round tried or learned from", most=0.0),
)
"""Our choice, wide enough for rounds that go well: half as diverse, twice as long, a judge ten points off, no prompt of
the test. Whether a round got worse is its verdict's to say."""


def exceeded(metrics: Mapping[str, Interval | None], m_0: Mapping[str, Interval | None]) -> list[str]:
    """Return a warning for each bound that is passed."""
    warnings: list[str] = []
    for brake in BRAKES:
        found, then = metrics.get(brake.metric), m_0.get(brake.metric)
        if found is None or (brake.of_m_0 and (then is None or not then.value)):  # nothing to compare, or with
            continue
        before = then.value if then else math.nan
        least, most = (bound * before if brake.of_m_0 else bound for bound in (brake.least, brake.most))
        if not least <= found.value <= most:
            bound = least if found.value < least else most
            warnings.append(brake.says.format(value=found.value, bound=bound, then=before))
    return warnings
