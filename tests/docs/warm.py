"""Commands as real processes that need not load torch first: each is forked from a server that has loaded it.

`write_clients` writes `sparring`, `python` and `python3` into a folder. With that first on PATH a shell runs them as it
would run the real ones: with its arguments, folder, variables, open files, signals and exit status. Trainings, which a
run starts by `sys.executable`, go the same way.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import runpy
import select
import shlex
import signal
import socket
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

CLIENT = """import array, json, os, signal, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
asked = json.dumps([sys.argv[1], sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
line.sendmsg([len(asked).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
line.sendall(asked)
pid = int.from_bytes(line.recv(8), "big")
for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, lambda number, frame: os.kill(pid, number))
sys.exit(int.from_bytes(line.recv(8) or b"\\xff", "big"))
"""
COMMAND = '#!/bin/sh\nexec {python} -SE {client} {name} "$@"\n'
"""Through a shell: a path in a first line by itself may hold no blank, and is cut off where it is long."""
FEW = 20
"""Items that a shipped model's skills are measured on."""


def write_clients(folder: Path, address: str) -> None:
    """Write the commands that pass on what they are asked to the server at an address."""
    client = folder / "client.py"
    client.write_text(CLIENT.format(address=address))
    python, path = shlex.quote(sys.executable), shlex.quote(str(client))
    for name in ("sparring", "python", "python3"):
        (folder / name).write_text(COMMAND.format(python=python, client=path, name=name))
        (folder / name).chmod(0o755)


def load() -> None:
    """Load what commands and trainings spend their first seconds on."""
    import datasets
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, Trainer

    import sparring.cli.eval
    import sparring.engines.hf
    import sparring.training.dpo
    import sparring.training.sft  # noqa: F401
    from sparring.cli import RECIPES

    assert datasets and torch and AutoModelForCausalLM and AutoTokenizer and LlamaForCausalLM and Trainer
    for recipe in RECIPES.values():
        recipe()


def look_briefly() -> None:
    """Measure the skills of a world's shipped model on a few items: whether it has them is the world's own test."""
    import sparring.worlds

    def gates(package: str, *about: object) -> Any:
        return lambda model: import_module(f"{package}.gates").gates(*about, model, n=FEW)

    sparring.worlds._gates = gates  # pyright: ignore[reportPrivateUsage]


def serve(address: str, folder: Path) -> NoReturn:
    """Answer every call by a process of its own, until the server is killed."""
    load()
    look_briefly()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.executable = str(folder / "python")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        line, _ = listener.accept()
        if not os.fork():
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            watch(line)
        line.close()


def watch(line: socket.socket) -> NoReturn:
    """Start the command, tell its pid and its exit status; kill it when nobody waits for it any more."""
    head, rights, _, _ = line.recvmsg(8, socket.CMSG_SPACE(12))
    files = array.array("i", rights[0][2])
    asked, size = b"", int.from_bytes(head, "big")
    while len(asked) < size:
        asked += line.recv(size - len(asked))
    pid = os.fork()
    if not pid:
        line.close()
        work(files, *json.loads(asked))
    line.sendall(pid.to_bytes(8, "big"))
    for file in (*files, 0, 1, 2):  # a pipe ends when its last holder lets go
        os.close(file)
    ended, _, _ = select.select([handle := os.pidfd_open(pid), line], [], [])
    if handle not in ended:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        line.sendall((status if status >= 0 else 128 - status).to_bytes(8, "big"))
    finally:
        os._exit(0)


def work(files: array.array[int], name: str, arguments: list[str], cwd: str, variables: dict[str, str]) -> NoReturn:
    """Be the command."""
    for at, file in enumerate(files):
        os.dup2(file, at)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (open(at, mode, buffering=1) for at, mode in enumerate("rww"))  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    status = 1
    try:
        run(name, arguments)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:  # noqa: BLE001 - it is the end of a process, which says what it died of
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()  # pyright: ignore
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def run(name: str, arguments: list[str]) -> None:
    """Do what `sparring ARGUMENTS`, or `python -m MODULE ...`, `-c CODE` or FILE do."""
    if name == "sparring":
        from sparring.cli import main

        sys.argv = [name, *arguments]
        main()
    elif arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")
