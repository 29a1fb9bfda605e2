"""A tree of refinements: its shape and size, what is dropped and why, what passes, and what is asked of whom."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparring
from sparring.engines.base import Request
from sparring.engines.scripted import Scripted
from sparring.errors import RolloutError, SettingsError
from sparring.flow import Call, Flow, Role, quoted, run
from sparring.rollouts.tree import BEGIN, END, Node, Refiner, Search, Tree, read_refined, search
from sparring.signals.judge import MOST_VOTES, Judgement, Panel, Vote, checked
from sparring.types import Completion, Failure, assistant, user

JUDGE = "{prompt}\n---\n{response}"
REFINE = "Mend it:\n{begin}\n{end}"
SHIPPED = Path(sparring.__file__).parent / "recipes/prompts/spar"
FAILED = Judgement.of([Vote("Root is bad.\nVerdict: No", False)] * 5, 3)

Words = Callable[[Request], str | Completion]


def wrapped(response: str) -> str:
    return f"I shall mend it.\n{BEGIN}\n{response}\n{END}"


def subject(request: Request) -> str:
    """Return the response that a judge or a refiner is asked about."""
    quotation = request.chat[0]["content"].partition("\n---\n")[2]
    return "\n".join(line.removeprefix("> ") for line in quotation.splitlines())


def lettered(request: Request) -> str:
    """Mend a response by a letter that says which of its refinements this is: "r" to "ra", "rb", "rc"."""
    return wrapped(subject(request) + "abcdefg"[request.sample_index])


def said(verdict: bool | None) -> str:
    return {True: "Fine.\nVerdict: Yes", False: "Bad.\nVerdict: No", None: "Hm."}[verdict]


def valued(values: Mapping[str, int], fresh: Mapping[str, int] | None = None) -> Words:
    """Return a judge that gives a response so many Yes of its votes, and none where it does not know it."""

    def vote(request: Request) -> str:
        known = values if request.sample_index < MOST_VOTES or fresh is None else fresh
        return said(request.sample_index % MOST_VOTES < known.get(subject(request), 0))

    return vote


class Grown:
    """A search on scripts: what came of it, and what was asked."""

    def __init__(
        self,
        how: Search = Search(),  # noqa: B008
        refine: Words = lettered,
        vote: Words = valued({}),  # noqa: B008
        root: str = "r",
        judgement: Judgement | None = FAILED,
        oracle: Callable[[str, str], bool] | None = None,
    ):
        self.asked: list[Request] = []
        self.batches: list[Counter[str]] = []
        grown = self

        class Noting(Scripted):
            def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
                grown.asked += requests
                grown.batches.append(Counter(request.role for request in requests))
                return super().generate(requests)

        engine = Noting(lambda request: (vote if request.role == "judge" else refine)(request))
        self.judge = Panel(Role("judge", engine), JUDGE)
        self.refiner = Refiner(Role("refiner", engine), REFINE)
        judging = checked(self.judge, oracle) if oracle else self.judge
        [self.result] = run([("one", search("one", "p", root, self.refiner, judging, how, judgement))])

    @property
    def tree(self) -> Tree:
        assert isinstance(self.result, Tree)
        assert self.result.generated == 1 + len(self.refinements)
        return self.result

    @property
    def refinements(self) -> list[Request]:
        return [request for request in self.asked if request.role == "refiner"]

    @property
    def judged(self) -> list[str]:
        """Responses in the order in which they were first judged."""
        return [*dict.fromkeys(subject(request) for request in self.asked if request.role == "judge")]


def responses(tree: Tree) -> list[str]:
    return [node.response for node in tree.nodes]


# Shapes


@pytest.mark.parametrize("order, refinements", [("bfs", 15), ("dfs", 21), ("best", 39)])
def test_trees_that_find_nothing_have_the_published_sizes(order: Any, refinements: int) -> None:
    tree = Grown(Search(order)).tree
    assert (tree.accepted, tree.leaf, tree.dropped) == (None, None, {})
    assert len(tree.nodes) - 1 == refinements
    assert max(node.depth for node in tree.nodes) == 3


def test_breadth_first_goes_on_from_the_best_of_a_level() -> None:
    grown = Grown(Search(branch=2, beam=1, depth=3), vote=valued({"rb": 2, "rba": 1}))
    assert responses(grown.tree) == ["r", "ra", "rb", "rba", "rbb", "rbaa", "rbab"]
    assert [node.parent for node in grown.tree.nodes] == [None, 0, 0, 2, 2, 3, 3]
    assert [node.depth for node in grown.tree.nodes] == [0, 1, 1, 2, 2, 3, 3]
    assert [node.value for node in grown.tree.nodes] == [0, 0, 0.4, 0.2, 0, 0, 0]


def test_depth_first_goes_into_the_best_child_and_then_into_its_siblings() -> None:
    grown = Grown(Search("dfs", branch=2, beam=2, depth=3), vote=valued({"rb": 2}))
    made = ["r", "ra", "rb", "rba", "rbb", "rbaa", "rbab", "rbba", "rbbb", "raa", "rab", "raaa", "raab", "raba", "rabb"]
    assert responses(grown.tree) == made


def test_best_first_goes_on_from_the_best_of_all_open_nodes() -> None:
    grown = Grown(Search("best", branch=2, beam=1, depth=3, nodes=8), vote=valued({"ra": 2, "rb": 1}))
    assert responses(grown.tree) == ["r", "ra", "rb", "raa", "rab", "rba", "rbb", "raaa", "raab"]


def test_equals_are_gone_on_from_in_the_order_of_their_making() -> None:
    assert responses(Grown(Search(branch=3, beam=2, depth=2)).tree)[4:] == ["raa", "rab", "rac", "rba", "rbb", "rbc"]


def test_one_branch_and_one_beam_are_iterative_refinement() -> None:
    for order in ("bfs", "dfs", "best"):
        assert responses(Grown(Search(order, branch=1, beam=1, depth=3)).tree) == ["r", "ra", "raa", "raaa"]


@pytest.mark.parametrize("order", ["bfs", "dfs", "best"])
@pytest.mark.parametrize("budget", [0, 1, 4, 14])
def test_no_more_refinements_are_asked_for_than_the_budget_allows(order: Any, budget: int) -> None:
    grown = Grown(Search(order, nodes=budget))
    assert len(grown.refinements) == budget == len(grown.tree.nodes) - 1


def test_what_was_dropped_counts_against_the_budget_too() -> None:
    grown = Grown(Search(nodes=5), refine=lambda r: wrapped("r") if r.sample_index else lettered(r))
    assert (len(grown.refinements), grown.tree.dropped) == (5, {"no-op": 3})


@pytest.mark.parametrize(
    "given, message",
    [
        ({"order": "random"}, "order = 'random': must be bfs, dfs or best"),
        ({"branch": 0}, "branch = 0: must be 1 or more"),
        ({"beam": 0}, "beam = 0: must be 1 or more"),
        ({"depth": 0}, "depth = 0: must be 1 or more"),
        ({"nodes": -1}, "nodes = -1: must be 0 or more"),
        ({"confirm": -1}, "confirm = -1: must be 0 or more"),
        ({"confirm": MOST_VOTES + 1}, "confirm = 1001: must be 1000 or fewer"),
        ({"threshold": -0.1}, r"threshold = -0.1: must be in \[0, 1\]"),
        ({"threshold": 1.1}, r"threshold = 1.1: must be in \[0, 1\]"),
        ({"threshold": float("nan")}, r"threshold = nan: must be in \[0, 1\]"),
    ],
)
def test_impossible_searches_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Search(**given)


# Acceptance


def test_the_best_node_above_the_threshold_is_accepted_the_first_of_equals() -> None:
    tree = Grown(vote=valued({"ra": 3, "rb": 5, "rc": 5})).tree
    assert tree.leaf and (tree.accepted, tree.leaf.response, tree.leaf.value) == (2, "rb", 1.0)
    assert responses(tree) == ["r", "ra", "rb", "rc"], "the whole group is judged, and nothing after it"


def test_a_value_at_the_threshold_does_not_pass() -> None:
    def half(request: Request) -> str:
        return said({0: True, 1: False, 2: True, 3: False, 4: None}[request.sample_index])

    assert Grown(Search(depth=1), vote=half).tree.accepted is None
    assert Grown(Search(depth=1, threshold=0.6), vote=valued({"ra": 3})).tree.accepted is None
    assert Grown(Search(depth=1, threshold=0.6), vote=valued({"ra": 4})).tree.accepted == 1
    assert Grown(Search(depth=1, threshold=1.0), vote=valued({"ra": 5})).tree.accepted is None
    assert Grown(Search(depth=1, threshold=0.0), vote=valued({"rb": 1})).tree.accepted == 2


@pytest.mark.parametrize("order, generated", [("bfs", 10), ("dfs", 7), ("best", 10)])
def test_an_acceptance_ends_the_search_wherever_it_is(order: Any, generated: int) -> None:
    tree = Grown(Search(order), vote=valued({"rab": 3})).tree
    assert tree.leaf and (tree.leaf.response, tree.leaf.depth, tree.generated) == ("rab", 2, generated)
    assert [node.response for node in tree.path(tree.leaf)] == ["r", "ra", "rab"]
    assert tree.path(tree.root) == [tree.root]


def test_a_root_that_passes_is_accepted_only_where_the_search_says_so() -> None:
    passing = Judgement.of([Vote("Fine.\nVerdict: Yes", True)] * 3, 3)
    accepted = Grown(Search(accept_root=True), judgement=passing)
    assert (accepted.tree.leaf, accepted.asked) == (accepted.tree.root, [])
    assert Grown(judgement=passing).tree.generated == 16
    assert Grown(Search(accept_root=True)).tree.generated == 16, "a failed root is refined all the same"


def test_a_root_that_is_not_judged_yet_is_judged_first() -> None:
    grown = Grown(judgement=None, vote=valued({"r": 2, "ra": 3}))
    assert (grown.tree.root.value, grown.judged) == (0.4, ["r", "ra", "rb", "rc"])


@pytest.mark.parametrize("known", [None, Judgement.of([Vote("Hm.", None, "unreadable")] * 2, 3)])
def test_a_root_that_could_not_be_judged_fails_with_its_reason(known: Judgement | None) -> None:
    result = Grown(judgement=known, vote=lambda _: "Hm.").result
    assert result == Failure("one", "root could not be judged", f"{2 if known else 5} x unreadable")


# Fresh votes


def test_an_acceptance_is_confirmed_by_fresh_votes_of_other_samples() -> None:
    grown = Grown(Search(confirm=3), vote=valued({"rb": 4}, fresh={"rb": 2}))
    tree = grown.tree
    assert tree.leaf and tree.confirmed
    assert (tree.leaf.value, tree.confirmed.value, len(tree.confirmed.votes)) == (0.8, 2 / 3, 3)
    fresh = [request.sample_index for request in grown.asked if request.sample_index >= MOST_VOTES]
    assert fresh == [MOST_VOTES, MOST_VOTES + 1, MOST_VOTES + 2]


def test_a_node_that_fresh_votes_do_not_bear_out_gives_way_to_the_next_and_keeps_all_its_votes() -> None:
    grown = Grown(Search(confirm=3), vote=valued({"ra": 3, "rb": 5}, fresh={"ra": 3, "rb": 1}))
    assert grown.tree.leaf and grown.tree.leaf.response == "ra"
    refused = grown.tree.nodes[2]
    assert (refused.response, len(refused.judgement.votes), refused.value) == ("rb", 8, 0.75)


def test_a_node_that_was_not_borne_out_is_refined_by_the_complaint() -> None:
    grown = Grown(Search(branch=1, beam=1, depth=2, confirm=1), vote=valued({"ra": 5}, fresh={}))
    assert (grown.tree.accepted, grown.tree.confirmed, responses(grown.tree)) == (None, None, ["r", "ra", "raa"])
    assert grown.refinements[-1].chat[1] == assistant("Bad.\nVerdict: No")


def test_a_tie_of_fresh_votes_or_none_that_can_be_read_bears_nothing_out() -> None:
    for verdicts in ([True, False], [None, None]):

        def vote(request: Request, verdicts: Sequence[bool | None] = verdicts) -> str:
            fresh = request.sample_index >= MOST_VOTES
            return said(verdicts[request.sample_index - MOST_VOTES] if fresh else True)

        tree = Grown(Search(depth=1, confirm=2), vote=vote).tree
        assert (tree.accepted, tree.confirmed) == (None, None)


# What is dropped


def test_what_changes_nothing_is_dropped_before_it_is_judged() -> None:
    # In the published code a child equal to the root was judged anew; noise made it the chosen of a pair with itself.
    grown = Grown(refine=lambda _: wrapped("  r\n"), vote=lambda _: said(True))
    assert (responses(grown.tree), grown.tree.dropped, grown.judged) == (["r"], {"no-op": 3}, [])


def test_a_return_to_the_root_is_no_refinement_of_a_child_either() -> None:
    grown = Grown(Search(branch=1, beam=1), refine=lambda r: wrapped("x") if subject(r) == "r" else wrapped("r"))
    assert (responses(grown.tree), grown.tree.dropped) == (["r", "x"], {"no-op": 1})


@pytest.mark.parametrize("order", ["bfs", "dfs", "best"])
def test_a_response_is_one_node_however_often_it_is_made(order: Any) -> None:
    # In the published code one distinct response filled a tree of 15 nodes.
    grown = Grown(Search(order), refine=lambda r: wrapped("x" if subject(r) == "r" else "y"))
    assert responses(grown.tree) == ["r", "x", "y"]
    assert grown.tree.dropped == {"duplicate": 4, "no-op": 3}
    assert Counter(subject(one) for one in grown.asked if one.role == "judge") == {"x": 5, "y": 5}


def test_of_twins_the_earlier_is_the_node_whoever_was_there_first() -> None:
    twins = Grown(Search(depth=1), refine=lambda r: f"Thought {r.sample_index}.\n{wrapped('x')}").tree
    assert twins.nodes[1].refinement.startswith("Thought 0.")


@pytest.mark.parametrize(
    "reply, reason",
    [
        (f"Mended:\n{BEGIN}\nra", "unreadable"),  # published: cut-off text was taken for the refinement
        (f"ra\n{END}", "unreadable"),
        ("ra", "unreadable"),
        (f"{wrapped('ra')}\n{END}", "unreadable"),
        (wrapped(wrapped("ra")), "unreadable"),
        (f"{END}\nra\n{BEGIN}", "unreadable"),
        (f"{BEGIN} ra {END}", "unreadable"),
        (wrapped(" \n"), "empty"),
        ("", "empty"),
        (Completion(wrapped("ra"), "length"), "cut off"),
        (Completion("I will not.", "refused"), "refused"),
        (RolloutError("context overflow"), "context overflow"),
    ],
)
def test_a_refinement_that_came_to_nothing_is_counted_with_its_reason(
    reply: str | Completion | RolloutError, reason: str
) -> None:
    def refine(request: Request) -> str | Completion:
        if request.sample_index:
            return lettered(request)
        if isinstance(reply, RolloutError):
            raise reply
        return reply

    tree = Grown(Search(depth=1), refine=refine, vote=valued({"rc": 3})).tree
    assert (responses(tree), tree.dropped, tree.accepted) == (["r", "rb", "rc"], {reason: 1}, 2)


def test_a_tree_in_which_nothing_can_be_read_is_a_tree() -> None:
    # In the published code the root has no parent to ask, the prompt is dropped, and tried again at every resume.
    tree = Grown(refine=lambda _: "Hm.").tree
    assert (tree.leaf, tree.dropped, tree.generated) == (None, {"unreadable": 3}, 4)


def test_a_child_whose_votes_cannot_be_read_is_dropped() -> None:
    # One readable vote of five was unanimous in the published code; here it is below the quorum.
    def vote(request: Request) -> str:
        return said(True if subject(request) == "rb" or request.sample_index == 0 else None)

    tree = Grown(vote=vote).tree
    assert (responses(tree), tree.dropped, tree.accepted) == (["r", "rb"], {"unscored": 2}, 1)


def test_a_judge_that_fails_drops_the_child_and_its_twin() -> None:
    class Failing(Panel):
        def __call__(self, prompt: str, response: str, first: int = 0, votes: int | None = None) -> Any:
            yield from ()
            raise RolloutError("judge is gone")

    role = Role("refiner", Scripted(lambda r: wrapped("x")))
    flow = search("one", "p", "r", Refiner(role, REFINE), Failing(role, JUDGE), Search(branch=2), FAILED)
    [tree] = run([("one", flow)])
    assert isinstance(tree, Tree) and tree.dropped == {"judge is gone": 1, "unscored": 1}


def test_a_value_without_a_critique_is_nothing_to_refine_by() -> None:
    assert Grown(judgement=Judgement((), 0.0)).result == Failure("one", "root could not be judged")


def test_values_of_zero_everywhere_are_no_trouble() -> None:
    # The published code divided by their sum.
    for order in ("bfs", "dfs", "best"):
        assert {node.value for node in Grown(Search(order)).tree.nodes} == {0.0}


def test_the_first_node_is_the_root_in_every_order() -> None:
    # In the published depth-first search the loop's variable hid the root, and a child was handed back as the tree.
    for order in ("bfs", "dfs", "best"):
        root = Grown(Search(order)).tree.root
        assert (root.id, root.parent, root.depth, root.response, root.refinement) == (0, None, 0, "r", "")


# What is asked, and when


def test_the_refiner_goes_on_in_the_chat_in_which_the_response_was_judged() -> None:
    grown = Grown(Search(branch=1, beam=1, depth=2), vote=valued({"ra": 2}))
    judged = user("> p\n---\n> ra")
    request = user(f"Mend it:\n{BEGIN}\n{END}")
    assert grown.refinements[1].chat == [judged, assistant("Bad.\nVerdict: No"), request]
    assert grown.refinements[1].chat == grown.refiner.chat(grown.judge, "p", "ra", "Bad.\nVerdict: No")


def test_all_that_is_independent_is_under_way_at_once() -> None:
    grown = Grown()
    assert grown.batches == [
        {"refiner": 3},
        {"judge": 15},
        {"refiner": 6},
        {"judge": 30},
        {"refiner": 6},
        {"judge": 30},
    ]
    trees = Grown(judgement=None, vote=valued({"ra": 5}))
    assert trees.batches == [{"judge": 5}, {"refiner": 3}, {"judge": 15}]


def backwards(flow: Flow[Any]) -> Any:
    """Run a flow whose last branch is always the fastest."""
    wanted = next(flow)
    while True:
        try:
            if isinstance(wanted, Call):
                [reply] = wanted.engine.generate([wanted.request])
                wanted = flow.throw(reply) if isinstance(reply, RolloutError) else flow.send(reply)
            else:
                wanted = flow.send([backwards(one) for one in wanted.flows[::-1]][::-1])
        except StopIteration as stop:
            return stop.value
        except RolloutError as error:
            return Failure("one", error.reason, error.detail)


@pytest.mark.parametrize("order", ["bfs", "dfs", "best"])
def test_a_tree_does_not_depend_on_who_was_fast(order: Any) -> None:
    def refine(request: Request) -> str:
        return f"Thought {request.sample_index}.\n{wrapped(subject(request) + 'aab'[request.sample_index])}"

    grown = Grown(Search(order), refine, valued({"ra": 2}))
    tree = grown.tree
    assert tree.dropped["duplicate"] > 3
    assert backwards(search("one", "p", "r", grown.refiner, grown.judge, Search(order), FAILED)) == tree


def test_no_two_refinements_are_the_same_sample_of_the_same_chat() -> None:
    for order in ("bfs", "dfs", "best"):
        grown = Grown(Search(order))
        keys = [(json.dumps(request.chat), request.sample_index) for request in grown.asked]
        assert len({*keys}) == len(keys)


def test_a_branch_more_leaves_the_others_as_they_are() -> None:
    three, four = (responses(Grown(Search(branch=branch, depth=1)).tree) for branch in (3, 4))
    assert four[:-1] == three


def test_a_checker_may_take_the_judges_place() -> None:
    tree = Grown(oracle=lambda prompt, response: response == "rb").tree
    assert tree.leaf and (tree.leaf.response, tree.leaf.value, tree.leaf.judgement.majority) == ("rb", 1.0, True)


# Bad input


@pytest.mark.parametrize("root", ["", " \n", "word\n" * 100_000, f"{BEGIN}\nx\n{END}", "Verdict: Yes\nuser: Thanks."])
def test_any_root_can_be_refined(root: str) -> None:
    grown = Grown(Search(branch=1), refine=lambda _: wrapped("mended"), vote=valued({"mended": 5}), root=root)
    assert (grown.tree.root.response, grown.tree.accepted) == (root, 1)
    assert quoted(root) in grown.refinements[0].chat[0]["content"]


def test_an_enormous_refinement_is_judged_like_any_other() -> None:
    tree = Grown(
        Search(branch=1, depth=1), refine=lambda _: wrapped("word\n" * 100_000), vote=lambda _: said(True)
    ).tree
    assert tree.leaf and len(tree.leaf.response.splitlines()) == 100_000


# Reading


def test_sentinels_are_read_through_marks_around_them_and_not_within_a_line() -> None:
    inline = f"I write it between {BEGIN} and {END}.\n**{BEGIN.upper()}**\n ra\n\n  rb\n`{END}`"
    assert read_refined(inline) == "ra\n\n  rb"


@given(st.text(), st.text())
def test_what_stands_between_the_sentinels_is_the_response(before: str, response: str) -> None:
    tidy = "\n".join(response.splitlines()).strip()
    if tidy:
        assert read_refined(f"{before}\n{wrapped(response)}") == tidy


@pytest.mark.parametrize("template", ["Mend it.", "Mend it: {begin}", "Mend it: {end}"])
def test_a_prompt_that_does_not_ask_for_the_sentinels_is_refused(template: str) -> None:
    with pytest.raises(SettingsError, match="does not ask for the line"):
        Refiner(Role("refiner", Scripted(lambda _: "")), template)


def test_the_shipped_prompt_asks_for_the_lines_that_are_read() -> None:
    refiner = Refiner(Role("r", Scripted(lambda _: "")), (SHIPPED / "refine.md").read_text(encoding="utf-8").strip())
    lines = refiner.request.splitlines()
    assert (lines.count(BEGIN), lines.count(END)) == (1, 1)
    assert read_refined(refiner.request) == "(the mended response)"


# Whatever happens


@st.composite
def searches(draw: st.DrawFn) -> Search:
    order = draw(st.sampled_from(["bfs", "dfs", "best"]))
    branch, beam, depth = (draw(st.integers(1, 3)) for _ in range(3))
    budget, confirm = draw(st.none() | st.integers(0, 12)), draw(st.integers(0, 3))
    threshold = draw(st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]))
    return Search(order, branch, beam, depth, budget, threshold, confirm, draw(st.booleans()))


@settings(deadline=None)
@given(searches(), st.integers(0, 999))
def test_a_tree_is_whole_and_its_row_again_whatever_its_models_do(how: Search, seed: int) -> None:
    def chance(request: Request) -> int:
        return crc32(repr((seed, request.sample_index, request.chat)).encode())

    def refine(request: Request) -> str | Completion:
        made = [wrapped("xyzuvw"[chance(request) % 6]), wrapped(subject(request)), lettered(request), "Hm.", ""]
        return [*made, Completion(wrapped("x"), "length")][chance(request) % 7 % 6]

    grown = Grown(how, refine, lambda request: said([True, False, None][chance(request) % 3]))
    tree = grown.tree
    assert Tree.from_row(json.loads(json.dumps(tree.row()))) == tree
    assert [node.id for node in tree.nodes] == [*range(len(tree.nodes))]
    assert len({*responses(tree)}) == len(tree.nodes)
    for node in tree.nodes[1:]:
        assert node.parent is not None and node.parent < node.id
        assert node.depth == tree.nodes[node.parent].depth + 1 <= how.depth
        assert read_refined(node.refinement) == node.response
    assert how.nodes is None or tree.generated <= how.nodes + 1
    if tree.leaf:
        assert tree.leaf.value > how.threshold
        assert tree.leaf is not tree.root or how.accept_root
        assert (tree.confirmed is not None and tree.confirmed.majority is True) == (how.confirm > 0)


def test_searching_needs_a_few_lines_and_nothing_else() -> None:
    engine = Scripted(lambda r: lettered(r) if r.role == "refiner" else valued({"rc": 4})(r))
    judge, refiner = Panel(Role("judge", engine), JUDGE), Refiner(Role("refiner", engine), REFINE)
    trees = run((str(at), search(str(at), f"prompt {at}", "r", refiner, judge)) for at in range(3))
    assert [tree.leaf.response for tree in trees if isinstance(tree, Tree) and tree.leaf] == ["rc"] * 3


def test_a_node_is_its_row_again() -> None:
    node = Node(1, 0, 1, "ra", FAILED, wrapped("ra"))
    assert Node.from_row(json.loads(json.dumps(node.row()))) == node
