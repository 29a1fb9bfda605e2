"""The driver and what is said through it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.engines.awaited import Awaited
from sparring.engines.base import Permit, Request, freely
from sparring.engines.scripted import Scripted
from sparring.errors import RolloutError
from sparring.flow import Flow, Role, Tally, quoted, render, run, together
from sparring.types import Chat, Completion, Failure, Sampling, assistant, system, user

WAIT = 20
"""Longest that a test waits for what must happen, in seconds."""


class Recording(Scripted):
    """A scripted engine that remembers its batches, each as the last words of its requests."""

    def __init__(self, reply=lambda request: "ok", batch_size: int = 1024):
        super().__init__(reply, batch_size=batch_size)
        self.batches: list[list[str]] = []

    def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
        self.batches.append([last(request) for request in requests])
        return super().generate(requests)


class Remote(Awaited):
    """A server, whose reply to "slow" waits until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.groups: list[list[int]] = []

    async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
        self.groups.append([request.sample_index for request in requests])
        while last(requests[0]) == "slow" and not self.released.is_set():
            await asyncio.sleep(0.001)
        return [Completion(f"re: {last(request)}") for request in requests]


def last(request: Request) -> str:
    return request.chat[-1]["content"]


def echo(request: Request) -> str:
    return f"re: {last(request)}"


def asking(role: Role, *words: str) -> Flow[list[str]]:
    replies: list[str] = []
    for word in words:
        replies.append((yield from role.say([user(word)])))
    return replies


def failing(reason: str, detail: str = "") -> Flow[str]:
    raise RolloutError(reason, detail)
    yield


# Order, and how many are open


def test_results_stand_in_the_order_of_the_flows_however_long_each_takes() -> None:
    role = Role("asker", Scripted(echo, batch_size=2))
    flows = [(str(n), asking(role, *[f"{n}.{turn}" for turn in range(5 - n % 3)])) for n in range(20)]
    expected = [[f"re: {n}.{turn}" for turn in range(5 - n % 3)] for n in range(20)]
    assert run(flows) == expected


def test_no_flows_give_no_results() -> None:
    assert run([]) == []


@pytest.mark.parametrize("open_at_once", [1, 7])
def test_flows_are_drawn_lazily_and_no_more_are_open_than_allowed(open_at_once: int) -> None:
    drawn, ended, most = 0, 0, 0

    def flows() -> Iterator[tuple[str, Flow[list[str]]]]:
        nonlocal drawn, most
        for n in range(50):
            drawn += 1
            most = max(most, drawn - ended)
            yield str(n), asking(Role("asker", Scripted(echo)), f"{n}a", f"{n}b")

    def count(done: int) -> None:
        nonlocal ended
        ended = done

    results = run(flows(), open_at_once=open_at_once, on_done=count)
    assert (len(results), ended, most) == (50, 50, open_at_once)


# Who waits for whom


def test_a_slow_reply_of_a_remote_engine_holds_back_its_own_flow_and_no_other() -> None:
    engine = Remote()
    quick = 30

    def release(done: int) -> None:
        if done == quick:  # every other flow has ended, both turns of it
            engine.released.set()

    role = Role("asker", engine)
    flows = [("slow", asking(role, "slow"))] + [(f"quick {n}", asking(role, "one", "two")) for n in range(quick)]
    results = run(flows, on_done=release)
    assert results == [["re: slow"]] + [["re: one", "re: two"]] * quick


def test_a_slow_remote_engine_does_not_hold_back_one_in_this_process() -> None:
    engine, here = Remote(), Role("local", Scripted(echo))

    def release(done: int) -> None:
        if done == 5:
            engine.released.set()

    flows = [("slow", asking(Role("far", engine), "slow"))] + [(str(n), asking(here, "a", "b")) for n in range(5)]
    assert run(flows, on_done=release)[0] == ["re: slow"]


def test_every_call_to_a_server_is_under_way_at_once() -> None:
    class Barred(Remote):
        under_way = 0

        async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
            self.under_way += 1
            while self.under_way < 300:
                await asyncio.sleep(0.001)
            return [Completion("ok") for _ in requests]

    asker = Role("asker", Barred())
    assert run((str(n), asking(asker, str(n))) for n in range(300)) == [["ok"]] * 300


def test_a_server_is_handed_no_more_calls_than_it_is_worth() -> None:
    class Small(Remote):
        batch_size = 4
        under_way = most = 0

        async def answer(self, requests: Sequence[Request], permit: Permit = freely) -> list[Completion | RolloutError]:
            self.under_way += len(requests)
            self.most = max(self.most, self.under_way)
            await asyncio.sleep(0.001)
            self.under_way -= len(requests)
            return [Completion("ok") for _ in requests]

    engine = Small()
    run((str(n), asking(Role("asker", engine), str(n), f"{n} again")) for n in range(40))
    assert engine.most == 4


def test_samples_of_one_chat_go_to_a_server_as_one_call() -> None:
    engine = Remote()
    role = Role("asker", engine, Sampling(temperature=1))
    flows = [(f"{word} {at}", role.say([user(word)], at)) for word in ("a", "b") for at in range(3)]
    assert run(flows) == ["re: a"] * 3 + ["re: b"] * 3
    assert engine.groups == [[0, 1, 2], [0, 1, 2]]


def test_calls_to_an_engine_in_this_process_are_gathered_into_full_batches() -> None:
    engine = Recording(batch_size=8)
    run([(str(n), asking(Role("asker", engine), "a", "b", "c")) for n in range(32)])
    assert [len(batch) for batch in engine.batches] == [8] * 12


def test_engines_in_this_process_take_turns_the_fullest_first() -> None:
    order: list[str] = []

    def noting(name: str) -> Scripted:
        return Scripted(lambda request: order.append(name) or "ok")

    few, many = Role("few", noting("few")), Role("many", noting("many"))
    run([("0", asking(few, "a")), *[(str(n), asking(many, "a")) for n in range(1, 4)]])
    assert order == ["many"] * 3 + ["few"]


def test_a_run_repeats_its_batches_in_the_same_order() -> None:
    def batches() -> list[list[list[str]]]:
        first, second = Recording(echo, batch_size=4), Recording(echo, batch_size=3)

        def flow(n: int) -> Flow[list[str]]:
            yield from asking(Role("first", first), *[f"{n}.{turn}" for turn in range(n % 4)])
            branches = yield from together([asking(Role("second", second), f"{n}/{at}") for at in range(n % 3)])
            return [str(branch) for branch in branches]

        run([(str(n), flow(n)) for n in range(25)], open_at_once=9)
        return [first.batches, second.batches]

    assert batches() == batches()


# Together


def test_flows_run_together_give_their_results_in_order() -> None:
    def branch(role: Role, n: int) -> Flow[str]:
        replies = yield from asking(role, *[str(n)] * (3 - n))
        return f"{n}: {len(replies)}"

    def parent() -> Flow[list[str | Failure]]:
        branches = yield from together(branch(Role("voter", Scripted(echo)), n) for n in range(3))
        return branches

    assert run([("p", parent())]) == [["0: 3", "1: 2", "2: 1"]]


def test_flows_run_together_share_batches() -> None:
    engine = Recording()

    def parent(n: int) -> Flow[int]:
        votes = yield from together(asking(Role("voter", engine), f"{n}.{at}") for at in range(3))
        return len(votes)

    assert run([(str(n), parent(n)) for n in range(4)]) == [3] * 4
    assert [len(batch) for batch in engine.batches] == [12]


def test_together_nests() -> None:
    def grow(depth: int) -> Flow[str]:
        if not depth:
            words = yield from Role("leaf", Scripted(echo)).say([user("leaf")])
            return words
        below = yield from together(grow(depth - 1) for _ in range(2))
        return f"({' '.join(str(b) for b in below)})"

    assert run([("tree", grow(2))]) == ["((re: leaf re: leaf) (re: leaf re: leaf))"]


def test_nothing_together_is_an_empty_list() -> None:
    def parent() -> Flow[int]:
        nothing = yield from together([])
        return len(nothing)

    assert run([("p", parent())]) == [0]


def test_a_child_that_fails_is_a_failure_with_its_place_and_its_parent_goes_on() -> None:
    def parent() -> Flow[tuple[list[object], list[str]]]:
        role = Role("voter", Scripted(echo))
        children = yield from together([asking(role, "a"), failing("unreadable", "hm"), asking(role, "c")])
        after = yield from asking(role, "after")
        return list(children), after

    [(children, after)] = run([("p", parent())])
    assert children == [["re: a"], Failure("p/1", "unreadable", "hm"), ["re: c"]]
    assert after == ["re: after"]


# What goes wrong


def test_a_flow_that_raises_rollout_error_is_a_failure_with_its_id_and_its_reason() -> None:
    role = Role("asker", Scripted(echo))
    flows = [("one", asking(role, "a")), ("two", failing("off format", "no ?")), ("three", asking(role, "c"))]
    assert run(flows) == [["re: a"], Failure("two", "off format", "no ?"), ["re: c"]]


def test_an_error_of_one_request_reaches_its_own_flow_which_may_mend_it() -> None:
    def reply(request: Request) -> str:
        if last(request) == "bad":
            raise RolloutError("context overflow", "9 > 8")
        return echo(request)

    role = Role("asker", Scripted(reply))

    def mending() -> Flow[str]:
        try:
            words = yield from role.say([user("bad")])
        except RolloutError:
            words = yield from role.say([user("good")])
        return words

    flows = [("plain", asking(role, "bad")), ("mending", mending()), ("fine", asking(role, "x"))]
    assert run(flows) == [Failure("plain", "context overflow", "9 > 8"), "re: good", ["re: x"]]


def test_any_other_exception_in_a_flow_is_a_bug_and_ends_the_run_at_once() -> None:
    engine = Recording()

    def buggy() -> Flow[str]:
        yield from Role("asker", engine).say([user("first")])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run([("bug", buggy()), *[(str(n), asking(Role("asker", engine), "a", "b")) for n in range(5)]])
    assert len(engine.batches) == 1


def test_any_other_exception_in_an_engine_ends_the_run() -> None:
    def reply(request: Request) -> str:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        run([("0", asking(Role("asker", Scripted(reply)), "a"))])


def test_an_engine_that_loses_a_reply_ends_the_run() -> None:
    class Losing(Scripted):
        def generate(self, requests: Sequence[Request]) -> list[Completion | RolloutError]:
            return super().generate(requests)[:-1]

    with pytest.raises(ValueError, match="shorter"):
        run([(str(n), asking(Role("asker", Losing(echo)), "a")) for n in range(3)])


def test_ctrl_c_ends_the_run_though_a_remote_reply_is_outstanding() -> None:
    engine = Remote()

    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    role = Role("asker", engine)
    try:
        with pytest.raises(KeyboardInterrupt):
            run([("slow", asking(role, "slow")), ("quick", asking(role, "a"))], on_done=interrupt)
    finally:
        engine.released.set()


def test_the_tally_counts_the_calls_and_tokens_of_each_role_failed_calls_too() -> None:
    def reply(request: Request) -> Completion:
        if last(request) == "bad":
            raise RolloutError("context overflow")
        return Completion("ok", prompt_tokens=10, completion_tokens=3)

    engine, tally = Scripted(reply), Tally()
    run(
        [("0", asking(Role("asker", engine), "a", "b", "bad", "never")), ("1", asking(Role("user", engine), "c"))],
        tally=tally,
    )
    assert tally.counts == {
        "asker": {"calls": 3, "prompt_tokens": 20, "completion_tokens": 6},
        "user": {"calls": 1, "prompt_tokens": 10, "completion_tokens": 3},
    }


# What a role says


def said(reply: str | Completion, **role: object) -> object:
    [result] = run([("one", asking(Role("judge", Scripted(lambda request: reply), **role), "well?"))])
    return result


def test_words_are_stripped() -> None:
    assert said("  yes \n") == ["yes"]


@pytest.mark.parametrize(
    ("reply", "reason", "detail"),
    [
        (Completion("I would rather not.", "refused"), "judge refused", "I would rather not."),
        (Completion("and so on and", "length"), "judge cut off at max_tokens", "max_tokens=7: and so on and"),
        (Completion(" \n"), "judge said nothing", ""),
    ],
)
def test_a_reply_refused_cut_off_or_empty_fails_its_rollout(reply: Completion, reason: str, detail: str) -> None:
    assert said(reply, sampling=Sampling(max_tokens=7)) == Failure("one", reason, detail)


def test_a_completion_is_returned_however_it_ended() -> None:
    cut = Completion("and so on and", "length")
    assert run([("0", Role("judge", Scripted(lambda request: cut)).complete([user("well?")]))]) == [cut]


def test_instructions_become_the_system_message_and_the_chat_stays_as_it_was() -> None:
    seen: list[Request] = []
    role = Role("asker", Scripted(lambda request: seen.append(request) or "ok"), Sampling(0.5), "Ask {name}.")
    chat: Chat = [user("hello"), assistant("hi"), user("well?")]
    run([("0", role.given(name="Ann").say(chat, 3)), ("1", Role("bare", role.engine).say(chat))])
    assert seen[0] == Request([system("Ask Ann."), *chat], Sampling(0.5), 3, "asker")
    assert seen[1] == Request(chat, role="bare")
    assert len(chat) == 3


# Prompts


@given(st.text(), st.text())
def test_braces_in_a_value_stay_as_they_are(first: str, second: str) -> None:
    assert render("{a}|{b}|{a}", a=first, b=second) == f"{first}|{second}|{first}"


@given(st.text())
def test_a_text_without_a_known_placeholder_is_rendered_as_it_is(text: str) -> None:
    assert render(text, _never="x") == text.replace("{_never}", "x")


def test_a_value_that_names_another_placeholder_is_not_filled_again() -> None:
    assert render("{persona} {task}", persona="{task}", task="{persona}") == "{task} {persona}"


@given(st.text())
def test_no_line_of_a_quoted_text_stands_without_its_mark(text: str) -> None:
    lines = quoted(text).split("\n")
    assert lines == [""] if not text else all(line.startswith("> ") for line in lines)
    assert [re.sub("^> ", "", line) for line in lines if line] == text.splitlines()
