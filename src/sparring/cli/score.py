"""`sparring score`: log-probs of targets in contexts, as a tool of its own."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sparring.engines.scripted import Scripted
from sparring.errors import DataError, EngineError
from sparring.opening import Engines
from sparring.report.terminal import EVERY
from sparring.score import Scored, Told, default_out, identity_of, read_texts, score


def score_file(path: Path, model: str, out: Path | None, keep_all: bool, as_json: bool) -> int:
    """Score the rows of a file and print what came of it; return the exit status."""
    texts, out = read_texts(path), out or default_out(path)
    if out.exists() and out.samefile(path):
        raise DataError(f"--out {out} is the input; its scores need a file of their own")
    run = hashlib.sha256(f"{model}\n{out.resolve()}".encode()).hexdigest()[:16]
    with Engines(f"score {run}", keep="all" if keep_all else "paid") as engines, progress() as told:

        def opened() -> Any:
            engine = engines.open(model)
            if isinstance(engine, Scripted) and engine.score is None:
                raise EngineError(f"{model!r} is a rule, which has no log-probs; name hf:ID, vllm:ID or a server")
            return engine

        identity = identity_of(model)
        if identity is None:  # it is not on this machine yet
            opened()
            identity = identity_of(model) or model
        scored = score(texts, identity, out, opened, told)
        billed = engines.billed()
    if as_json:
        typer.echo(json.dumps({"event": "summary", **scored.as_dict(), "out": str(out), "billed": billed}))
    else:
        typer.echo(f"{_said(scored)}; {out}")
    return 1 if scored.failed == scored.rows else 0


def _said(scored: Scored) -> str:
    mean = "no score" if scored.log_prob_per_token is None else f"{scored.log_prob_per_token:.4f} nats a token"
    counts = f"{scored.rows} rows ({scored.reused} there before, {scored.failed} failed), {scored.tokens} tokens"
    return f"{counts}, {mean}"


@contextmanager
def progress(event: str = "score", what: str = "scored") -> Generator[Told]:
    """Yield a function that shows progress on standard error: a bar on a terminal, else JSON lines."""
    if not sys.stderr.isatty():
        yield _lines(event)
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("", total=None)
        yield lambda done, of: bars.update(bar, completed=done, total=of)


def _lines(event: str) -> Callable[[int, int], None]:
    last = 0.0

    def told(done: int, of: int) -> None:
        nonlocal last
        if done < of and time.monotonic() - last < EVERY:
            return
        last = time.monotonic()
        typer.echo(json.dumps({"event": event, "done": done, "of": of}), err=True)

    return told
