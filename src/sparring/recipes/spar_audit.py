"""SPaR's refiner as a judge, certified before a round trains on what it says."""

from __future__ import annotations

from collections.abc import Sequence

from sparring.errors import CertificateError
from sparring.evals.certificate import Certificate, certify
from sparring.evals.instructed import Examined, Metrics, against, verdict
from sparring.evals.summary import best
from sparring.files import Row, read_json
from sparring.flow import Flow
from sparring.recipes.spar_settings import SPaR
from sparring.signals.judge import Judge, Judgement
from sparring.stages import Stages
from sparring.tasks.instructions import Judged

CERTIFICATE = "certificate.json"
"""In a round's folder: what `evals.certificate` found of its refiner."""
VOTES = "audit-judgements.jsonl"


def votes_on(
    stages: Stages, judge: Judge, judged: Sequence[Judged], name: str = "test-judgements.jsonl"
) -> dict[str, Judgement]:
    """Return what a judge says of labelled responses, by their ids."""

    def vote(one: Judged) -> Flow[Row]:
        judgement = yield from judge(one.prompt, one.response)
        return {"id": one.id, **judgement.row()}

    rows = stages.roll_out(name, [(one.id, vote(one)) for one in judged], lambda row: row)
    return {row["id"]: Judgement.from_row(row) for row in rows}


def audit(stages: Stages, t: int, judge: Judge, items: Sequence[Judged]) -> Metrics:
    """Keep the certificate of R_t as a judge of labelled responses, beside R_0 on the same; return how far it drifted.

    `stages` are the run's own. Nothing is measured without responses.
    """
    if not items:
        return {}
    here, first = stages.within(f"round-{t}"), stages.within("round-0")
    said = votes_on(here, judge, items, VOTES)
    then = {row["id"]: Judgement.from_row(row) for row in first.rows(VOTES)}
    found = certify([(one, said.get(one.id)) for one in items], [(one, then.get(one.id)) for one in items])
    here.folder.json(CERTIFICATE, found.row)
    return {f"judge_{name}": value for name, value in found.metrics.items() if name in ("drift", "drift_yes")}


def distrusted(stages: Stages, t: int, settings: SPaR) -> list[str]:
    """Return why R_t is not the judge that the settings require; nothing where they require nothing.

    Raises CertificateError in place of that, where the settings say that a run stops then.
    """
    require = settings.judge_require.given
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
