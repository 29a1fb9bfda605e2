"""A run directory: what a run decided, kept so that the same command goes on where it was stopped.

    runs/NAME/
      run.json         recipe, every setting, seeds, prompts, command, versions, commit
      round-1/ ...     one file or folder a stage
      failures.jsonl   the rollouts that came to nothing, by stage
      journal.jsonl    the seconds each stage took
      report.html      the page of it; with report-data/ where that is large
      .lock            held by the one process that works on the run

A stage is written under a temporary name, synced and renamed: what bears its own name is whole. What a stage returns is
always *read back* from its file, so a resumed run and an undisturbed one go on from identical values. Rows are JSON in
valid UTF-8; a lone surrogate is kept as its escape, and NaN is refused (an unknown value is `None`).
"""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import os
import platform
import secrets
import subprocess
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, cast

from sparring.errors import RunError
from sparring.files import (
    Row,
    parsed,
    read_json,
    read_lines,
    room_on_disk,
    rows_of,
    text_of,
    write_json,
    write_lines,
    write_whole,
)
from sparring.types import Failure

log = logging.getLogger("sparring")

SERVER = "vllm"
"""The settings that say how a server of ours is started. Its environment may hold a key."""
NO_STAGES = ("run.json", "report.html", "report-data")
"""What a run directory holds besides what was made in it."""

Wrote = TypeVar("Wrote")
Read = TypeVar("Read")


def seed_folder(out: Path, seed: int) -> Path:
    """Return where `sparring run RECIPE seeds=N` has the run of a seed."""
    return out / f"seed-{seed}"


def seed_folders(out: Path) -> list[Path]:
    """Return the runs of a folder of seeds; none where it is no such folder."""
    those = (seed_folder(out, seed) for seed in itertools.count())
    return list(itertools.takewhile(lambda folder: (folder / "run.json").is_file(), those))


class Folder:
    """A folder of stages: the run itself, or a part of it (`run / "round-1"`)."""

    def __init__(self, path: Path, journal: Journal):
        self.path, self._journal = path, journal

    def __truediv__(self, name: str) -> Folder:
        return Folder(self.path / name, self._journal)

    def once(
        self,
        name: str,
        produce: Callable[[], Wrote],
        *,
        write: Callable[[Path, Wrote], None],
        read: Callable[[Path], Read],
    ) -> Read:
        """Return stage `name` as read from its file, which is produced first where it is not there yet."""
        return read(self._made(name, lambda path: write(path, produce())))

    def lines(self, name: str, produce: Callable[[], Iterable[Mapping[str, Any]]]) -> list[Row]:
        """Return the rows of a JSON-lines stage. Rows are written as they come."""
        return self.once(name, produce, write=write_lines, read=read_lines)

    def json(self, name: str, produce: Callable[[], Mapping[str, Any]]) -> Row:
        """Return the object of a JSON stage."""
        return self.once(name, produce, write=write_json, read=read_json)

    def folder(self, name: str, produce: Callable[[Path], None]) -> Path:
        """Return the path of a stage that is a folder, a checkpoint for one.

        `produce` fills an empty folder that is renamed afterwards: it must not write that folder's path into its files.
        """

        def fill(path: Path) -> None:
            path.mkdir()
            produce(path)

        return self._made(name, fill)

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the path of a stage that `make` brings into its place by itself, whole or not at all."""
        path = self.path / name
        if path.exists():
            return path
        if not self._journal.locked:
            raise RunError(f"{path} does not exist, and the run is open for reading only")
        started = time.monotonic()
        with room_on_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
        self._journal.add(path, time.monotonic() - started)
        return path

    def stage(self, name: str) -> str:
        """Return the name of a stage within the run: `round-1/train.jsonl`."""
        return self._journal.name(self.path / name)

    def note(self, name: str, **facts: Any) -> None:
        """Have the journal say `facts` of a stage, in the line that it gets once it is made."""
        self._journal.notes[self.stage(name)] = facts

    def _made(self, name: str, fill: Callable[[Path], None]) -> Path:
        return self.made(name, lambda path: write_whole(path, fill))


class Run(Folder):
    """A run directory. `Run(path)` reads one, also while it is being worked on; `Run.open` works on one."""

    def __init__(self, path: str | Path, journal: Journal | None = None):
        super().__init__(Path(path), journal or Journal(Path(path)))
        self.record = _record(self.path)
        """What `run.json` holds."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        recipe: str,
        settings: Mapping[str, Any],
        command: str,
        seeds: Sequence[int] = (),
        *,
        free: frozenset[str] = frozenset(),
        prompts: Mapping[str, str] | None = None,
    ) -> Run:
        """Create the run, or go on with it; hold its lock until `close`, the end of its `with`, or that of the process.

        `free` names the settings (dotted; a name covers what is under it) that may change without touching results.
        `prompts` are put on record for whoever wants to speak to its models; `settings` hold what tells others apart.
        Raises RunError for a folder that is no run, a run of another recipe or other settings, a broken `run.json`, and
        a run that another process works on.
        """
        path = Path(path)
        asked = {"recipe": recipe, "settings": settings, "seeds": list(seeds), "prompts": dict(prompts or {})}
        wanted = parsed(text_of(asked), str(path))
        journal = _claimed(path)
        try:
            if not (path / "run.json").exists():
                record = {**wanted, "id": secrets.token_hex(8), "command": command, **_provenance()}
                write_whole(path / "run.json", lambda temp: write_json(temp, record))
            run = cls(path, journal)
            run._agree(wanted, free)
        except RunError:
            journal.unlock()
            raise
        return run

    def close(self) -> None:
        """Let go of the lock."""
        self._journal.unlock()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """What the ledger knows this run by, wherever its folder is moved."""
        return self.record.get("id", str(self.path.resolve()))

    @property
    def public_settings(self) -> Row:
        """The settings without those of a server of ours: what may be shown to others."""
        return {name: value for name, value in self.record["settings"].items() if name != SERVER}

    @property
    def prompts(self) -> dict[str, str]:
        """The prompts by name. Raises RunError where none are on record, as in runs of earlier versions."""
        if known := self.record.get("prompts"):
            return dict(known)
        raise RunError(
            f"{self.path / 'run.json'} holds no prompts, so nobody knows how its models are spoken to: give the "
            "command that made the run once more, which puts them there"
        )

    def journal(self) -> list[Row]:
        """Return one row a stage on record: its seconds, and what its calls came to."""
        return self._journal.rows()

    def calls(self) -> dict[str, Row]:
        """Return the calls each role made, with their tokens, over all stages on record."""
        totals: dict[str, Row] = {}
        for row in self.journal():
            for role, counts in row.get("calls", {}).items():
                total = totals.setdefault(role, dict.fromkeys(counts, 0))
                for name, count in counts.items():
                    total[name] += count
        return totals

    def seconds(self) -> dict[str, float]:
        """Return how long each stage took, by its path in the run; one killed just after its rename is not there."""
        return {row["stage"]: row["seconds"] for row in self.journal()}

    @property
    def failures(self) -> dict[str, list[Failure]]:
        """The failures of each stage that has any."""
        path = self.path / "failures.jsonl"
        failures: dict[str, list[Failure]] = {}
        for row in read_lines(path) if path.exists() else []:
            failures.setdefault(row.pop("stage"), []).append(Failure(**row))
        return failures

    def record_failures(self, stage: str, failures: Sequence[Failure]) -> None:
        """Set the failures of `stage`; those of an earlier attempt at it are replaced.

        Call it while the stage is produced, before it returns: a stage that is there has its failures on record.
        """
        known = {**self.failures, stage: list(failures)}
        rows = [{"stage": name, **asdict(failure)} for name, those in known.items() for failure in those]
        write_whole(self.path / "failures.jsonl", lambda path: write_lines(path, rows))

    def _agree(self, wanted: Row, free: frozenset[str]) -> None:
        """Refuse a record that differs from `wanted` in what touches results; take over what is free.

        A run that holds nothing yet takes over everything: the command that failed at the door can be mended.
        """
        if self.record["recipe"] != wanted["recipe"]:
            raise RunError(f"{self.path} is a run of {self.record['recipe']!r}, not of {wanted['recipe']!r}")
        changed = _differences(self.record["settings"], wanted["settings"])
        changed |= _differences({"seeds": self.record.get("seeds")}, {"seeds": wanted["seeds"]})
        bound = [line for key, line in changed.items() if not any(f"{key}.".startswith(f"{name}.") for name in free)]
        made = [name for name in os.listdir(self.path) if name not in NO_STAGES and not name.startswith(".")]
        if bound and made:
            raise RunError(self._refusal(bound))
        now = _provenance()
        for line in _differences({key: self.record.get(key) for key in now}, now).values():
            log.warning("run %s goes on with other code: %s", self.path, line)
        if changed or not self.record.get("prompts"):
            self.record |= wanted
            write_whole(self.path / "run.json", lambda path: write_json(path, self.record))

    def _refusal(self, changed: list[str]) -> str:
        made = [stage for stage in self.seconds() if (self.path / stage).exists()]
        lines = [f"{self.path} was made with other settings:", *(f"  {line}" for line in changed)]
        lines.append(f"it holds {', '.join(made) or 'no finished stage'}; take another folder, or delete this one")
        return "\n".join(lines)


class Journal:
    """The journal of a run, one line a finished stage, and the lock that lets one process work on the run."""

    def __init__(self, root: Path):
        self.root, self.path = root, root / "journal.jsonl"
        self._lock: weakref.finalize[..., Any] | None = None
        self.notes: dict[str, Row] = {}

    @property
    def locked(self) -> bool:
        return self._lock is not None and self._lock.alive

    def lock(self) -> None:
        """Raise RunError where another process holds the lock. It goes with the process, however that ends."""
        handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode()
            os.close(handle)
            raise RunError(f"{self.root} is being worked on by another process ({holder or 'unknown'})") from None
        self._lock = weakref.finalize(self, os.close, handle)
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        self._mend()

    def unlock(self) -> None:
        if self._lock:
            self._lock()

    def add(self, stage: Path, seconds: float) -> None:
        name, now = self.name(stage), datetime.now(UTC).isoformat(timespec="seconds")
        row = {"stage": name, "seconds": round(seconds, 3), "finished": now, **self.notes.pop(name, {})}
        with room_on_disk(self.path), self.path.open("ab") as file:
            file.write(text_of(row))

    def name(self, stage: Path) -> str:
        return stage.relative_to(self.root).as_posix()

    def rows(self) -> list[Row]:
        """Return the finished lines; one that is being written, or was when the process was killed, is no line yet."""
        data = self.path.read_bytes() if self.path.exists() else b""
        return rows_of(data[: data.rfind(b"\n") + 1], self.path)

    def _mend(self) -> None:
        """Cut off what a killed process left of a line."""
        if self.path.exists():
            os.truncate(self.path, self.path.read_bytes().rfind(b"\n") + 1)


def _record(path: Path) -> Row:
    if not (path / "run.json").is_file():
        if seeds := seed_folders(path):
            raise RunError(f"{path} holds a run of each seed, and is none itself: take {', '.join(map(str, seeds))}")
        raise RunError(f"{path} is not a run directory: it has no run.json")
    record = read_json(path / "run.json")
    if not isinstance(record.get("recipe"), str) or not isinstance(record.get("settings"), dict):
        raise RunError(f"{path / 'run.json'} is not the record of a run: it names no recipe or no settings")
    return record


def _claimed(path: Path) -> Journal:
    """Make the folder if it is not there, refuse one that holds something else, and lock it."""
    journal = Journal(path)
    try:
        with room_on_disk(path):
            path.mkdir(parents=True, exist_ok=True)
            # A process killed while it made a run leaves nothing but hidden files.
            others = [name for name in os.listdir(path) if not name.startswith((".lock", ".run.json."))]
            if others and "run.json" not in others:
                raise RunError(f"{path} is not empty and is not a run (it holds {min(others)!r}); take another folder")
            journal.lock()
    except OSError as error:
        raise RunError(f"{path} cannot be a run directory: {error.strerror}") from error
    return journal


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Return one line a dotted key whose value differs, as `rounds: 2 -> 3`."""
    before, after = _flat(old), _flat(new)
    pairs = {key: (before.get(key, "(none)"), after.get(key, "(none)")) for key in {**before, **after}}
    return {key: f"{key}: {was} -> {now}" for key, (was, now) in pairs.items() if was != now}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the leaves of nested mappings as JSON text, by dotted key."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(cast(Mapping[str, Any], value), f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value, ensure_ascii=False)
    return flat


@cache
def _provenance() -> Row:
    """Return the versions that made the run, and the commit of this package where it is a checkout."""
    versions = {name: _version(name) for name in ("sparring", "torch", "transformers")}
    return {"versions": {"python": platform.python_version(), **versions}, "commit": _commit()}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    git = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
