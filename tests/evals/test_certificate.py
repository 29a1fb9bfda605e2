"""A judge's certificate: judges made biased on purpose are found out with the size of it, a fair one passes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

import pytest

from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import SettingsError
from sparring.evals.certificate import (
    Bin,
    Certificate,
    Compared,
    Pair,
    certify,
    certify_comparing,
    check_bounds,
    compare_pair,
    pairs_of,
)
from sparring.evals.statistics import Interval
from sparring.flow import Role, run
from sparring.signals.judge import Judgement, Panel
from sparring.tasks.instructions import Judged
from sparring.types import Failure
from sparring.worlds.concierge import experts, language
from tests.rollouts.judgements import votes

# Responses are numbered, good or bad, and of two lengths that have nothing to do with it.
ITEMS = [
    Judged(f"r{at}", f"Ask {at // 2}.", f"{'good' if at % 2 else 'bad'} {at}{' word' * long}", at % 2 == 1)
    for at, long in ((at, 30 if at // 2 % 2 else 5) for at in range(400))
]
PAIRS = [
    Pair(f"p{at}", f"Ask {at}.", f"good {at}{' word' * long}", f"bad {at}{' word' * (35 - long)}")
    for at, long in ((at, 30 if at % 2 else 5) for at in range(200))
]
JUDGE = "JUDGE\n{prompt}\nREPLY\n{response}"
COMPARE = "{persona}\nASKED\n{task}\nA\n{a}\nB\n{b}"
Rule = Callable[[str, Request], bool]


def says(rule: Rule) -> Scripted:
    """A judge of one response, by a rule of its words."""

    def reply(request: Request) -> str:
        response = request.chat[0]["content"].partition("\nREPLY\n")[2].removeprefix("> ")
        return f"Verdict: {'Yes' if rule(response, request) else 'No'}"

    return Scripted(reply)


def voted(rule: Rule, items: Sequence[Judged] = ITEMS) -> list[tuple[Judged, Judgement | None]]:
    panel = Panel(Role("judge", says(rule)), JUDGE)
    found = run((one.id, panel(one.prompt, one.response)) for one in items)
    return [(one, None if isinstance(each, Failure) else each) for one, each in zip(items, found, strict=True)]


def compared(rule: Callable[[str, str], str], pairs: Sequence[Pair] = PAIRS, n: int = 1) -> list[Compared]:
    def reply(request: Request) -> str:
        found = re.search(r"\nA\n> (.*)\nB\n> (.*)", request.chat[0]["content"])
        assert found
        return f"Final Response: {rule(found[1], found[2])}"

    judge = Role("judge", Scripted(reply))
    found = run((one.id, compare_pair(one, judge, COMPARE, n)) for one in pairs)
    assert not [one for one in found if isinstance(one, Failure)]
    return [one for one in found if not isinstance(one, Failure)]


def is_good(response: str, request: Request) -> bool:
    return response.startswith("good")


def coin(response: str, request: Request, p: float) -> bool:
    return random.Random(f"{response} {request.sample_index}").random() < p


def noisy(response: str, request: Request) -> bool:
    """Right in four votes of five, whatever the length."""
    return is_good(response, request) is coin(response, request, 0.8)


def fond_of_length(response: str, request: Request) -> bool:
    """Says Yes to a good one with 0.7 and to a bad one with 0.3, and 0.25 more to a long one, less to a short one."""
    share = (0.7 if is_good(response, request) else 0.3) + (0.25 if len(response) > 80 else -0.25)
    return coin(response, request, share)


FAIR = {
    "balanced_accuracy": 0.65,
    "accuracy_bad": 0.65,
    "accuracy_good": 0.65,
    "agreement": 0.2,
    "length_bias": 0.1,
    "yes_bias": 0.1,
    "calibration_error": 0.25,
    "unreadable": 0.1,
}


def value(found: Certificate, name: str) -> float:
    interval = found.metrics[name]
    assert interval, name
    return interval.value


def names(reasons: Sequence[str]) -> list[str]:
    return [reason.split()[0] for reason in reasons]


# A judge that reads one response


def test_a_fair_noisy_judge_passes() -> None:
    found = certify(voted(noisy))
    assert found.passes(FAIR) == [] and found.n == 400
    assert value(found, "balanced_accuracy") == pytest.approx(0.94, abs=0.04)  # the majority of five at 0.8
    assert value(found, "agreement") == pytest.approx(1 - 0.32 / 0.5, abs=0.06)  # two votes differ in 2 * .8 * .2


def test_a_judge_that_always_says_yes_is_found_out() -> None:
    found = certify(voted(lambda response, request: True))
    assert value(found, "yes_bias") == value(found, "calibration_error") == 0.5
    assert (value(found, "accuracy_bad"), value(found, "balanced_accuracy")) == (0.0, 0.5)
    assert found.metrics["agreement"] is None, "votes that never differ cannot be told from votes that never look"
    assert names(found.passes(FAIR)) == [
        "balanced_accuracy",
        "accuracy_bad",
        "agreement",
        "yes_bias",
        "calibration_error",
    ]


def test_a_judge_that_always_says_no_is_found_out() -> None:
    found = certify(voted(lambda response, request: False))
    assert value(found, "yes_bias") == -0.5
    assert "yes_bias" in names(found.passes(FAIR)) and "accuracy_good" in names(found.passes(FAIR))


def test_a_judge_that_prefers_the_longer_is_found_out_with_the_size_of_it() -> None:
    found = certify(voted(fond_of_length))
    bias = found.metrics["length_bias"]
    assert bias and bias.low is not None and bias.high is not None and bias.n == 400
    assert bias.value == pytest.approx(0.5, abs=0.05) and bias.low < 0.5 < bias.high and bias.low > 0.4
    assert "length_bias" in names(found.passes(FAIR))
    assert value(certify(voted(lambda response, request: len(response) > 80)), "length_bias") == 1.0
    assert value(certify(voted(lambda response, request: len(response) < 80)), "length_bias") == -1.0


def test_length_is_held_against_a_judge_at_equal_label_only() -> None:
    # What is good is longer here, so a judge that is always right says Yes to the longer: that is no bias.
    words = ["good" * 9 + "." * at if at % 2 else "bad." + "." * (at % 7) for at in range(40)]
    items = [Judged(f"r{at}", "Ask.", text, at % 2 == 1) for at, text in enumerate(words)]
    found = certify(voted(is_good, items))
    assert value(found, "length_bias") == 0.0 and value(found, "balanced_accuracy") == 1.0


def test_responses_of_one_length_tell_nothing_of_length() -> None:
    items = [Judged(f"r{at}", "Ask.", "good" if at % 2 else "bad.", at % 2 == 1) for at in range(20)]
    found = certify(voted(noisy, items))
    assert found.metrics["length_bias"] is None
    assert found.passes({"length_bias": 0.1}) == ["length_bias could not be measured, and 0.1 is required"]


def test_calibration_is_the_distance_of_shares_of_yes_from_shares_that_follow() -> None:
    said = [(True, "yyyyn"), (True, "yyyyn"), (True, "yyyyn"), (False, "yyyyn"), (False, "nnnny"), (False, "nnnny")]
    items = [(Judged(f"r{at}", "Ask.", "x" * at, label), votes(each)) for at, (label, each) in enumerate(said)]
    found = certify(items)
    # Of four at 0.8 three follow: 0.05 off; of two at 0.2 none: 0.2 off. (4 * 0.05 + 2 * 0.2) / 6.
    assert value(found, "calibration_error") == pytest.approx(0.1)
    assert found.calibration == (
        Bin(0.2, pytest.approx(0.3), pytest.approx(0.2), 0.0, 2),
        Bin(0.8, 0.9, pytest.approx(0.8), 0.75, 4),
    )
    coarse = certify(items, bins=2).calibration
    assert [(one.low, one.high, one.n) for one in coarse] == [(0.0, 0.5, 2), (0.5, 1.0, 4)]


def test_shares_of_nought_and_of_one_are_in_the_first_bin_and_the_last() -> None:
    items = [(Judged("a", "Ask.", "x", True), votes("yyyyy")), (Judged("b", "Ask.", "x", False), votes("nnnnn"))]
    assert [(one.low, one.high) for one in certify(items).calibration] == [(0.0, 0.1), (0.9, 1.0)]


def test_a_judge_is_held_beside_its_anchor_on_the_same_responses() -> None:
    first = voted(noisy)
    found = certify(voted(lambda response, request: noisy(response, request) or coin(response, request, 0.5)), first)
    drift = found.metrics["drift_yes"]
    assert drift and drift.low is not None and drift.low > 0.05 and drift.n == 400
    assert value(found, "drift") < -0.02
    assert names(found.passes({"drift": 0.01, "drift_yes": 0.05})) == ["drift", "drift_yes"]
    same = certify(first, first)
    assert value(same, "drift") == value(same, "drift_yes") == 0.0
    assert "drift" not in certify(first).metrics


def test_a_judge_that_got_better_than_its_anchor_has_not_failed() -> None:
    found = certify(voted(is_good), voted(noisy))
    assert value(found, "drift") > 0.01 and found.passes({"drift": 0.01}) == []


def test_votes_that_cannot_be_read_are_counted_and_missing_from_agreement() -> None:
    items = [
        (Judged("a", "Ask.", "x", True), votes("yyy??")),
        (Judged("b", "Ask.", "x", False), votes("nn???")),
        (Judged("c", "Ask.", "x", True), None),
    ]
    found = certify(items)
    assert (value(found, "unreadable"), value(found, "unscored")) == (0.5, pytest.approx(2 / 3))
    assert value(found, "agreement") == 1.0 and found.n == 3


# What is required


def test_a_reason_names_metric_value_interval_and_bound() -> None:
    found = Certificate({"balanced_accuracy": Interval(0.52, 0.47, 0.57, 400), "length_bias": None}, 400)
    assert found.passes({"balanced_accuracy": 0.65}) == [
        "balanced_accuracy is 0.520 (95 % interval 0.470 to 0.570, n = 400), and must be at least 0.65"
    ]
    alone = Certificate({"position_bias": Interval(-0.3, None, None, 1)}, 1)
    assert alone.passes({"position_bias": 0.1}) == ["position_bias is -0.300 (n = 1), and must be between -0.1 and 0.1"]


def test_a_bound_holds_for_the_value_whatever_the_interval() -> None:
    share, gap = Interval(0.65, 0.4, 0.9, 8), Interval(-0.1, -0.5, 0.5, 8)
    found = Certificate({"balanced_accuracy": share, "length_bias": gap}, 8)
    assert found.passes({"balanced_accuracy": 0.65, "length_bias": 0.1}) == []
    assert names(found.passes({"balanced_accuracy": 0.66, "length_bias": 0.09})) == ["balanced_accuracy", "length_bias"]


def test_what_was_not_measured_does_not_pass_and_what_is_no_metric_is_refused() -> None:
    assert names(Certificate({}, 0).passes({"accuracy_bad": 0.1})) == ["accuracy_bad"]
    with pytest.raises(SettingsError, match="no 'positon_bias'; did you mean 'position_bias'"):
        Certificate({}, 0).passes({"positon_bias": 0.1})


def test_a_certificate_is_read_as_it_was_written() -> None:
    found = certify(voted(noisy), voted(fond_of_length))
    assert Certificate.from_row(found.row()) == found


# A judge that compares two


def better(a: str, b: str) -> str:
    return "A" if a.startswith("good") else "B"


def test_a_judge_that_is_right_in_both_orders_passes() -> None:
    found = certify_comparing(compared(better))
    assert [value(found, name) for name in ("accuracy", "position_bias", "length_bias", "ties")] == [1.0, 0.0, 0.0, 0.0]
    fair = certify_comparing(
        compared(lambda a, b: better(a, b) if random.Random(a + b).random() < 0.8 else better(b, a))
    )
    bounds = {"accuracy": 0.7, "position_bias": 0.12, "length_bias": 0.12, "agreement": -0.5, "ties": 0.1}
    assert fair.passes(bounds) == [] and value(fair, "accuracy") == pytest.approx(0.8, abs=0.05)


def test_a_judge_that_prefers_the_first_is_found_out_with_the_size_of_it() -> None:
    found = certify_comparing(compared(lambda a, b: "A"))
    assert (value(found, "position_bias"), value(found, "accuracy"), value(found, "length_bias")) == (1.0, 0.5, 0.0)
    assert value(found, "agreement") < 0, "each order contradicts the other"
    assert names(found.passes({"position_bias": 0.1, "agreement": 0.2, "accuracy": 0.65})) == [
        "position_bias",
        "agreement",
        "accuracy",
    ]
    half = certify_comparing(compared(lambda a, b: "A" if random.Random(a + b).random() < 0.4 else better(a, b)))
    bias = half.metrics["position_bias"]
    assert bias and bias.low is not None and bias.high is not None and bias.low < 0.4 < bias.high
    assert value(certify_comparing(compared(lambda a, b: "B")), "position_bias") == -1.0


def test_an_order_that_cannot_be_read_does_not_look_like_a_lean() -> None:
    right = [Compared(pair, ("a",), (None,) if at % 5 == 0 else ("b",)) for at, pair in enumerate(PAIRS)]
    found = certify_comparing(right)
    assert (value(found, "position_bias"), value(found, "accuracy"), value(found, "unreadable")) == (0.0, 1.0, 0.1)


@pytest.mark.parametrize(
    ("require", "said"),
    [
        ({"drift": -0.05}, "drift = -0.05: a bound is a share or a difference, from 0 to 1"),
        ({"balanced_accuracy": 65}, "balanced_accuracy = 65"),
        ({"agreement": -1.5}, "from -1 to 1"),
        ({"acuracy": 0.5}, "did you mean 'accuracy'"),
    ],
)
def test_a_bound_that_cannot_be_is_refused(require: dict[str, float], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        check_bounds(require)


def test_a_judge_that_prefers_the_longer_of_two_is_found_out_with_the_size_of_it() -> None:
    found = certify_comparing(compared(lambda a, b: "A" if len(a) > len(b) else "B"))
    assert (value(found, "length_bias"), value(found, "position_bias"), value(found, "agreement")) == (1.0, 0.0, 1.0)
    assert names(found.passes({"length_bias": 0.1, "position_bias": 0.1})) == ["length_bias"]


def test_ties_are_verdicts_and_count_a_half() -> None:
    found = certify_comparing(compared(lambda a, b: "tie"))
    assert (value(found, "ties"), value(found, "accuracy"), value(found, "position_bias")) == (1.0, 0.5, 0.0)
    half = [Compared(PAIRS[0], ("a", "tie"), ("b", None))]
    assert half[0].value == pytest.approx(0.875) and half[0].verdicts == ["good", "tie", "good"]
    assert value(certify_comparing(half), "unreadable") == 0.25


def test_several_votes_are_cast_in_each_order_as_samples_of_their_own() -> None:
    asked: list[tuple[str, int]] = []

    def reply(request: Request) -> str:
        asked.append((request.chat[0]["content"], request.sample_index))
        return "Final Response: A" if request.sample_index else "unsure"

    [found] = run([("p", compare_pair(PAIRS[0], Role("judge", Scripted(reply)), COMPARE, 3))])
    assert isinstance(found, Compared)
    assert found.good_first == found.bad_first == (None, "a", "a")
    assert len(set(asked)) == 6 and len({chat for chat, _ in asked}) == 2
    assert certify_comparing([Compared(PAIRS[0], (None,), (None,))]).metrics["accuracy"] is None


def test_two_judges_that_compare_are_held_beside_each_other() -> None:
    found = certify_comparing(compared(lambda a, b: "A"), compared(better))
    assert value(found, "drift") == -0.5 and names(found.passes({"drift": 0.1})) == ["drift"]


def test_pairs_are_a_good_and_a_bad_response_to_one_prompt() -> None:
    items = [
        Judged("a", "one", "good a", True),
        Judged("b", "two", "good b", True),
        Judged("c", "one", "bad c", False),
        Judged("d", "one", "bad d", False),
    ]
    assert pairs_of(items) == [Pair("a c", "one", "good a", "bad c")]


@pytest.mark.parametrize(("lean", "favour"), [(0.0, 0.0), (10.0, 1.0), (-10.0, -1.0)])
def test_star_gates_judge_is_certified_in_both_orders(lean: float, favour: float) -> None:
    """The concierge world's, a rule, on answers that know the user and answers that know another."""
    task = language.task_of(next(row["text"] for row in language.tasks() if row["kind"] != "general"))
    here, there = ({slot: list(values)[at] for slot, values in language.SLOTS.items()} for at in (0, 1))
    persona = f"I am Ada. {' '.join(f'I like {value} {slot}.' for slot, value in here.items())}"
    pair = Pair("p", task.text, language.answer_with(task, here), language.answer_with(task, there), persona)
    judge = Role("judge", Scripted(lambda request: experts.judge(request, position_bias=lean)))
    [found] = run([("p", compare_pair(pair, judge, experts.prompt("judge")))])
    assert isinstance(found, Compared)
    certificate = certify_comparing([found])
    assert value(certificate, "position_bias") == favour
    assert value(certificate, "accuracy") == (0.5 if lean else 1.0)
