"""A run directory: stages made once, killed anywhere, refused when they would not fit."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.errors import RunError, SparringError
from sparring.files import read_json, read_lines, rename_whole, write_json, write_lines
from sparring.runs import Run
from sparring.types import Failure

SETTINGS = {"rounds": 2, "train": {"lr": 1e-5, "device": "cpu"}, "turns": (1, 2, 3)}


def begin(path: Path, settings: dict[str, Any] = SETTINGS, **kwargs: Any) -> Run:
    return Run.open(path, "star-gate", settings, "sparring run star-gate", [0], **kwargs)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with begin(tmp_path / "run") as run:
        yield run


def never() -> Any:
    raise AssertionError("a stage that is there was produced again")


def names(path: Path) -> set[str]:
    return {part.relative_to(path).as_posix() for part in path.rglob("*") if part.is_file()}


# Stages


def test_a_stage_is_produced_once_and_read_back_ever_after(run: Run) -> None:
    assert run.lines("rows.jsonl", lambda: iter([{"a": 1}, {"b": None}])) == [{"a": 1}, {"b": None}]
    assert run.lines("rows.jsonl", never) == [{"a": 1}, {"b": None}]
    assert run.json("one.json", lambda: {"x": 0.1}) == run.json("one.json", never) == {"x": 0.1}


def test_the_first_time_too_a_stage_returns_what_was_read_back(run: Run) -> None:
    assert run.lines("rows.jsonl", lambda: [{"turns": (1, 2), 3: "key"}]) == [{"turns": [1, 2], "3": "key"}]


def test_a_stage_may_have_any_form_that_can_be_written_and_read(run: Run) -> None:
    def stage(produce: Callable[[], str]) -> str:
        return run.once("note.txt", produce, write=Path.write_text, read=Path.read_text)

    assert stage(lambda: "kept") == stage(never) == "kept"


def test_parts_of_a_run_have_stages_of_their_own(run: Run) -> None:
    for name in ("round-1", "round-2"):
        (run / name).json("own.json", lambda name=name: {"is": name})
    assert (run / "round-1").json("own.json", never) == {"is": "round-1"}
    assert {"round-1/own.json", "round-2/own.json"} <= names(run.path)


def test_a_folder_stage_appears_only_when_it_is_whole(run: Run) -> None:
    def save(path: Path) -> None:
        assert path.is_dir() and path.parent == run.path / "round-1" and path.name != "checkpoint"
        (path / "deep").mkdir()
        (path / "deep" / "weights").write_bytes(b"\1\2")
        assert not (run.path / "round-1" / "checkpoint").exists()

    made = (run / "round-1").folder("checkpoint", save)
    assert made == (run / "round-1").folder("checkpoint", never)
    assert (made / "deep" / "weights").read_bytes() == b"\1\2"


def test_a_stage_that_fails_leaves_nothing_behind_and_is_produced_again(run: Run) -> None:
    def half() -> Iterator[dict[str, int]]:
        yield {"row": 1}
        raise KeyboardInterrupt

    before = names(run.path)
    with pytest.raises(KeyboardInterrupt):
        run.lines("rows.jsonl", half)
    assert names(run.path) == before
    assert run.lines("rows.jsonl", lambda: [{"row": 2}]) == [{"row": 2}]


def test_what_a_killed_attempt_left_is_removed_and_what_is_not_ours_is_kept(run: Run) -> None:
    for leftover in (".checkpoint.0a1b2c3d.tmp", ".checkpoint.ffffffff.tmp", ".other.0a1b2c3d.tmp"):
        (run.path / leftover).mkdir()
        (run.path / leftover / "half").write_text("of it")
    run.folder("checkpoint", lambda path: (path / "whole").touch())
    assert {name for name in names(run.path) if ".tmp" in name} == {".other.0a1b2c3d.tmp/half"}
    assert names(run.path / "checkpoint") == {"whole"}


# Rows

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=5)


@given(ROWS)
@settings(deadline=None)
def test_rows_come_back_as_they_were_in_their_order_down_to_the_last_digit(tmp_path_factory, rows: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    write_lines(path, rows)
    assert repr(read_lines(path)) == repr(rows)
    write_json(path, {"rows": rows})
    assert repr(read_json(path)) == repr({"rows": rows})


@pytest.mark.parametrize(
    "text", ["\ud83d", "x\udc00y", "\0", "\u2028\u2029\x85\r\n\t", "\ufeff", "\\ud83d", "\U0001f600", "ß"]
)
def test_no_character_that_a_model_may_say_breaks_a_row(tmp_path: Path, text: str) -> None:
    write_lines(tmp_path / "rows", [{"text": text}, {"text": "next"}])
    assert read_lines(tmp_path / "rows") == [{"text": text}, {"text": "next"}]
    assert (tmp_path / "rows").read_bytes().decode("utf-8").count("\n") == 2


def test_text_is_readable_in_the_file_and_not_escaped(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows", [{"b": "Zoë", "a": 1}])
    assert (tmp_path / "rows").read_text(encoding="utf-8") == '{"b": "Zoë", "a": 1}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused_and_the_stage_not_made(run: Run, value: float) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        run.lines("rows.jsonl", lambda: [{"value": value}])
    assert not (run.path / "rows.jsonl").exists()


@pytest.mark.parametrize(
    "line", [b'{"text": "cut o', b"", b"[1]", b"7", b'{"v": NaN}', b'{"t": "\xff"}', b'{"a": 1}{"b": 2}']
)
def test_a_torn_or_malformed_line_is_told_by_file_and_line(run: Run, line: bytes) -> None:
    path = run.path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"c": 3}\n')
    with pytest.raises(RunError) as caught:
        run.lines("rows.jsonl", never)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_a_stage_without_rows_is_a_stage(run: Run) -> None:
    assert run.lines("none.jsonl", list) == []
    assert run.lines("none.jsonl", never) == []


# The record


def test_the_record_holds_what_made_the_run(run: Run) -> None:
    record = json.loads((run.path / "run.json").read_text())
    assert record["recipe"] == "star-gate"
    assert record["settings"] == {**SETTINGS, "turns": [1, 2, 3]}
    assert (record["command"], record["seeds"]) == ("sparring run star-gate", [0])
    assert record["versions"]["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert {"sparring", "torch", "transformers"} < record["versions"].keys()
    assert "commit" in record


def test_the_same_command_goes_on_and_leaves_the_record_as_it_was(run: Run) -> None:
    before = (run.path / "run.json").read_bytes()
    run.close()
    with begin(run.path):
        assert (run.path / "run.json").read_bytes() == before


def test_changed_settings_are_refused_one_line_a_key_with_what_is_there_already(run: Run) -> None:
    (run / "round-1").json("signals.json", dict)
    run.json("gone.json", dict)
    (run.path / "gone.json").unlink()
    run.close()
    with pytest.raises(RunError) as caught:
        begin(run.path, {"rounds": 3, "train": {"lr": 1e-5}, "turns": [1, 2, 3], "new": "x"})
    assert str(caught.value).splitlines() == [
        f"{run.path} was made with other settings:",
        "  rounds: 2 -> 3",
        '  train.device: "cpu" -> (none)',
        '  new: (none) -> "x"',
        "it holds round-1/signals.json; take another folder, or delete this one",
    ]


def test_a_refused_run_is_left_as_it_was_and_can_be_gone_on_with(run: Run) -> None:
    run.json("begun.json", dict)
    run.close()
    before = (run.path / "run.json").read_bytes()
    with pytest.raises(RunError) as caught:
        begin(run.path, {**SETTINGS, "rounds": 3})
    with begin(run.path):
        assert (run.path / "run.json").read_bytes() == before
    assert caught.value.__traceback__ is not None  # whoever keeps the error does not keep the lock


def test_other_seeds_are_other_settings(run: Run) -> None:
    run.json("begun.json", dict)
    run.close()
    with pytest.raises(RunError, match=r"seeds: \[0\] -> \[1\]"):
        Run.open(run.path, "star-gate", SETTINGS, "", [1])


def test_free_settings_may_change_and_the_record_follows(run: Run) -> None:
    run.json("begun.json", dict)
    run.close()
    changed = {**SETTINGS, "train": {"lr": 1e-5, "device": "cuda", "workers": 4}}
    with pytest.raises(RunError, match=r"train\.workers: \(none\) -> 4"):
        begin(run.path, changed, free=frozenset({"train.device"}))
    with begin(run.path, changed, free=frozenset({"train.device", "train.workers"})):
        assert Run(run.path).record["settings"]["train"] == changed["train"]


def test_a_free_name_covers_what_is_under_it_and_not_what_only_begins_like_it(run: Run) -> None:
    run.json("begun.json", dict)
    run.close()
    with begin(run.path, {**SETTINGS, "train": {"lr": 2.0, "device": "cpu"}}, free=frozenset({"train"})):
        pass
    with pytest.raises(RunError, match="rounds: 2 -> 9"):
        begin(run.path, {**SETTINGS, "rounds": 9}, free=frozenset({"train", "round"}))


def test_a_run_that_holds_nothing_yet_takes_over_the_settings_of_the_mended_command(run: Run) -> None:
    run.close()
    with begin(run.path, {**SETTINGS, "rounds": 3}):
        assert Run(run.path).record["settings"]["rounds"] == 3


def test_a_run_of_another_recipe_is_refused(run: Run) -> None:
    run.close()
    with pytest.raises(RunError, match="is a run of 'star-gate', not of 'spar'"):
        Run.open(run.path, "spar", SETTINGS, "")


def test_other_versions_are_said_and_do_not_stop_the_run(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.close()
    record = read_json(run.path / "run.json")
    record["versions"]["torch"] = "0.1"
    write_json(run.path / "run.json", record)
    with begin(run.path):
        assert 'goes on with other code: versions.torch: "0.1" -> ' in caplog.text


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match=r"not empty and is not a run \(it holds 'thesis.txt'\)"):
        begin(tmp_path)
    assert names(tmp_path) == {"thesis.txt"}


def test_a_file_cannot_be_a_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="cannot be a run directory"):
            begin(path)


def test_a_run_killed_while_it_was_made_can_be_made(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("123")
    (tmp_path / ".run.json.0a1b2c3d.tmp").write_text('{"recipe": ')
    with begin(tmp_path):
        assert names(tmp_path) == {".lock", "run.json"}


@pytest.mark.parametrize(
    "text", ['{"recipe": "star-', "[]", '{"recipe": "star-gate"}', '{"recipe": 1, "settings": {}}', ""]
)
def test_a_broken_record_is_named(run: Run, text: str) -> None:
    run.close()
    (run.path / "run.json").write_text(text)
    for read in (begin, Run):
        with pytest.raises(RunError, match=r"run\.json"):
            read(run.path)


# One process at a time


def test_two_never_work_on_one_run_and_the_holder_is_named(run: Run) -> None:
    with pytest.raises(RunError, match=rf"{run.path} is being worked on by another process \({os.getpid()}\)"):
        begin(run.path)
    script = f"from sparring.runs import Run; Run.open({str(run.path)!r}, 'star-gate', {{}}, '')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "is being worked on by another process" in done.stderr


def test_the_lock_goes_with_the_run(tmp_path: Path) -> None:
    begin(tmp_path)
    with begin(tmp_path) as second:
        second.close()
        with begin(tmp_path) as third:
            third.json("x.json", dict)


def test_a_run_can_be_read_while_it_is_worked_on_but_not_be_added_to(run: Run) -> None:
    run.json("done.json", lambda: {"x": 1})
    reader = Run(run.path)
    assert reader.json("done.json", never) == {"x": 1}
    with pytest.raises(RunError, match=r"todo\.json does not exist, and the run is open for reading only"):
        reader.json("todo.json", dict)


def test_only_a_run_can_be_read_as_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run directory: it has no run\.json"):
        Run(tmp_path)


# The journal


def test_the_journal_says_how_long_each_stage_took_and_only_when_it_was_made(run: Run) -> None:
    for _ in range(2):
        (run / "round-1").json("a.json", dict)
        run.folder("checkpoint", lambda path: None)
    rows = read_lines(run.path / "journal.jsonl")
    assert [row["stage"] for row in rows] == ["round-1/a.json", "checkpoint"]
    assert run.seconds() == {row["stage"]: row["seconds"] for row in rows}
    assert all(0 <= seconds < 60 for seconds in run.seconds().values())


def test_what_a_stage_notes_stands_in_its_line_and_calls_are_summed_by_role(run: Run) -> None:
    for name, calls in (("a.json", 3), ("b.json", 4)):
        run.note(name, calls={"judge": {"calls": calls, "tokens": 10}})
        run.json(name, dict)
    assert run.calls() == {"judge": {"calls": 7, "tokens": 20}}
    assert run.stage("a.json") == "a.json" and (run / "round-1").stage("a.json") == "round-1/a.json"


def test_a_torn_last_line_of_the_journal_is_passed_over_and_mended(run: Run) -> None:
    run.json("a.json", dict)
    run.close()
    with (run.path / "journal.jsonl").open("a") as file:
        file.write('{"stage": "b.json", "sec')
    assert Run(run.path).seconds().keys() == {"a.json"}
    with begin(run.path) as again:
        again.json("c.json", dict)
        assert again.seconds().keys() == {"a.json", "c.json"}


def test_a_broken_line_inside_the_journal_is_told_by_file_and_line(run: Run) -> None:
    (run.path / "journal.jsonl").write_text("{}\noops\n")
    with pytest.raises(RunError, match=r"journal\.jsonl:2: "):
        run.seconds()


# Failures


def test_failures_are_kept_by_stage_and_a_redone_stage_replaces_its_own(run: Run) -> None:
    first, again = Failure("c-1", "off-format", "\ud800"), Failure("c-2", "too long")
    run.record_failures("round-1/a.jsonl", [first, again])
    run.record_failures("round-2/a.jsonl", [again])
    run.record_failures("round-1/a.jsonl", [again])
    assert Run(run.path).failures == {"round-1/a.jsonl": [again], "round-2/a.jsonl": [again]}
    run.record_failures("round-1/a.jsonl", [first])
    assert read_lines(run.path / "failures.jsonl") == [
        {"stage": "round-1/a.jsonl", "id": "c-1", "reason": "off-format", "detail": "\ud800"},
        {"stage": "round-2/a.jsonl", "id": "c-2", "reason": "too long", "detail": ""},
    ]


def test_a_run_without_failures_has_none(run: Run) -> None:
    assert run.failures == {}
    run.record_failures("a", [])
    assert run.failures == {}


# A full disk: /dev/full answers every write with ENOSPC

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@full
def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(run: Run) -> None:
    run.json("done.json", lambda: {"x": 1})

    def write(path: Path, text: str) -> None:
        path.symlink_to("/dev/full")
        path.write_text(text)

    with pytest.raises(SparringError, match=r"the disk is full: .*big\.txt was not written") as caught:
        run.once("big.txt", lambda: "much", write=write, read=Path.read_text)
    assert caught.value.exit_status == 1
    assert names(run.path) == {".lock", "run.json", "done.json", "journal.jsonl"}
    assert run.once("big.txt", lambda: "less", write=Path.write_text, read=Path.read_text) == "less"


@full
def test_a_disk_that_is_full_for_what_makes_its_own_place_is_the_same_clear_error(run: Run) -> None:
    """A training job writes its checkpoint and renames it by itself."""
    with pytest.raises(SparringError, match=r"the disk is full: .*round-1/checkpoint was not written") as caught:
        (run / "round-1").made("checkpoint", lambda path: Path("/dev/full").write_text("much"))
    assert isinstance(caught.value.__cause__, OSError)
    assert run.seconds() == {}
    made = (run / "round-1").made("checkpoint", lambda path: path.mkdir())
    assert made == run.path / "round-1" / "checkpoint" and run.seconds().keys() == {"round-1/checkpoint"}


@full
def test_a_disk_that_is_full_when_the_journal_is_written_keeps_the_stage(run: Run) -> None:
    (run.path / "journal.jsonl").symlink_to("/dev/full")
    with pytest.raises(SparringError, match=r"the disk is full: .*journal\.jsonl"):
        run.json("done.json", lambda: {"x": 1})
    (run.path / "journal.jsonl").unlink()
    assert run.json("done.json", never) == {"x": 1}


def test_another_trouble_with_the_disk_is_not_called_a_full_one(run: Run) -> None:
    def broken() -> dict[str, Any]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match="Input/output error"):
        run.json("x.json", broken)


# Whole, or not there


def test_all_of_a_folder_is_on_disk_before_it_bears_its_name_and_the_name_is_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temp, path = tmp_path / "half", tmp_path / "whole"
    (temp / "deep").mkdir(parents=True)
    (temp / "deep" / "weights").write_bytes(b"w")
    (temp / "config").write_text("{}")
    parts = {os.stat(part).st_ino for part in (temp, *temp.rglob("*"))}
    synced: list[tuple[int, bool]] = []
    sync = os.fsync

    def watched(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, path.exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    rename_whole(temp, path)
    assert {node for node, named in synced if not named} == parts and len(parts) == 4
    assert [node for node, named in synced if named] == [os.stat(tmp_path).st_ino]
    assert names(tmp_path) == {"whole/config", "whole/deep/weights"}


# Killed

KILLED = '''
"""Run a small recipe in forked children, kill them, rerun them, and compare all files with an undisturbed run's."""
import json, os, random, signal, sys, time
from pathlib import Path
from sparring.runs import Run, _provenance
from sparring.types import Failure

ROOT = Path(sys.argv[1])


def recipe(path):
    with Run.open(path, "star-gate", {"rounds": 2}, "sparring run", [0]) as run:
        name, value = "round-1/conversations.jsonl", lambda n: random.Random(n).random()

        def talk():
            run.record_failures(name, [Failure(f"c-{n}", "off-format") for n in range(3)])
            for n in range(300):
                if n % 100 == 50:
                    sys.audit("sparring.row", str(path))
                yield {"id": n, "value": value(n), "text": "word " * 30}

        def save(folder):
            (folder / "weights").write_bytes(b"w" * 50_000)
            (folder / "config").write_text("{}")

        rows = (run / "round-1").lines("conversations.jsonl", talk)
        (run / "round-1").folder("checkpoint", save)
        run.json("summary.json", lambda: {"failures": len(run.failures), "value": sum(row["value"] for row in rows)})


def child(path, die_at=0):
    """Fork a child that runs the recipe, and kills itself just before its `die_at`-th touch of the disk."""
    pid = os.fork()
    if pid:
        return pid
    steps = 0

    def step(event, args):
        nonlocal steps
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "sparring.row") and str(path) in str(args[0]):
            steps += 1
            if steps == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(step)
    recipe(path)
    os._exit(0)


def died(pid):
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


def files(path):
    kept = {part.relative_to(path): part.read_bytes() for part in path.rglob("*") if part.is_file()}
    journal = [line.split(b'"')[3] for line in kept.pop(Path("journal.jsonl")).splitlines()]
    assert len(set(journal)) == len(journal), journal
    del kept[Path(".lock")]
    record = json.loads(kept.pop(Path("run.json")))
    assert record.pop("id"), "the ledger would not know the run"
    return kept | {"run.json": record}


_provenance()  # once for all children: it asks git
began = time.monotonic()
assert not died(child(ROOT / "whole"))
seconds, whole = time.monotonic() - began, files(ROOT / "whole")
assert len(whole) == 6, whole.keys()

at = 1
while died(child(ROOT / f"at-{at}", at)):
    assert not died(child(ROOT / f"at-{at}"))
    assert files(ROOT / f"at-{at}") == whole, at
    at += 1

kills, number, chance = 0, 0, random.Random(0)
while kills < 5 and number < 50:  # on a busy machine a run may end before its kill comes
    number += 1
    while True:
        pid = child(ROOT / f"random-{number}")
        time.sleep(chance.uniform(0, seconds))
        os.kill(pid, signal.SIGKILL)
        if not died(pid):
            break
        kills += 1
    assert files(ROOT / f"random-{number}") == whole, number
print(at - 1, kills)
'''


def test_a_run_killed_at_any_moment_and_rerun_ends_with_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps, kills = done.stdout.split()
    assert int(steps) > 30 and int(kills) >= 5


def test_a_run_of_an_earlier_version_is_told_its_prompts_by_the_same_command(tmp_path: Path) -> None:
    with begin(tmp_path / "run") as run:
        run.json("done.json", dict)
        with pytest.raises(RunError, match=r"holds no prompts.*give the command that made the run once more"):
            _ = run.prompts
    with begin(tmp_path / "run", prompts={"ask": "Ask."}) as again:
        assert again.prompts == {"ask": "Ask."}
    assert Run(tmp_path / "run").prompts == {"ask": "Ask."}
