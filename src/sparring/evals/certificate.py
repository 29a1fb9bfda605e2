"""A judge's certificate: what labelled responses tell of it, and whether that is as much as a run requires.

A loop that trains on a judge learns whatever the judge favours: Yes to everything, the longer text, the answer that
stands first. None of these shows in how often it is right alone. Shares are in [0, 1], differences in [-1, 1].

Of a judge that reads one response: `balanced_accuracy`, `accuracy_bad`, `accuracy_good` (`evals.judging`, by the
majority), `agreement` (Krippendorff's alpha of its votes), `length_bias`, `yes_bias`, `calibration_error`, `unscored`,
`unreadable`. Of one that compares two, in both orders: `accuracy`, `agreement`, `position_bias`, `length_bias`, `ties`,
`unreadable`. Of either, beside an anchor on the same items: `drift`, and of the first `drift_yes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from statistics import median
from typing import TYPE_CHECKING, Any

from sparring.errors import SettingsError
from sparring.evals.agreement import alpha, resampled
from sparring.evals.judging import judging, readings
from sparring.evals.statistics import Interval, mean_interval, paired_difference
from sparring.evals.summary import as_row
from sparring.evals.win_rate import WORTH, Choice, read_choice
from sparring.files import Row
from sparring.flow import Flow, Role, quoted, render, together
from sparring.signals.judge import Judgement
from sparring.tasks.instructions import Judged
from sparring.types import user

if TYPE_CHECKING:
    from numpy.typing import NDArray

Metrics = dict[str, Interval | None]
AT_LEAST = ("balanced_accuracy", "accuracy", "accuracy_bad", "accuracy_good", "agreement")
"""What a requirement bounds from below."""
AT_MOST = (
    *("position_bias", "length_bias", "yes_bias", "calibration_error"),
    *("drift_yes", "ties", "unscored", "unreadable"),
)
"""What a requirement bounds in size, to either side."""
FALLS = ("drift",)
"""What a requirement bounds from falling: a rise is welcome."""
BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Responses with about the same share of Yes."""

    low: float
    """Shares of this and above, up to `high`; the last bin has 1 itself."""
    high: float
    said: float
    """Mean share of Yes."""
    right: float
    """Share that follows by the labels: of a calibrated judge, about `said`."""
    n: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """What labelled responses tell of a judge."""

    metrics: Metrics
    """None: it could not be measured."""
    n: int
    """Labelled responses, or pairs of them."""
    calibration: tuple[Bin, ...] = ()
    """Bins that have responses; none of a judge that compares."""

    def row(self) -> Row:
        return {"n": self.n, "metrics": as_row(self.metrics), "calibration": [asdict(one) for one in self.calibration]}

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> Certificate:
        metrics: Metrics = {name: found and Interval(**found) for name, found in row["metrics"].items()}
        return Certificate(metrics, row["n"], tuple(Bin(**one) for one in row["calibration"]))

    def passes(self, require: Mapping[str, float]) -> list[str]:
        """Return why this is not what is required, a sentence each; none where it passes.

        A bound must hold for the value itself: it need not hold for the whole interval, which few items never would
        satisfy, and it is not enough that the interval reaches it, which no items at all would. So the sentence gives
        the interval. What could not be measured does not pass. Raises SettingsError for a name that is no metric.
        """
        check_bounds(require)
        return [why for name, bound in require.items() if (why := self._failing(name, bound))]

    def _failing(self, name: str, bound: float) -> str:
        found = self.metrics.get(name)
        if found is None:
            return f"{name} could not be measured, and {bound:g} is required"
        least, most = limits(name, bound)
        if found.value >= least and (most is None or found.value <= most):
            return ""
        known = "" if found.low is None else f"95 % interval {found.low:.3f} to {found.high:.3f}, "
        asked = f"at least {least:g}" if most is None else f"between {least:g} and {most:g}"
        return f"{name} is {found.value:.3f} ({known}n = {found.n}), and must be {asked}"


def limits(name: str, bound: float) -> tuple[float, float | None]:
    """Return the least and the most that a requirement lets a metric be; None: anything above the least."""
    if name in AT_LEAST:
        return bound, None
    return -bound, None if name in FALLS else bound


def check_bounds(require: Mapping[str, float]) -> None:
    """Raise SettingsError for a name that is no metric of a certificate, or a bound that is out of its range."""
    known = (*AT_LEAST, *AT_MOST, *FALLS)
    for name, bound in require.items():
        least = -1 if name == "agreement" else 0
        if name in known and not least <= bound <= 1:
            raise SettingsError(f"{name} = {bound:g}: a bound is a share or a difference, from {least} to 1")
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
            raise SettingsError(f"a certificate has no {name!r}; {hint}")


# A judge that reads one response

Voted = Sequence[tuple[Judged, Judgement | None]]


def certify(voted: Voted, anchor: Voted = (), *, bins: int = BINS) -> Certificate:
    """Return the certificate of a judge by its votes on labelled responses; `anchor`: another judge's votes on them.

    `yes_bias` is the share of Yes among the votes less the share of responses that follow: 0.5 of a judge that always
    says Yes where half do. `length_bias` is by how much the share of Yes is higher for the longer responses than for
    the shorter ones of the same label, in characters from the label's median, averaged over both labels.
    `calibration_error` is the expected one: how far, on average, the share of Yes lies from the share that follows.
    `drift` is the balanced accuracy less the anchor's, of responses that both decided, `drift_yes` the share of Yes
    less the anchor's.
    """
    shares = [(one, judgement.value) for one, judgement in voted if judgement and judgement.value is not None]
    rows = readings(voted)
    said = judging(rows, readings(anchor))
    metrics: Metrics = {
        name: said[f"judge_{name}"]
        for name in ("balanced_accuracy", "accuracy_bad", "accuracy_good", "unscored", "unreadable")
    }
    metrics["agreement"] = alpha([vote.verdict for vote in judgement.votes] for _, judgement in voted if judgement)
    metrics["yes_bias"] = mean_interval([value - one.label for one, value in shares])
    metrics["length_bias"] = resampled(_halves(shares), _over_shorter)
    lines = [(float(_bin(value, bins)), value, float(one.label)) for one, value in shares]
    metrics["calibration_error"] = resampled(lines, _calibration_error)
    if anchor:
        metrics["drift"] = said["judge_balanced_accuracy_over_round_0"]
        then = {one.id: judgement.value for one, judgement in anchor if judgement and judgement.value is not None}
        metrics["drift_yes"] = paired_difference({one.id: value for one, value in shares}, then)
    return Certificate(metrics, len(voted), tuple(_table(shares, bins)))


def _halves(shares: Iterable[tuple[Judged, float]]) -> list[tuple[float, float, float]]:
    """Return label, whether it is longer than its label's median, and share of Yes; what is as long is left out."""
    found: list[tuple[float, float, float]] = []
    known = list(shares)
    for label in (True, False):
        those = [(len(one.response), value) for one, value in known if one.label is label]
        middle = median(length for length, _ in those) if those else 0
        found += [(float(label), float(length > middle), value) for length, value in those if length != middle]
    return found


def _over_shorter(kinds: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return the mean over labels of the longer half's mean share less the shorter half's."""
    import numpy as np

    label, is_long, value = kinds.T
    gaps: list[NDArray[Any]] = []
    for which in np.unique(label):
        halves = [counts * ((label == which) & (is_long == half)) for half in (1.0, 0.0)]
        with np.errstate(invalid="ignore"):
            long, short = (half @ value / half.sum(axis=1) for half in halves)
        gaps.append(long - short)
    return np.mean(gaps, axis=0)


def _bin(share: float, bins: int) -> int:
    return min(int(round(share * bins, 9)), bins - 1)


def _calibration_error(kinds: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return, over bins, by how much the sum of shares and the number that follow differ, for each response."""
    import numpy as np

    at, share, label = kinds.T
    off = sum(abs((counts * (at == one)) @ (share - label)) for one in np.unique(at))
    return np.asarray(off) / counts.sum(axis=1)


def _table(shares: Sequence[tuple[Judged, float]], bins: int) -> Iterable[Bin]:
    for at in range(bins):
        those = [(value, one.label) for one, value in shares if _bin(value, bins) == at]
        if those:
            said, right = (sum(column) / len(those) for column in zip(*those, strict=True))
            yield Bin(at / bins, (at + 1) / bins, said, right, len(those))


# A judge that compares two


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one prompt, of which it is known which is better."""

    id: str
    prompt: str
    good: str
    bad: str
    persona: str = "Nothing is known of them."
    """Who asked, where the judge's prompt tells it."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The votes on a pair in both orders."""

    pair: Pair
    good_first: tuple[Choice | None, ...]
    """With the good one as A. None: unreadable."""
    bad_first: tuple[Choice | None, ...]
    """With the good one as B."""

    @property
    def verdicts(self) -> list[str]:
        """What each readable vote of either order was for: good, bad or tie."""
        names = {True: {"a": "good", "b": "bad", "tie": "tie"}, False: {"a": "bad", "b": "good", "tie": "tie"}}
        both = ((True, self.good_first), (False, self.bad_first))
        return [names[is_first][vote] for is_first, votes in both for vote in votes if vote]

    @property
    def value(self) -> float | None:
        """Share of the readable votes for the good one, a tie counting a half; None where there is none.

        Both orders count alike where both can be read, so that position cancels.
        """
        first = [WORTH[vote] for vote in self.good_first if vote]
        second = [1 - WORTH[vote] for vote in self.bad_first if vote]
        shares = [sum(votes) / len(votes) for votes in (first, second) if votes]
        return sum(shares) / len(shares) if shares else None

    @property
    def lean(self) -> float | None:
        """Share of the votes for the one that stood first, less the share for the second; None unless both orders were
        read, or a judge that is right would seem to lean to where the good one stands."""
        shares = [[WORTH[vote] for vote in votes if vote] for votes in (self.good_first, self.bad_first)]
        return sum(sum(votes) / len(votes) for votes in shares) - 1 if all(shares) else None


def pairs_of(judged: Sequence[Judged]) -> list[Pair]:
    """Return the good responses, each beside a bad one to the same prompt, in their order; what is left over is not."""
    found: list[Pair] = []
    for prompt in dict.fromkeys(one.prompt for one in judged):
        good, bad = ([one for one in judged if one.prompt == prompt and one.label is label] for label in (True, False))
        found += [Pair(f"{a.id} {b.id}", prompt, a.response, b.response) for a, b in zip(good, bad, strict=False)]
    return found


def compare_pair(pair: Pair, judge: Role, prompt: str, votes: int = 1) -> Flow[Compared]:
    """Have a judge compare a pair so many times in each order; `prompt` has the blanks {task}, {a}, {b}."""
    orders = [(pair.good, pair.bad), (pair.bad, pair.good)]
    about = {"persona": pair.persona, "task": pair.prompt}
    chats = [[user(render(prompt, **about, a=quoted(a), b=quoted(b)))] for a, b in orders]
    replies = yield from together(judge.complete(chat, index) for chat in chats for index in range(votes))
    said: list[Choice | None] = [read_choice(reply) for reply in replies]
    return Compared(pair, tuple(said[:votes]), tuple(said[votes:]))


def certify_comparing(items: Sequence[Compared], anchor: Sequence[Compared] = ()) -> Certificate:
    """Return the certificate of a judge that compares; `anchor`: another judge's votes on the same pairs.

    `agreement` is Krippendorff's alpha over the votes of both orders, a tie being a verdict: a judge that goes by
    position disagrees with itself. `length_bias` is the share of votes for the good one where it is the longer, less
    that where it is the shorter: 1 of a judge that prefers the longer, whatever it says.
    """
    values = {one.pair.id: one.value for one in items if one.value is not None}
    then = {one.pair.id: one.value for one in anchor if one.value is not None}
    lines = [
        (1.0, float(len(one.pair.good) > len(one.pair.bad)), one.value)
        for one in items
        if one.value is not None and len(one.pair.good) != len(one.pair.bad)
    ]
    metrics: Metrics = {
        "accuracy": mean_interval(list(values.values())),
        "agreement": alpha(one.verdicts for one in items),
        "position_bias": mean_interval([one.lean for one in items if one.lean is not None]),
        "length_bias": resampled(lines, _over_shorter),
        "ties": mean_interval({one.pair.id: [float(vote == "tie") for vote in one.verdicts] for one in items}),
        "unreadable": mean_interval(
            {one.pair.id: [float(vote is None) for vote in (*one.good_first, *one.bad_first)] for one in items}
        ),
    }
    if anchor:
        metrics["drift"] = paired_difference(values, then)
    return Certificate(metrics, len(items))
