"""Server processes: started, watched and ended, with a program in the place of vLLM that starts at once."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparring.engines import guard
from sparring.engines.process import Process
from sparring.errors import EngineError
from sparring.ledger import home
from tests.processes import facts, gone, members, started

OURS = """
import signal, sys, threading
from tests.processes import started
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
server = started()
print(server.port, server.guard.pid, flush=True)
if sys.argv[1] == "wait":
    threading.Event().wait()
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watches processes as only Linux can")


@pytest.fixture
def ours() -> Iterator[subprocess.Popen[str]]:
    """A process like ours, with a server."""
    command = [sys.executable, "-c", OURS, "wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield process
        process.kill()


def told(process: "subprocess.Popen[str]") -> tuple[int, int]:
    """The port of its server, and the guard's pid."""
    assert process.stdout
    port, keeper = process.stdout.readline().split()
    return int(port), int(keeper)


def test_a_server_answers_and_when_it_is_closed_no_process_of_it_is_left() -> None:
    server = started()
    pids = members(facts(server.port)["pid"])
    assert len(pids) == 2
    assert server.ask("GET", "/health")[0] == 200
    server.close()
    assert not members(pids[0]) and gone(pids, 0)
    assert server.ended.result(5) == "it was stopped"
    assert not list((home() / "servers").glob("*.json"))


def test_a_server_that_takes_no_sigterm_is_killed() -> None:
    server = started("stubborn", grace=0.5)
    pids = members(facts(server.port)["pid"])
    server.close()
    assert len(pids) == 2 and gone(pids, 0)


def test_a_program_that_is_not_there_is_refused_with_what_to_name() -> None:
    with pytest.raises(EngineError, match=r"'no-such-vllm' cannot be started: there is no such program. Name the one"):
        Process(["no-such-vllm", "serve"], os.environ, port=1, model="M", startup=1)


def test_a_program_that_is_no_program_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "vllm"
    path.write_bytes(b"\x00not a program")
    path.chmod(0o755)
    server = Process([str(path)], os.environ, port=1, model="M", startup=30)
    with pytest.raises(EngineError, match=r"did not start: exit status 127. (.|\n)*cannot be started: Exec format"):
        server.ready()


def test_a_server_that_ends_before_it_is_ready_is_reported_with_its_last_lines() -> None:
    with pytest.raises(EngineError, match="the server of 'MODEL' did not start: exit status 3") as caught:
        started("fail")
    lines = str(caught.value).splitlines()
    assert lines[-1] == "ValueError: it would not start" and len(lines) == 16


def test_a_server_not_ready_in_time_is_ended_and_reported() -> None:
    with pytest.raises(EngineError, match="was not ready within startup = 1 s; give it more") as caught:
        started("mute", startup=1)
    assert "From its log" in str(caught.value)
    assert not list((home() / "servers").glob("*.json"))


def test_the_first_exception_in_a_log_is_told_though_it_is_not_among_the_last_lines() -> None:
    server = started()
    with server.log.open("a") as log:
        log.write("(Worker pid=1) ERROR 11-21 [a.py:3] RuntimeError: Unsupported head\n" + "bye\n" * 40)
        log.write("nanobind: leaked 4 instances!\n - leaked type\n")
    os.kill(facts(server.port)["pid"], signal.SIGKILL)
    said = server.ended.result(30)
    assert said.startswith("killed by SIGKILL (out of memory?). From its log")
    assert "RuntimeError: Unsupported head\nbye\n" in said and said.endswith("bye")
    server.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_with_us_however_we_end(ours: "subprocess.Popen[str]", how: signal.Signals) -> None:
    port, keeper = told(ours)
    pids = members(facts(port)["pid"])
    assert len(pids) == 2
    ours.send_signal(how)
    assert gone([*pids, keeper])


def test_a_server_ends_with_us_when_we_are_done() -> None:
    done = subprocess.run([sys.executable, "-c", OURS, "go"], capture_output=True, text=True, timeout=60, check=True)
    port, keeper = map(int, done.stdout.split())
    assert gone([keeper], 0)
    assert all(json.loads(path.read_text())["port"] != port for path in (home() / "servers").glob("*.json"))


def test_a_server_ends_where_its_guard_was_killed() -> None:
    server = started()
    pids = members(facts(server.port)["pid"])
    server.guard.kill()
    assert "its guard was killed by SIGKILL" in server.ended.result(30)
    assert gone(pids)
    server.close()


def test_a_server_that_was_left_behind_is_found_reported_and_ended_by_the_next(
    ours: "subprocess.Popen[str]", caplog: pytest.LogCaptureFixture
) -> None:
    port, keeper = told(ours)
    pids = members(facts(port)["pid"])
    os.kill(keeper, signal.SIGSTOP)  # so that it dies in one blow with its owner
    ours.kill()
    os.kill(keeper, signal.SIGKILL)
    assert gone([ours.pid, keeper]) and len(members(pids[0])) == 2
    with caplog.at_level(logging.WARNING):
        server = started()
    server.close()
    assert f"left behind by a run that was killed: pid {pids[0]}, port {port}, model MODEL" in caplog.text
    assert gone(pids)


def test_a_file_whose_server_is_gone_is_removed_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    folder = home() / "servers"
    folder.mkdir(parents=True, exist_ok=True)
    ours = {"owner": os.getpid(), "owner_born": guard.born(os.getpid()), "host": os.uname().nodename, "port": 1}
    old = {**ours, "owner_born": "1", "pid": os.getpid(), "born": "1", "model": "M"}  # others got their numbers since
    (folder / "1.json").write_text(json.dumps(old))
    (folder / "2.json").write_text(json.dumps({**old, "host": "another machine"}))
    (folder / "3.json").write_text("half a fi")
    assert list(guard.stale(folder)) == []
    assert {path.name for path in folder.glob("*.json")} == {"2.json", "3.json"}
    assert not caplog.records
    (folder / "2.json").unlink(), (folder / "3.json").unlink()
