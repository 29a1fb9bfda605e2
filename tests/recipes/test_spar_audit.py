"""SPaR's judge, certified before each round: one that is biased is refused, or the run rolls back to its best round."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sparring.engines.base import Request
from sparring.errors import CertificateError, SettingsError
from sparring.evals.instructed import Exam
from sparring.files import read_json
from sparring.recipes.spar_settings import Requirements, SPaR
from sparring.tasks.instructions import Judged
from sparring.types import Completion
from tests.recipes.test_spar import EXAM, Stage, no_waiting_for_the_disk, round_of, stage, value
from tests.toy_suite import SUITE, parts, plays, wanted

__all__ = ["no_waiting_for_the_disk", "stage"]  # fixtures

REQUIRED = {"balanced_accuracy": 0.65, "accuracy_bad": 0.65, "length_bias": 0.2}


def items(n: int = 40) -> list[Judged]:
    """Good and bad responses to prompts that no exam has, half of each longer than the other half."""
    asked = SUITE.draw("train", 1000 + n, 3)[1000:]
    made: list[Judged] = []
    for at, one in enumerate(asked):
        words = wanted(one.prompt)
        text = " ".join([*(words if at % 2 else [*words[:2], "none"]), *["so"] * (9 if at // 2 % 2 else 1)])
        made.append(Judged(f"audit-{at}", one.prompt, text, at % 2 == 1))
    return made


AUDITED = Exam(EXAM.test, EXAM.judged, audit=items())


def says(verdict: bool) -> str:
    return f"I looked.\nVerdict: {'Yes' if verdict else 'No'}"


def judging(request: Request) -> bool:
    return request.role == "judge"


def always_yes(engine: str, request: Request) -> str | Completion:
    return says(True) if judging(request) else plays(request, round_of(engine))


def prefers_the_longer(engine: str, request: Request) -> str | Completion:
    if judging(request):
        return says(len(parts(request.chat[0]["content"])[1]) > 30)
    return plays(request, round_of(engine))


def spoiled_by_round_1(engine: str, request: Request) -> str | Completion:
    """R_0 judges fairly, with one vote of five wrong; R_1 says Yes to everything."""
    return always_yes(engine, request) if "refiner" in engine else plays(request, round_of(engine))


def test_a_fair_noisy_judge_is_certified_before_every_round(stage: Stage) -> None:
    summary = stage.run(exam=AUDITED, judge_require=REQUIRED | {"agreement": 0.2, "yes_bias": 0.1, "drift": 0.05})
    assert len(summary["rounds"]) == 3 and "stopped" not in summary
    for t in (0, 1, 2):
        found = read_json(stage.folder / f"round-{t}" / "certificate.json")
        assert found["n"] == 40 and found["metrics"]["balanced_accuracy"]["value"] == 1.0
        assert len(stage.rows(f"round-{t}/audit-judgements.jsonl")) == 40
    assert [value(summary, t, "judge_drift") for t in (0, 1, 2)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("speak", "said"),
    [
        (always_yes, r"accuracy is 0\.500 \(95 % interval .*n = 40\), and must be at least 0\.65; accuracy_bad is 0"),
        (prefers_the_longer, r"length_bias is 1\.000 .*must be between -0\.2 and 0\.2"),
    ],
)
def test_a_biased_judge_is_refused_before_anything_is_trained_on_it(stage: Stage, speak: Any, said: str) -> None:
    stage.speak = speak
    with pytest.raises(CertificateError, match=said) as refused:
        stage.run(exam=AUDITED, judge_require=REQUIRED)
    assert refused.value.exit_status == 1
    assert "round-0/certificate.json" in str(refused.value) and "judge_fails" in str(refused.value)
    assert stage.trained == [] and not (stage.folder / "round-1").exists()
    assert not (stage.folder / "summary.json").exists()


def test_what_is_required_may_be_lowered_and_the_run_goes_on(stage: Stage) -> None:
    stage.speak = prefers_the_longer
    with pytest.raises(CertificateError):
        stage.run(rounds=1, exam=AUDITED, judge_require={"length_bias": 0.2})
    record = json.loads((stage.folder / "run.json").read_text())
    record["settings"]["judge_require"]["length_bias"] = 1.0  # what `free` in cli.spar lets a user change
    (stage.folder / "run.json").write_text(json.dumps(record))
    summary = stage.run(rounds=1, exam=AUDITED, judge_require={"length_bias": 1.0})
    assert len(summary["rounds"]) == 2
    stages = [row["stage"] for row in stage.rows("journal.jsonl")]
    assert stages.count("round-0/audit-judgements.jsonl") == 1, "no vote is cast twice"


def test_what_is_required_later_is_not_asked_of_rounds_that_have_begun(stage: Stage) -> None:
    stage.run(rounds=2, exam=AUDITED, judge_require={"length_bias": 0.9})
    (stage.folder / "summary.json").unlink()
    record = json.loads((stage.folder / "run.json").read_text())
    record["settings"]["judge_require"] = Requirements(agreement=0.99).model_dump()
    (stage.folder / "run.json").write_text(json.dumps(record))
    summary = stage.run(rounds=2, exam=AUDITED, judge_require={"agreement": 0.99}, judge_fails="stop")
    assert len(summary["rounds"]) == 3 and "stopped" not in summary


def test_a_judge_that_a_round_spoiled_stops_the_next(stage: Stage) -> None:
    stage.speak = spoiled_by_round_1
    with pytest.raises(CertificateError, match=r"round-1/certificate\.json"):
        stage.run(exam=AUDITED, judge_require=REQUIRED)
    assert {rows for _, rows, _ in stage.trained} == {"round-1/actor.jsonl", "round-1/refiner.jsonl"}


def test_or_the_run_ends_with_the_best_round_so_far_and_says_so(stage: Stage) -> None:
    stage.speak = spoiled_by_round_1
    summary = stage.run(exam=AUDITED, judge_require=REQUIRED, judge_fails="roll back")
    assert [one["round"] for one in summary["rounds"]] == [0, 1]
    stopped = summary["stopped"]
    assert (stopped["round"], stopped["best"]) == (1, 0)
    assert [reason.split()[0] for reason in stopped["reasons"]] == ["balanced_accuracy", "accuracy_bad"]
    assert summary["verdict"].startswith(
        "the refiner of round 1 is not the judge that judge_require asks for (balanced"
    )
    assert "), rolled back to round 0; round 1 did not improve" in summary["verdict"]
    assert value(summary, 1, "judge_drift") == -0.5 and value(summary, 1, "judge_drift_yes") == pytest.approx(0.5)
    assert summary == stage.run(exam=AUDITED, judge_require=REQUIRED, judge_fails="roll back"), "so it stays"


def test_a_round_that_improved_is_what_is_rolled_back_to(stage: Stage) -> None:
    stage.speak = lambda engine, request: (
        plays(request, 2) if request.role == "policy" and round_of(engine) else spoiled_by_round_1(engine, request)
    )
    summary = stage.run(exam=AUDITED, judge_require=REQUIRED, judge_fails="roll back")
    assert summary["stopped"]["best"] == 1 and "rolled back to round 1; round 1 improved" in summary["verdict"]


def test_a_judge_that_fails_before_the_first_round_leaves_the_models_as_they_were(stage: Stage) -> None:
    stage.speak = always_yes
    summary = stage.run(exam=AUDITED, judge_require=REQUIRED, judge_fails="roll back")
    assert len(summary["rounds"]) == 1 and stage.trained == []
    assert summary["verdict"].endswith("rolled back to round 0")


def test_the_judge_whose_verdicts_count_is_the_one_that_is_certified(stage: Stage) -> None:
    with pytest.raises(CertificateError, match="balanced_accuracy"):
        stage.run(exam=Exam(EXAM.test, audit=items(200)), judge="random", judge_require={"balanced_accuracy": 0.75})


def test_all_votes_are_cast_in_an_audit_whatever_stops_early(stage: Stage) -> None:
    stage.run(rounds=1, exam=AUDITED, judge_require=REQUIRED, stop_early=True)
    assert {len(row["votes"]) for row in stage.rows("round-0/audit-judgements.jsonl")} == {5}
    assert {len(row["votes"]) for row in stage.rows("round-0/test-judgements.jsonl")} == {3}


def test_where_nothing_is_required_the_votes_of_the_exam_make_the_certificate(stage: Stage) -> None:
    summary = stage.run(rounds=1)
    found = [read_json(stage.folder / f"round-{t}" / "certificate.json") for t in (0, 1)]
    assert [one["n"] for one in found] == [len(EXAM.judged)] * 2 and not list(stage.folder.rglob("audit-*"))
    metrics = summary["rounds"][1]["metrics"]
    assert found[1]["metrics"]["balanced_accuracy"] == metrics["judge_balanced_accuracy"]
    assert "judge_drift" not in metrics, "the exam's own judge_balanced_accuracy_over_round_0 says it"


def test_votes_that_stopped_early_make_no_certificate(stage: Stage) -> None:
    stage.run(rounds=1, stop_early=True)
    assert not list(stage.folder.rglob("certificate.json"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"judge_require": {"balanced": 0.6}}, "did you mean 'judge_require.balanced_accuracy'"),
        ({"judge_require": {"balanced_accuracy": 65}}, "judge_require.balanced_accuracy = 65"),
        ({"judge_require": {"position_bias": 0.1}}, "position_bias is of a judge that compares two responses"),
        ({"judge_require": REQUIRED, "judge": "checker"}, 'judge_require certifies a judge, and judge = "checker"'),
        ({"judge_fails": "go on"}, "judge_fails = 'go on'"),
        ({"audit_judged": 1}, "audit_judged = 1"),
    ],
)
def test_requirements_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        SPaR.load([changes])
