"""The ledger: keys that no refactoring may change, answers that are found again, and files that are refused."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sparring.cli.ledger import ledger_app
from sparring.errors import LedgerError, SparringError
from sparring.ledger import Amount, Ledger, Settled, Wanted, canonical, home
from sparring.ledger.schema import APPLICATION, MIGRATIONS, opened
from sparring.types import Completion, LogProb

ASKED = {"messages": [{"role": "user", "content": "What do you like?"}], "temperature": 1.0, "top_p": 0.9, "seed": 7}
CALL = Wanted("completion", "http://h/v1#m", ASKED, max_tokens=100, role="oracle")
SCORE = Wanted("log_prob", "http://h/v1#m", {"messages": ASKED["messages"], "target": "Tea."}, role="scorer")
TEA = Completion("Tea.", "stop", 12, 3)
ROOM = Amount(0.5, 400)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def sent(ledger: Ledger, call: Wanted = CALL, run: str = "run", session: str = "s1", room: Amount = ROOM) -> int:
    return ledger.begin([call], run, session, [room]).result()[0]


def answered(ledger: Ledger, reply: Completion | LogProb | None, call: Wanted = CALL, **said: Any) -> None:
    ledger.end([(sent(ledger, call), Settled(reply, **said))]).result()


def found(ledger: Ledger, call: Wanted = CALL) -> Completion | LogProb | None:
    return ledger.find([call])[0]


# Keys


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (Wanted("completion", "m", {}), "49b9783ff54c82e04f256ccbe7971a7a1c189777da8610040d5201099e48a0bb"),
        (
            Wanted("log_prob", "m", {"messages": [{"role": "user", "content": "a"}], "target": "b"}),
            "ce789733387920cd37f21ccb77d205bfc7266e3b361fb573ec46e0d6ad57f315",
        ),
        (
            Wanted(
                "completion",
                "http://h/v1#m",
                {
                    "messages": [{"role": "user", "content": "Grüße 😀 \0 \ud800"}],
                    "temperature": 0.7,
                    "top_p": 1.0,
                    "seed": 0,
                },
                3,
            ),
            "e4f42ff2d632ced51f80c6aaed791c1ee1d7cc226e67b4ec37c4d06d5fe6cb25",
        ),
    ],
)
def test_a_key_never_changes_or_all_that_was_paid_for_is_lost(call: Wanted, key: str) -> None:
    assert call.key == key


def test_what_is_asked_and_the_sample_index_make_the_key_and_nothing_else_does() -> None:
    same = [
        replace(CALL, role="judge"),
        replace(CALL, max_tokens=5),
        replace(CALL, asked=dict(reversed(ASKED.items()))),
    ]
    assert {call.key for call in same} == {CALL.key}
    other = [
        replace(CALL, sample_index=1),
        replace(CALL, model="n"),
        replace(CALL, kind="log_prob"),
        replace(CALL, asked=ASKED | {"seed": 8}),
        replace(CALL, asked=ASKED | {"messages": []}),
    ]
    assert len({call.key for call in [CALL, *other]}) == len(other) + 1


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def respelled(value: Any) -> Any:
    """The same value by other means: keys turned round, whole numbers as floats, lists as tuples."""
    match value:
        case dict():
            return {key: respelled(value[key]) for key in reversed(value)}
        case list():
            return tuple(respelled(inner) for inner in value)
        case int() if not isinstance(value, bool) and abs(value) < 2**53:
            return float(value) if value else -0.0
        case _:
            return value


@given(values)
def test_canonical_json_is_one_text_a_value_and_reads_as_that_value(value: Any) -> None:
    text = canonical(value)
    assert text == canonical(respelled(value)) == canonical(json.loads(text))
    assert json.loads(text) == value


@given(asked=st.dictionaries(st.text(max_size=3), values, max_size=3), model=st.text(), index=st.integers(0, 9))
def test_the_text_that_is_digested_is_canonical_json_of_the_whole(
    asked: Mapping[str, Any], model: str, index: int
) -> None:
    import hashlib

    whole = canonical({"kind": "completion", "model": model, "asked": asked, "sample_index": index})
    assert Wanted("completion", model, asked, index).key == hashlib.sha256(whole.encode()).hexdigest()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_key(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        _ = Wanted("completion", "m", {"temperature": number}).key


# Answers


def test_an_answer_is_found_as_soon_as_it_is_on_file_and_not_before(ledger: Ledger) -> None:
    row = sent(ledger)
    assert found(ledger) is None
    ledger.end([(row, Settled(TEA, usd=0.1))]).result()
    assert found(ledger) == TEA
    assert ledger.find([replace(CALL, sample_index=1), CALL, CALL]) == [None, TEA, TEA]
    assert ledger.find([]) == []


def test_answers_outlast_the_lock_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sparring.ledger.schema.BUSY_SECONDS", 0.1)
    with Ledger(tmp_path / "locked.sqlite") as ledger:
        row = sent(ledger)
        other = sqlite3.connect(ledger.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ending = ledger.end([(row, Settled(TEA))])
        while "1 answers wait" not in caplog.text and not ending.done():
            time.sleep(0.01)
        other.execute("ROLLBACK")
        other.close()
        ending.result(10)
        assert found(ledger) == TEA


def test_a_log_prob_is_always_an_answer(ledger: Ledger) -> None:
    answered(ledger, LogProb(-12.345678901234567, 9), SCORE)
    assert found(ledger, SCORE) == LogProb(-12.345678901234567, 9)


@pytest.mark.parametrize(
    "reply",
    [Completion("Te", "length", 12, 100), Completion("No.", "refused"), Completion(" \n"), Completion(""), None],
    ids=["cut off", "refused", "blank", "empty", "failed"],
)
def test_what_is_no_answer_is_kept_and_hides_no_answer(ledger: Ledger, reply: Completion | None) -> None:
    answered(ledger, reply)
    assert found(ledger) is None
    answered(ledger, TEA)
    answered(ledger, reply)
    assert found(ledger) == TEA
    assert sum(1 for _ in ledger.export()) == 3


def test_an_answer_stays_valid_when_the_limit_grows_and_not_when_it_was_longer(ledger: Ledger) -> None:
    answered(ledger, TEA)
    assert found(ledger, replace(CALL, max_tokens=500)) == TEA
    assert found(ledger, replace(CALL, max_tokens=3)) == TEA
    assert found(ledger, replace(CALL, max_tokens=2)) is None
    assert found(ledger, replace(CALL, max_tokens=None)) == TEA


def test_of_an_answer_of_unknown_length_the_limit_under_which_it_was_given_counts(ledger: Ledger) -> None:
    answered(ledger, Completion("Tea."))
    assert found(ledger) == Completion("Tea.")
    assert found(ledger, replace(CALL, max_tokens=99)) is None


def test_the_latest_answer_wins(ledger: Ledger) -> None:
    answered(ledger, TEA)
    answered(ledger, Completion("Coffee.", "stop", 12, 3))
    assert found(ledger) == Completion("Coffee.", "stop", 12, 3)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger(tmp_path_factory.mktemp("shared") / "ledger.sqlite") as ledger:
        yield ledger


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_categories=[])).map(lambda text: f"{text}."))
def test_whatever_a_model_says_comes_back_as_it_was(shared: Ledger, text: str) -> None:
    # Two halves of a pair side by side spell a character, in JSON as on the wire.
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    call = Wanted("completion", text, {"messages": [{"role": "user", "content": text}]}, role=text)
    answered(shared, Completion(text), call, reason=text)
    assert found(shared, call) == Completion(whole)


def test_what_was_asked_comes_back_as_it_was(ledger: Ledger) -> None:
    asked = {"messages": [{"role": "user", "content": "a NUL \0, half a pair \ud83d, a line\u2028"}]}
    sent(ledger, replace(CALL, asked=asked))
    assert [row["asked"] for row in ledger.export()] == [asked]


def test_a_count_of_tokens_that_cannot_be_is_unknown(ledger: Ledger) -> None:
    answered(ledger, Completion("Tea.", "stop", -1, 10**30))
    assert found(ledger) == Completion("Tea.")


def test_many_calls_go_on_file_and_are_found_at_once(ledger: Ledger) -> None:
    calls = [replace(CALL, sample_index=at) for at in range(2_000)]
    rows = ledger.begin(calls, "run", "s1", [ROOM] * len(calls)).result()
    assert len(set(rows)) == len(calls)
    ledger.end([(row, Settled(Completion(str(at)))) for at, row in enumerate(rows)]).result()
    assert ledger.find(calls) == [Completion(str(at)) for at in range(2_000)]


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    def work(thread: int) -> None:
        for at in range(20):
            call = replace(CALL, model=f"{thread}", sample_index=at)
            answered(ledger, Completion(f"{thread} {at}"), call)
            assert found(ledger, call) == Completion(f"{thread} {at}")

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(1 for _ in ledger.export()) == 80


def test_what_nobody_waits_for_any_more_is_written_all_the_same(ledger: Ledger) -> None:
    noted = ledger.begin([CALL], "run", "s1", [ROOM])
    assert not noted.cancel()
    assert len(noted.result()) == 1


def test_closing_writes_what_waits_and_a_closed_ledger_says_so(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    noted = [ledger.begin([replace(CALL, sample_index=at)], "run", "s1", [ROOM]) for at in range(50)]
    ledger.close()
    ledger.close()
    assert all(note.done() for note in noted)
    with pytest.raises(LedgerError, match="was closed"):
        ledger.begin([CALL], "run", "s1", [ROOM])
    with Ledger(tmp_path / "ledger.sqlite") as again:
        assert sum(1 for _ in again.export()) == 50


# Kills, and other processes

WORK = """
import os, signal, sys
from sparring.ledger import *
from sparring.types import Completion
ledger = Ledger(sys.argv[1])
call = lambda at: Wanted("completion", "m", {"of": sys.argv[2]}, at, 100)
"""


def python(script: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WORK + script, *map(str, args)], text=True, stderr=subprocess.PIPE)


KILLED = """
rows = ledger.begin([call(0), call(1)], "run", "s1", [Amount(1.0, 400)] * 2).result()
ledger.end([(rows[0], Settled(Completion("kept"), usd=0.25))]).result()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_loses_nothing_that_was_on_file_and_tells_what_may_have_been_billed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    killed = python(KILLED, path, "k")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    with Ledger(path) as ledger:
        call = Wanted("completion", "m", {"of": "k"})
        assert ledger.find([call, replace(call, sample_index=1)]) == [Completion("kept"), None]
        [total] = ledger.totals("run")
        assert (total.calls, total.usd, total.lost) == (1, 0.25, 1)
        assert total.spent == Amount(1.25, 800, 2)
        assert ledger.mark_lost("run", "s2") == 1
        assert ledger.mark_lost("run", "s3") == 0
        assert [row["reason"] for row in ledger.export()] == ["", "interrupted"]
        assert ledger.totals("run") == [total]


def test_two_processes_write_one_ledger_that_neither_had_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.sqlite"
    script = """
for at in range(50):
    [row] = ledger.begin([call(at)], sys.argv[2], "s1", [Amount(None, 400)]).result()
    ledger.end([(row, Settled(Completion(f"{sys.argv[2]} {at}")))]).result()
"""
    both = [python(script, path, name) for name in "ab"]
    assert [work.communicate()[1] for work in both] == ["", ""]
    with Ledger(path) as ledger:
        for name in "ab":
            calls = [Wanted("completion", "m", {"of": name}, at) for at in range(50)]
            assert ledger.find(calls) == [Completion(f"{name} {at}") for at in range(50)]


def test_many_open_a_new_ledger_at_one_moment(tmp_path: Path) -> None:
    paths = [tmp_path / str(at) / "ledger.sqlite" for at in range(20)]
    together = threading.Barrier(4)

    def open_all(_: int) -> None:
        for path in paths:
            together.wait(60)
            opened(path).close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(open_all, range(4)))


# Books


def test_totals_are_by_role_and_session_and_know_what_is_unknown(ledger: Ledger) -> None:
    answered(ledger, TEA, usd=0.25)
    answered(ledger, Completion("Te", "length", 12, 100), usd=0.5)
    answered(ledger, None, reason="timeout", may_be_billed=True)
    answered(ledger, None, reason="status 500")
    answered(ledger, LogProb(-1.0, 2), SCORE, usd=None)
    sent(ledger, replace(CALL, role="judge"), session="s2", room=Amount(None, 70))
    sent(ledger, run="another")
    one, two, three = ledger.totals("run")
    assert (one.role, one.session, one.calls, one.prompt_tokens, one.completion_tokens) == ("oracle", "s1", 2, 24, 103)
    assert (one.usd, one.lost, one.spent) == (0.75, 1, Amount(1.25, 527, 3))
    assert (two.role, two.usd, two.spent) == ("scorer", None, Amount(0.5, 400, 1))
    assert (three.session, three.calls, three.usd, three.lost) == ("s2", 0, 0.0, 1)
    assert three.spent == Amount(None, 70, 1)


def test_a_call_that_costs_nothing_is_on_file_and_counts_for_nothing(ledger: Ledger) -> None:
    row = sent(ledger, room=Amount(0.0, 0, 0))
    [total] = ledger.totals("run")
    assert (total.lost, total.spent) == (0, Amount(0.0, 0, 0))
    ledger.end([(row, Settled(TEA, usd=0.0))]).result()
    [total] = ledger.totals("run")
    assert (total.calls, total.usd, total.spent) == (1, 0.0, Amount(0.0, 0, 0))


def test_an_answer_that_comes_after_its_call_was_given_up_counts(ledger: Ledger) -> None:
    row = sent(ledger)
    ledger.mark_lost("run", "s2")
    ledger.end([(row, Settled(TEA, usd=0.25))]).result()
    assert found(ledger) == TEA
    assert ledger.totals("run")[0].lost == 0


def test_statistics_are_by_model_and_role(ledger: Ledger) -> None:
    answered(ledger, TEA, usd=0.25)
    answered(ledger, Completion(" "), usd=0.25)
    answered(ledger, LogProb(-1.0, 2), SCORE)
    sent(ledger)
    counts = (
        "model",
        "role",
        "sent",
        "answered",
        "usable",
        "prompt_tokens",
        "completion_tokens",
        "usd",
        "may_be_billed",
    )
    oracle, scorer = ({name: row[name] for name in counts} for row in ledger.stats())
    assert [*oracle.values()] == ["http://h/v1#m", "oracle", 3, 2, 1, 12, 3, 0.5, 1]
    assert [*scorer.values()] == ["http://h/v1#m", "scorer", 1, 1, 1, 0, 0, None, 0]
    assert ledger.size() > 0


def test_export_gives_what_was_asked_and_answered(ledger: Ledger) -> None:
    answered(ledger, TEA, usd=0.25)
    answered(ledger, LogProb(-1.5, 2), SCORE)
    sent(ledger)
    first, second, third = ledger.export()
    assert first["asked"] == {**ASKED, "temperature": 1} and first["reply"] == {"text": "Tea."}
    assert (first["key"], first["role"], first["run"], first["usd"]) == (CALL.key, "oracle", "run", 0.25)
    assert second["reply"] == {"total": -1.5, "tokens": 2}
    assert (third["ended"], third["reply"], third["may_be_billed"]) == (None, None, True)


def test_gc_removes_old_rows_that_are_no_answers_and_no_others(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    month_ago = time.time() - 31 * 86400
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: month_ago)
        answered(ledger, TEA)
        answered(ledger, LogProb(-1.0, 2), SCORE)
        for reply in (Completion("Te", "length"), Completion("No.", "refused"), Completion(" "), None):
            answered(ledger, reply)
        sent(ledger)
    answered(ledger, None)
    size = ledger.gc(dry_run=True)
    assert size[0] == 5 and size[1] > 5 * 300
    assert sum(1 for _ in ledger.export()) == 8
    assert ledger.gc() == size
    assert [row["reply"] for row in ledger.export()] == [{"text": "Tea."}, {"total": -1.0, "tokens": 2}, None]
    assert ledger.find([CALL, SCORE]) == [TEA, LogProb(-1.0, 2)]
    assert ledger.gc() == (0, 0)
    answered(ledger, TEA)  # it is still written to


# Files


def test_the_ledger_lies_in_the_users_cache_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_HOME", "/somewhere")
    assert home() == Path("/somewhere")
    monkeypatch.delenv("SPARRING_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert home() == Path("/cache/sparring")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home() == Path.home() / ".cache" / "sparring"


def refused(path: Path, *said: str) -> None:
    """The file is refused with one message that names it, and stays as it is."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LedgerError) as caught, Ledger(path):
        pass
    assert str(path) in str(caught.value)
    assert all(part in str(caught.value) for part in said), str(caught.value)
    assert before is None or path.read_bytes() == before


def test_a_file_that_is_no_ledger_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_text("my notes")
    refused(path, "is not a ledger", "my notes", "SPARRING_HOME")
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    refused(path, "is damaged", "recover")
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE calls (id INTEGER)")
    other.close()
    refused(path, "database of something else")


def test_a_ledger_of_a_newer_sparring_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 7")
    newer.close()
    refused(path, "newer Sparring", f"schema 7, this one knows {len(MIGRATIONS)}", "upgrade")


def test_a_ledger_that_lost_its_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as odd:
        odd.execute("ALTER TABLE results DROP COLUMN usd")
    odd.close()
    refused(path, "is damaged", "results lacks 'usd'")


def test_a_folder_or_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "SPARRING_HOME")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file" / "ledger.sqlite", "SPARRING_HOME")


READ_ONLY = """
import os, sys
from sparring.errors import LedgerError
from sparring.ledger import Ledger
if os.geteuid() == 0:
    os.setuid(65534)
try:
    Ledger(sys.argv[1])
except LedgerError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("file_mode, folder_mode", [(0o444, 0o777), (0o444, 0o555), (0o000, 0o777)])
def test_a_ledger_that_may_not_be_written_is_refused_at_the_door(file_mode: int, folder_mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        Ledger(path).close()
        path.chmod(file_mode)
        Path(folder).chmod(folder_mode)
        done = subprocess.run([sys.executable, "-c", READ_ONLY, str(path)], capture_output=True, text=True, check=False)
        Path(folder).chmod(0o700)
    assert done.returncode == 1, done.stderr
    assert str(path) in done.stderr and "SPARRING_HOME" in done.stderr and "Traceback" not in done.stderr


def test_a_full_disk_reaches_who_waits_and_what_was_kept_stays(ledger: Ledger) -> None:
    answered(ledger, TEA)
    ledger._writer.connection.execute("PRAGMA max_page_count = 1")
    large = replace(CALL, asked={"messages": "x" * 100_000})
    with pytest.raises(SparringError, match=r"the disk is full: .*ledger\.sqlite"):
        ledger.begin([large], "run", "s1", [ROOM]).result()
    ledger._writer.connection.execute("PRAGMA max_page_count = 1000000")
    sent(ledger, large)
    assert found(ledger) == TEA


def test_damage_that_is_met_later_is_told_and_not_raised_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        answered(ledger, TEA)
    with sqlite3.connect(path) as odd:
        odd.execute("UPDATE results SET reply = '{torn'")
    odd.close()
    with Ledger(path) as ledger, pytest.raises(LedgerError, match=r"ledger\.sqlite is damaged"):
        found(ledger)


# What schema 1 was. A file of it must be readable for ever.
SCHEMA_1 = f"""
CREATE TABLE calls (id INTEGER PRIMARY KEY, key TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL,
    asked TEXT NOT NULL, sample_index INTEGER NOT NULL, max_tokens INTEGER, role TEXT NOT NULL, run TEXT NOT NULL,
    session TEXT NOT NULL, sent REAL NOT NULL, reserved_usd REAL, reserved_tokens INTEGER NOT NULL);
CREATE TABLE results (id INTEGER PRIMARY KEY, ended REAL NOT NULL, reply TEXT, finish TEXT, prompt_tokens INTEGER,
    completion_tokens INTEGER, usd REAL, reason TEXT NOT NULL);
CREATE INDEX calls_key ON calls (key);
INSERT INTO calls VALUES (1, '{CALL.key}', 'completion', 'http://h/v1#m', '{{}}', 0, 100, 'oracle', 'run', 's1',
    1700000000.0, 0.5, 400);
INSERT INTO calls SELECT 2, key, kind, model, asked, 1, max_tokens, role, run, session, sent, 0.5, 400 FROM calls;
INSERT INTO results VALUES (1, 1700000001.0, '{{"text":"Tea."}}', 'stop', 12, 3, 0.25, '');
INSERT INTO results VALUES (2, 1700000001.0, NULL, NULL, NULL, NULL, NULL, 'timeout');
PRAGMA user_version = 1;
PRAGMA application_id = {APPLICATION};
"""


def test_a_ledger_of_schema_1_is_brought_forward_with_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    old = sqlite3.connect(path)
    old.executescript(SCHEMA_1)
    old.close()
    for _ in range(2):
        with Ledger(path) as ledger:
            assert found(ledger) == TEA
            [total] = ledger.totals("run")
            assert (total.calls, total.lost, total.spent) == (1, 1, Amount(0.75, 415, 2))
    answer = sqlite3.connect(path)
    assert answer.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    answer.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        answered(ledger, TEA)
    broken = ("ALTER TABLE calls ADD COLUMN half INTEGER", "THIS IS NO SQL")
    with monkeypatch.context() as patch:
        patch.setattr("sparring.ledger.schema.MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(LedgerError, match="syntax"):
            Ledger(path)
    with Ledger(path) as ledger:
        assert found(ledger) == TEA


# The command


def told(*args: object) -> str:
    done = CliRunner().invoke(ledger_app, [*map(str, args)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_shows_exports_and_cleans(ledger: Ledger, tmp_path: Path) -> None:
    answered(ledger, TEA, usd=0.25)
    answered(ledger, Completion("\ud800", "stop", 1, 1), SCORE)
    assert "oracle" in told("stats", "--file", ledger.path) and "0.2500" in told("stats", "--file", ledger.path)
    row, _, last = map(json.loads, told("stats", "--json", "--file", ledger.path).splitlines())
    assert row["usable"] == 1 and last["bytes"] > 0
    assert [json.loads(line)["role"] for line in told("export", "--file", ledger.path).splitlines()] == [
        "oracle",
        "scorer",
    ]
    told("export", "--file", ledger.path, "--out", tmp_path / "calls.jsonl")
    assert len((tmp_path / "calls.jsonl").read_text().splitlines()) == 2
    assert told("gc", "--dry-run", "--file", ledger.path).startswith("0 calls")
    assert told("gc", "--file", ledger.path).startswith("0 calls")


def test_the_command_makes_no_ledger_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger at"):
        told("stats", "--file", tmp_path / "ledger.sqlite")
    assert not os.listdir(tmp_path)
