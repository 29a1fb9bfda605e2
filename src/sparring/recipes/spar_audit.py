"""SPaR's refiner as a judge, certified before a round trains on what it says."""

from __future__ import annotations

from collections.abc import Sequence

from sparring.errors import CertificateError
from sparring.evals.certificate import Certificate, certify
from sparring.evals.instructed import Exam, Examined, Metrics, against, verdict
from sparring.evals.summary import best
from sparring.files import Row, read_json
from sparring.flow import Flow
from sparring.recipes.spar_settings import SPaR
from sparring.signals.judge import Judge, Judgement
from sparring.stages import Stages
from sparring.tasks.instructions import Judged

CERTIFICATE = "certificate.json"
"""In a round's folder: what `evals.certificate` found of its refiner."""
VOTES, TEST_VOTES = "audit-judgements.jsonl", "test-judgements.jsonl"


def votes_on(stages: Stages, judge: Judge, judged: Sequence[Judged], name: str = TEST_VOTES) -> dict[str, Judgement]:
    """Return what a judge says of labelled responses, by their ids."""

    def vote(one: Judged) -> Flow[Row]:
        judgement = yield from judge(one.prompt, one.response)
        return {"id": one.id, **judgement.row()}

    rows = stages.roll_out(name, [(one.id, vote(one)) for one in judged], lambda row: row)
    return {row["id"]: Judgement.from_row(row) for row in rows}


def certificate(stages: Stages, t: int, exam: Exam, of_exam: bool) -> Metrics:
    """Keep the certificate of R_t as a judge of labelled responses, beside R_0 on the same; return how far it drifted.

    `stages` are the run's own. The responses are the audit's. Without one they are the exam's, whose votes are there
    already and on which nothing is decided: `of_exam` says that they are all the votes of who judges in training. Else
    nothing is kept.
    """
    items, name = (exam.audit, VOTES) if exam.audit else (exam.judged if of_exam else [], TEST_VOTES)
    if not items:
        return {}
    rows = [stages.within(f"round-{round}").rows(name) for round in (t, 0)]
    said, then = ({row["id"]: Judgement.from_row(row) for row in those} for those in rows)
    found = certify([(one, said.get(one.id)) for one in items], [(one, then.get(one.id)) for one in items])
    stages.within(f"round-{t}").folder.json(CERTIFICATE, found.row)
    drifted = ("drift", "drift_yes") if exam.audit else ()
    return {f"judge_{name}": found.metrics[name] for name in drifted}


def distrusted(stages: Stages, to_come: int, t: int, settings: SPaR) -> list[str]:
    """Return why R_t, who judges in round `to_come`, is not the judge that the settings require.

    Nothing where they require nothing, or that round has begun: it was good enough then, whatever is required now.

    Raises CertificateError in place of that, where the settings say that a run stops then.
    """
    require = {} if stages.within(f"round-{to_come}").folder.path.exists() else settings.judge_require.given
    kept = stages.within(f"round-{t}").folder.path / CERTIFICATE
    why = Certificate.from_row(read_json(kept)).passes(require) if require else []
    if why and settings.judge_fails == "stop":
        raise CertificateError(
            f"the refiner is not the judge that judge_require asks for, and a round would train on what it says: "
            f"{'; '.join(why)}. The whole certificate is {kept}. Begin with a better refiner, or teach it "
            f"(bootstrap.judgements), in a new run; or lower what is required. With judge_fails = 'roll back' the run "
            "ends with the best round so far instead"
        )
    return why


def ended(found: Sequence[Examined], distrust: Sequence[str]) -> tuple[str, Row]:
    """Return the sentence with which a run ends, and what its summary says of a judge that ended it before its time."""
    if not distrust:
        return verdict(found), {}
    last, back = len(found) - 1, best(found, against)
    why = f"the refiner of round {last} is not the judge that judge_require asks for ({'; '.join(distrust)})"
    so_far = f"; {verdict(found)}" if last else ""
    stopped = {"round": last, "best": back, "reasons": list(distrust)}
    return f"{why}, rolled back to round {back}{so_far}", {"stopped": stopped}
