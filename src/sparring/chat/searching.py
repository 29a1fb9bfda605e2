"""SPaR: a person gives an instruction; the actor answers, the refiner votes, and refines what fails in a tree."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from sparring.chat.session import OneByOne
from sparring.engines.base import Request
from sparring.flow import Role
from sparring.report.browse.refining import node_of
from sparring.rollouts.refining import Refiner
from sparring.rollouts.tree import Node, Search, Tree, search
from sparring.signals.judge import Judgement, Panel
from sparring.types import user


class Searching(OneByOne):
    """Actor and refiner of one round, under the run's own search."""

    asks = ("Give an instruction", "Give another instruction")
    about = (
        "Give an instruction. The actor answers it, greedily as it was measured; the refiner votes on the answer, and "
        "where most say No it refines it, in a tree of refinements that are voted on in turn, until one passes or the "
        "tree is as large as the run's settings allow. /compare has m_0, the actor before the first round, answer the "
        "same, and the same refiner vote on that."
    )
    commands: ClassVar = {"/compare": "show m_0's answer to the same, judged by the same refiner", **OneByOne.commands}

    def prepare(self) -> None:
        settings, prompts, partner = self.partner.settings, self.partner.prompts, self.partner
        seed, self.trees = settings.seed, 0
        self.panel: Panel | None = None
        if not partner.refiner:
            return
        engine = self.engine(partner.refiner, "refiner")
        judge = Role("judge", engine, settings.judging.sampling(seed))
        self.panel = Panel(judge, prompts["judge"], settings.votes, settings.quorum, settings.stop_early)
        self.refiner = Refiner(Role("refiner", engine, settings.refining.sampling(seed)), prompts["refine"])
        self.how = replace(Search(**settings.search.model_dump()), accept_root=True)

    def part_of(self, request: Request) -> str:
        return "response" if request.role == "policy" else ""

    def said(self, text: str) -> None:
        self.asked = text
        response = self.respond(self.partner.model, self.partner.label)
        if self.panel is None:
            self.note("The refiner is not in this folder, so nobody votes or refines: talk to the run for that.")
        else:
            self.grow(self.panel, response)
        if self.compare:
            self.as_first()

    def respond(self, model: str, who: str) -> str:
        """Have an actor answer, in the sight of the person."""
        settings = self.partner.settings
        actor = Role("policy", self.engine(model, who), settings.attempts.sampling(settings.seed)).greedy()
        return self.carry(actor.say([user(self.asked)]))

    def grow(self, panel: Panel, response: str) -> None:
        """Search from a response, showing each node as it is made, and what came of it."""
        self.trees += 1
        name = str(self.trees)

        def watch(node: Node) -> None:
            self.tell({"event": "node", "tree": name, "node": node_of(node.row(), False).row()})
            if node.parent is None:
                self.vote(node.judgement)

        tree = self.carry(search(name, self.asked, response, self.refiner, panel, self.how, watch=watch))
        best = tree.leaf or max(tree.nodes, key=lambda node: (node.value, -node.id))
        if tree.leaf:
            self.tell({"event": "node", "tree": name, "node": node_of(best.row(), True).row()})
        self.note(outcome(tree, best))
        facts = {"accepted": tree.leaf is not None, "value": best.value, "depth": best.depth, "node": best.id}
        self.message(self.partner.label, "response", best.response, **facts)

    def as_first(self) -> None:
        """Have m_0 answer, and the refiner vote on that."""
        response = self.respond(self.partner.base, "m_0")
        if self.panel:
            self.vote(self.carry(self.panel(self.asked, response)))

    def vote(self, judgement: Judgement) -> None:
        """Tell what the votes on an answer came to."""
        facts = {"value": judgement.value, **counts(judgement)}
        self.message("judge", "verdict", judgement.critique or "", **facts)


def counts(judgement: Judgement) -> dict[str, int]:
    """Return the votes by what they say."""
    said = [vote.verdict for vote in judgement.votes]
    return {"yes": said.count(True), "no": said.count(False), "unreadable": said.count(None)}


def outcome(tree: Tree, best: Node) -> str:
    """Say in a sentence what a search came to."""
    dropped = ", ".join(f"{count} x {reason}" for reason, count in tree.dropped.items())
    made = f"{tree.generated} answers in all" + (f", of which dropped: {dropped}" if dropped else "")
    if tree.leaf is None:
        return f"None was accepted ({made}). The best by votes, {best.value:.0%} Yes, is:"
    if not best.depth:
        return "It passed as it stood:"
    return f"Accepted after {best.depth} refinement(s) in a row ({made}):"
