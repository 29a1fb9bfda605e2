"""Where the commands of the pages are run: a folder with the files they speak of, servers, and a `sparring` on PATH.

A command is run once by a shell, whichever page shows it; one that reads what another writes has that one run first.
"""

from __future__ import annotations

import os
import pty
import re
import secrets
import select
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs import stand_ins
from tests.docs.blocks import ROOT, Block, commands, shown
from tests.docs.warm import write_clients
from tests.serving import serving

PATIENCE = 120
"""Seconds that a command may take."""
AS_IT_STANDS = ("sparring", "head", "cat", "ls", "python")
"""Programs that a page may call."""


@dataclass(frozen=True)
class Ran:
    """What became of a command."""

    command: str
    """As it was run."""
    status: int
    out: str
    err: str


@dataclass
class Place:
    """The folder, and what has been run in it."""

    folder: Path
    variables: dict[str, str]
    urls: dict[str, str]
    """Addresses of the servers, by the names that stand-ins give them."""
    shown: list[str]
    """Every command of the pages."""
    ran: dict[str, Ran] = field(default_factory=dict)

    def run(self, command: str) -> Ran:
        """Return what became of a command of a page, run where it was not yet."""
        if command not in self.ran:
            for earlier in self.needed(command):
                self.run(earlier)
            self.ran[command] = self._run(command)
        return self.ran[command]

    def needed(self, command: str) -> Iterator[str]:
        """Yield the commands of the pages that make what a command reads."""
        if command.startswith("sparring ledger"):
            yield next(other for other in self.shown if "sparring run" in other and "--budget" in other)
            return
        read = [word for word in re.split(r"[\s=:,]+", command.replace(f"--out {out_of(command)}", "")) if word]
        for other in self.shown:
            made = out_of(other)
            if made and made != out_of(command) and any(f"{word}/".startswith(f"{made}/") for word in read):
                yield other
                return

    def _run(self, command: str) -> Ran:
        if command == "make demo":
            return self.shell(self.stood_in(line_of_demo()))
        if any(re.fullmatch(pattern, command) for pattern in stand_ins.NOT_RUN):
            return self.shell(checked(command))
        program = next(word for word in shlex.split(command) if not re.match(r"\w+=", word))
        assert program in AS_IT_STANDS, f"{command!r}: no test knows how to run {program}; see tests/docs/stand_ins.py"
        if command.startswith("sparring view"):
            return self.served(self.stood_in(command))
        for pattern, (prompt, reply) in stand_ins.AT_A_TERMINAL.items():
            if re.fullmatch(pattern, command):
                return self.at_a_terminal(self.stood_in(command), prompt, reply)
        return self.shell(self.stood_in(command), typed(command))

    def stood_in(self, command: str) -> str:
        """Return a command with what a test cannot have replaced."""
        config = re.search(r"--config (?:\S*/)?([\w-]+\.toml)", command)

        def small(found: re.Match[str]) -> str:
            put = stand_ins.overrides(found[1], config[1] if config else "", self.urls)
            return " ".join([found[0], *map(shlex.quote, put)])

        command = re.sub(r"sparring (?:run|plan|doctor) (\S+)", small, command, count=1)
        command = re.sub(r"sparring plan (\S+)", r"sparring plan \1 --items 2", command)
        n = 8 if "--suite judge" in command else 4
        command = command.replace("sparring eval ", f"sparring eval --n {n} ")
        command = command.replace("http://gpu1:8000/v1#", f"'{self.urls['qwen']}'#")
        world = stand_ins.world_of("world:concierge")
        return command.replace("hf:Qwen/Qwen3-0.6B", f"hf:{world.model}" if world else "")

    def shell(self, command: str, typed: str = "", patience: float = PATIENCE) -> Ran:
        """Run a line as it is."""
        process = self.start(command)
        try:
            out, err = process.communicate(typed, timeout=patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"{command!r} took over {patience} s\n{out[-2000:]}\n{err[-2000:]}") from None
        return Ran(command, process.returncode, out, err)

    def served(self, command: str) -> Ran:
        """Run a line that serves a page until Ctrl-C; fetch the page."""
        process = self.start(f"exec {command}")
        assert process.stdout
        said = ""
        try:
            for line in process.stdout:
                said += line
                if found := re.search(r"http://127\.0\.0\.1:\d+[^\s\"'}]*", line):
                    with urllib.request.urlopen(found[0], timeout=30) as answer:
                        assert answer.status == 200 and b"<html" in answer.read()
                    process.send_signal(signal.SIGINT)
                    break
            out, err = process.communicate(timeout=30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        assert "127.0.0.1" in said, f"{command!r} told no address:\n{said}\n{err}"
        return Ran(command, 0 if process.returncode in (0, 130) else process.returncode, said + out, err)

    def at_a_terminal(self, command: str, prompt: str, reply: str) -> Ran:
        """Run a line on a terminal, and type a reply at every prompt."""
        ours, its = pty.openpty()
        process = subprocess.Popen(
            ["sh", "-c", command], cwd=self.folder, env=self.variables, stdin=its, stdout=its, stderr=its
        )
        os.close(its)
        said, asked = "", 0
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    said += os.read(ours, 65536).decode(errors="replace")
                except OSError:  # the other end is closed
                    break
            elif process.poll() is not None:
                break
            if said.endswith(prompt) and len(said) > asked:
                os.write(ours, reply.encode())
                asked = len(said)
        process.kill()
        os.close(ours)
        return Ran(command, process.wait(), said, said if not asked else "")

    def start(self, command: str) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            ["sh", "-c", command], cwd=self.folder, env=self.variables, text=True, start_new_session=True, **pipes
        )


def out_of(command: str) -> str:
    """Return the folder or file that a command makes, or nothing."""
    if command == "make demo":
        return "runs/demo"
    if named := re.search(r"--out (\S+)", command):
        return named[1]
    if recipe := re.search(r"sparring run (\S+)", command):
        return f"runs/{recipe[1]}"
    return ""


def typed(command: str) -> str:
    return next((text for pattern, text in stand_ins.INPUTS.items() if re.fullmatch(pattern, command)), "")


def line_of_demo() -> str:
    """Return the command that `make demo` ends in."""
    asked = ["make", "-n", "--no-print-directory", "demo"]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return told.splitlines()[-1].removeprefix(".venv/bin/")


def checked(command: str) -> str:
    """Return a line that checks what can be checked of a command that is not run."""
    if command.startswith("make "):
        return f"make -n -C {shlex.quote(str(ROOT))} {command.removeprefix('make ')} > /dev/null"
    if command.startswith("sparring "):
        words = shlex.split(command)[1:3] if "world" in command else shlex.split(command)[1:2]
        return f"sparring {' '.join(words)} --help"
    return "true"


def write_settings(folder: Path, home: Path) -> None:
    """Write the files of settings that pages show, each under the name in its first line."""
    written: dict[str, Block] = {}
    for block in shown("toml"):
        assert block.name, f"{block.where}: begin it with the name of its file, as `# mine.toml`"
        other = written.setdefault(block.name, block)
        assert other.text == block.text, f"{block.where}: {block.name} is another file than in {other.where}"
        target = home if block.name == "prices.toml" else folder
        (target / block.name).write_text(block.text, encoding="utf-8")


@contextmanager
def opened(root: Path) -> Iterator[Place]:
    """Make the place, with its servers, and end them with it."""
    folder, home, programs = (root / name for name in ("work", "home", "bin"))
    for each in (folder, home, programs):
        each.mkdir()
    address = f"\0sparring-docs-{secrets.token_hex(8)}"  # of no file: where a file may lie, its path may be too long
    write_clients(programs, address)
    write_settings(folder, home)
    stand_ins.write_files(folder)
    beside = Path(sys.executable).parent  # `accelerate`, where the environment is not activated
    path = os.pathsep.join(map(str, (programs, os.environ["PATH"], beside)))
    variables = {**os.environ, **stand_ins.KEYS, "PATH": path, "SPARRING_HOME": str(home), "COLUMNS": "120"}
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(serving(model=model, reply=stand_ins.reply)).url
            for name, model in (("gpt", "gpt-4.1"), ("qwen", "qwen"), ("qwen2", "qwen"))
        }
        stack.enter_context(forking(address, programs, variables))
        yield Place(folder, variables, urls, [one.text for one in commands()])


@contextmanager
def forking(address: str, programs: Path, variables: dict[str, str]) -> Iterator[None]:
    """Run the server that commands are forked from."""
    code = f"from tests.docs.warm import *; serve({address!r}, Path({str(programs)!r}))"
    server = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=variables, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert server.stdout and server.stdout.readline() == b"ready\n"
        yield
    finally:
        server.kill()
        server.wait()
        if server.stdout:
            server.stdout.close()
