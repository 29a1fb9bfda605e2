"""Where a certificate's labelled responses come from, on files and on a world: never from an exam."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparring.cli.spar import SPaRSetup
from sparring.errors import SettingsError
from tests.test_cli_spar import MINE, SMALL, asked, files, no_waiting_for_the_disk, write

__all__ = ["files", "no_waiting_for_the_disk"]  # fixtures
REQUIRE = "judge_require.balanced_accuracy=0.65"


def test_a_world_brings_labelled_responses_that_no_exam_has() -> None:
    setup = SPaRSetup.read(None, [REQUIRE, "test_prompts=50", "test_judged=60", "audit_judged=80"])
    audit, exam = setup.exam.audit, setup.exam
    assert len(audit) > 70 and {one.label for one in audit} == {True, False}
    assert not {one.prompt for one in audit} & {one.prompt for one in (*exam.test, *exam.judged, *exam.levels)}
    assert setup.sizes()["round-0/audit-judgements.jsonl"] == len(audit)
    assert [row["id"] for row in setup.rows() if row["part"] == "audit"] == [one.id for one in audit]


def test_without_a_requirement_nothing_is_drawn() -> None:
    setup = SPaRSetup.read(None, ["test_prompts=50"])
    assert setup.exam.audit == [] and "round-0/audit-judgements.jsonl" not in setup.sizes()


def test_a_file_may_be_named_and_prompts_of_the_exam_are_left_out(tmp_path: Path) -> None:
    rows = [
        {"prompt": asked("test" if at < 2 else "other", at)["prompt"], "response": "red", "label": at % 2 == 0}
        for at in range(12)
    ]
    write(tmp_path / "audit.jsonl", rows)
    every = ("judged=", "test_prompts=60", REQUIRE, "audit=audit.jsonl")
    assert len(SPaRSetup.read(None, [*MINE, *SMALL, *every]).exam.audit) == 10
    drawn = SPaRSetup.read(None, [*MINE, *SMALL, *every, "audit_judged=6"]).exam.audit
    assert 4 <= len(drawn) <= 6


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["judged="], "there are 0 of 0: name a file of such, audit = FILE.jsonl"),
        (["audit=audit.jsonl"], "there are 4 of 4: name a file"),
        (["audit=none.jsonl"], "none.jsonl"),
        (["audit_judged=30"], "34 labelled responses are asked for; there are 8"),
    ],
)
def test_where_there_is_nothing_to_certify_a_judge_by_the_run_is_refused(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    rows = [{"prompt": f"Other {at}.", "response": "red", "label": True} for at in range(4)]
    write(tmp_path / "audit.jsonl", rows)
    with pytest.raises(SettingsError if "none" not in said else Exception, match=said):
        SPaRSetup.read(None, [*MINE, *SMALL, REQUIRE, *overrides])


def test_what_is_required_may_change_while_a_run_goes_on(tmp_path: Path) -> None:
    setup = SPaRSetup.read(None, [REQUIRE])
    assert {"judge_require", "judge_fails"} <= setup.free(tmp_path)
    assert setup.trial().settings.judge_require.given == {}
