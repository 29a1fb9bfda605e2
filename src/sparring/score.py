"""Exact log-probs of targets in contexts, from one file of JSON lines to another.

    {"messages": [...], "target": "...", "id": "optional"}     or {"prompt": "...", "target": "..."}
    {"id": ..., "log_prob": -3.21, "tokens": 4, "key": "..."}  null, and a "reason", where it could not be scored

Scores are appended in parts, each on disk before the next is asked for, and are known by `key`, the digest of model,
messages and target. So a file that was broken off goes on, one that is finished costs nothing, and what was changed in
the input is all that is scored anew. When all are there, the file has the rows and the order of the input.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qsl, urlencode

from jinja2 import TemplateError

from sparring.engines import weights
from sparring.engines.base import Scorer, Served
from sparring.errors import DataError, EngineError, RolloutError, RunError
from sparring.files import Row, room_on_disk, rows_of, text_of, write_lines, write_whole
from sparring.ledger import Wanted
from sparring.tasks.load import check_text, file_rows
from sparring.types import Chat, LogProb, user
from sparring.worlds import model_of, world_of

AT_ONCE, AT_ONCE_ON_SERVERS = 256, 2048
"""Texts handed over at once. What a server scored is in the ledger already, so a part may be larger there."""
ROLES = ("system", "user", "assistant")
LASTING = ("context overflow", "chat template")
"""Why a text has no score under a model, whenever it is asked. Any other reason is worth another call."""
HEAD = b'{"id":'
"""How a row of scores begins."""

Told = Callable[[int, int], None]
"""Is told (done, of)."""


@dataclass(frozen=True, slots=True)
class Text:
    """A target in its context."""

    id: str | int
    """The row's own, or its line, from 1."""
    chat: Chat
    target: str

    def key(self, model: str) -> str:
        """Return the digest of this text under a model: what the ledger would know its score by."""
        return Wanted("log_prob", model, {"messages": self.chat, "target": self.target}).key


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of a file."""

    rows: int
    reused: int
    """Rows whose score was there before."""
    failed: int
    """Rows without a score."""
    tokens: int
    """Tokens summed over, those of repeated texts each time."""
    log_prob_per_token: float | None
    """Mean over tokens, in nats; None where nothing was scored."""

    def as_dict(self) -> Row:
        return asdict(self)


# Reading


def read_texts(path: Path) -> list[Text]:
    """Return the texts of a file. Raises DataError with `file:line` for a row that cannot be scored as it stands."""
    texts, lines = list[Text](), dict[str | int, int]()
    for line, row in file_rows(path).items():
        text = _text(row, line, f"{path}:{line}")
        if text.id in lines:
            raise DataError(
                f"{path}:{line}: id {text.id!r} is that of line {lines[text.id]} already; each needs its own"
            )
        lines[text.id] = line
        texts.append(text)
    return texts


def _text(row: Row, line: int, where: str) -> Text:
    id = row.get("id", line)
    if not isinstance(id, str | int) or isinstance(id, bool):
        raise DataError(f"{where}: id is {id!r:.80}, neither a string nor a whole number")
    if ("messages" in row) == ("prompt" in row):
        both = "both" if "prompt" in row else "neither"
        raise DataError(
            f"{where}: one of messages and prompt must be there, and {both} is; got {', '.join(row) or '{}'}"
        )
    if "target" not in row:
        raise DataError(f"{where}: no target, which is what is scored; got {', '.join(row)}")
    target = _string(row["target"], f"{where}: target")
    if "prompt" in row:
        return Text(id, [user(_string(row["prompt"], f"{where}: prompt"))], target)
    return Text(id, _chat(row["messages"], f"{where}: messages"), target)


def _chat(value: Any, where: str) -> Chat:
    if not isinstance(value, list) or not value:
        raise DataError(f"{where} is {value!r:.80}, not a list of messages")
    chat: Chat = []
    for at, message in enumerate(cast(list[Any], value)):
        here = f"{where}[{at}]"
        if not isinstance(message, dict):
            raise DataError(f"{here} is {message!r:.80}, not an object with role and content")
        told = cast(Row, message)
        if told.get("role") not in ROLES:
            raise DataError(f"{here}: role is {told.get('role')!r:.80}; it is one of {', '.join(ROLES)}")
        chat.append({"role": told["role"], "content": _string(told.get("content"), f"{here}: content")})
    if any(message["role"] == "system" for message in chat[1:]):
        raise DataError(f"{where}: a system message stands first or not at all")
    if chat[-1]["role"] != "user":
        raise DataError(f"{where} ends with the {chat[-1]['role']}'s words; a target answers a user's")
    return chat


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where} is {value!r:.80}, not a string")
    check_text(value, where)
    return value


def default_out(path: Path) -> Path:
    """Return where the scores of a file go: beside it."""
    return path.with_name(f"{path.name.removesuffix('.jsonl')}.scores.jsonl")


# Who scores


def identity_of(name: str) -> str | None:
    """Return what the model behind an engine's name is, opening nothing; None where only opening it can tell.

    A folder is known by its contents, an id on the Hub by its revision, a server by its address, model and tokenizer.
    """
    if world_of(name) and name.endswith("/policy"):
        name = f"hf:{model_of(name)}"
    kind, _, rest = name.partition(":")
    if kind in ("http", "https"):
        return _server(name)
    if kind not in ("hf", "vllm"):
        return name
    parts = [rest] if Path(rest).expanduser().is_dir() else rest.split("@", 1)  # MODEL@CHECKPOINT
    known = [weights.identity(part) for part in parts]
    return None if None in known else f"{kind}:{'@'.join(cast('list[str]', known))}"


def _server(name: str) -> str:
    """Return an engine's name without what changes speed or payment only; the first endpoint stands for the pool."""
    head, _, model = name.partition("#")
    address, _, query = head.partition("?")
    kept = [(key, value) for key, value in parse_qsl(query) if key == "tokenizer"]
    return f"{address.split(',')[0]}{'?' if kept else ''}{urlencode(kept)}#{model}"


# Scoring


def score(
    texts: Sequence[Text],
    model: str,
    out: Path,
    open_engine: Callable[[], Any],
    told: Told = lambda done, of: None,
) -> Scored:
    """Score what `out` does not hold yet, and leave it whole. `open_engine` is called only where something is missing.

    `model` is who scores, as `identity_of` knows it. Raises DataError for an `out` that holds something else, RunError
    where another command writes to it, EngineError for an engine that cannot score.
    """
    keys = [text.key(model) for text in texts]
    with room_on_disk(out), _locked(out) as file:
        on_disk = _scores_in(file, out)
        known = {row["key"]: row for row in on_disk if _stands(row)}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        times = Counter(keys)
        done = reused = sum(key not in missing for key in keys)
        if missing:
            told(done, len(texts))
            engine = open_engine()
            for part in _parts(list(missing), AT_ONCE_ON_SERVERS if isinstance(engine, Served) else AT_ONCE):
                replies = _replies(engine, [missing[key] for key in part])
                rows = [_row(missing[key].id, reply, key) for key, reply in zip(part, replies, strict=True)]
                _append(file, rows)
                known |= zip(part, rows, strict=True)
                done += sum(times[key] for key in part)
                told(done, len(texts))
        rows = [{**known[key], "id": text.id} for key, text in zip(keys, texts, strict=True)]
        if missing or rows != on_disk:
            # Rows of another time, and those of texts that stand twice, leave the order of the input only here.
            write_whole(out, partial(write_lines, rows=rows))
    return _summed(rows, reused)


def _stands(row: Row) -> bool:
    return row["log_prob"] is not None or str(row.get("reason")).startswith(LASTING)


def _replies(engine: Any, texts: Sequence[Text]) -> list[LogProb | RolloutError]:
    """Return the scores of texts. One that the model's chat template does not take fails alone."""
    if not isinstance(engine, Scorer):
        raise EngineError("this engine cannot return log-probs; name hf:ID, vllm:ID or a server that can")
    try:
        return engine.log_prob([text.chat for text in texts], [text.target for text in texts])
    except TemplateError as error:
        if len(texts) == 1:
            return [RolloutError("chat template", str(error))]
    return [reply for text in texts for reply in _replies(engine, [text])]


def _row(id: str | int, reply: LogProb | RolloutError, key: str) -> Row:
    if isinstance(reply, LogProb) and not isfinite(reply.total):
        reply = RolloutError("not a number", f"{reply.total} over {reply.tokens} tokens")
    if isinstance(reply, RolloutError):
        return {"id": id, "log_prob": None, "tokens": None, "reason": str(reply), "key": key}
    return {"id": id, "log_prob": reply.total, "tokens": reply.tokens, "key": key}


def _parts(keys: Sequence[str], size: int) -> Generator[Sequence[str]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _summed(rows: Sequence[Mapping[str, Any]], reused: int) -> Scored:
    scored = [row for row in rows if row["log_prob"] is not None]
    tokens = sum(row["tokens"] for row in scored)
    mean = sum(row["log_prob"] for row in scored) / tokens if tokens else None
    return Scored(len(rows), reused, len(rows) - len(scored), tokens, mean)


# The file of scores


@contextmanager
def _locked(out: Path) -> Generator[BinaryIO]:
    """Open a file for reading and appending, for one command at a time."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.open("a+b")
    except OSError as error:
        raise DataError(f"{out}: {error.strerror}; name another place by --out") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"{out} is being written by another command; wait for it, or name another --out") from error
        try:
            yield file
        finally:
            if os.fstat(file.fileno()).st_size == 0:  # nothing came of it
                out.unlink(missing_ok=True)


def _scores_in(file: BinaryIO, out: Path) -> list[Row]:
    """Return the rows of a file, and cut off a last line that a crash has torn. Raises DataError for another file."""
    file.seek(0)
    data = file.read()
    whole, torn = data[: data.rfind(b"\n") + 1], data[data.rfind(b"\n") + 1 :]
    rows = rows_of(whole, out)
    for line, row in enumerate(rows, 1):
        if not {"id", "log_prob", "tokens", "key"} <= row.keys():
            raise DataError(f"{out}:{line}: not a row of scores but {', '.join(row)}; name another file by --out")
    if torn:
        if torn[: len(HEAD)] != HEAD[: len(torn)]:
            raise DataError(f"{out}: ends with {torn[:40]!r}, which is no row of scores; name another file by --out")
        file.truncate(len(whole))
    return rows


def _append(file: BinaryIO, rows: Sequence[Row]) -> None:
    file.write(b"".join(text_of(row) for row in rows))
    file.flush()
    os.fsync(file.fileno())
