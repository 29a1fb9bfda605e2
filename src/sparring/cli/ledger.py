"""`sparring ledger`: what is on file of every call that was ever made.

sparring ledger stats | export [--out FILE] | gc [--dry-run]
"""

# No `from __future__ import annotations`, as in `sparring.cli`.

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparring.cli.stop import stoppable
from sparring.errors import DataError, LedgerError

if TYPE_CHECKING:
    from sparring.ledger import Ledger

ledger_app = typer.Typer(no_args_is_help=True, help="The calls that were ever paid for.")

File = Annotated[Path | None, typer.Option("--file", help="Ledger; default: the one in $SPARRING_HOME.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


@contextmanager
def there(file: Path | None) -> "Generator[Ledger]":
    """Open a ledger that exists: looking for one makes none."""
    from sparring.ledger import Ledger, home

    path = file or home() / "ledger.sqlite"
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}; give --file, or set SPARRING_HOME")
    with stoppable("the ledger is whole"), Ledger(path) as ledger:
        yield ledger


@ledger_app.command(short_help="Show what was sent, answered and billed.")
def stats(file: File = None, as_json: AsJson = False) -> None:
    """Show what was sent to each model by each role, and what it cost."""
    from sparring.files import text_of

    with there(file) as ledger:
        rows, size = ledger.stats(), ledger.size()
    if as_json:
        for row in rows:
            typer.echo(text_of(row), nl=False)
        typer.echo(json.dumps({"path": str(ledger.path), "bytes": size}))
        return
    heads = ("model", "role", "sent", "usable", "prompt", "completion", "USD", "may be billed")
    cells = [heads, *([shown(row[name]) for name in COLUMNS] for row in rows)]
    wide = [max(len(line[at]) for line in cells) for at in range(len(heads))]
    for line in cells:
        sides = (
            cell.ljust(w) if at < 2 else cell.rjust(w) for at, (cell, w) in enumerate(zip(line, wide, strict=True))
        )
        typer.echo("  ".join(sides).rstrip())
    typer.echo(f"{ledger.path}: {size / 1e6:,.1f} MB; `usable` answers are never paid for again, `-` is unknown")


COLUMNS = ("model", "role", "sent", "usable", "prompt_tokens", "completion_tokens", "usd", "may_be_billed")


def shown(value: object) -> str:
    match value:
        case None:
            return "-"
        case str():
            return value.encode("ascii", "backslashreplace").decode() if not value.isprintable() else value or "-"
        case float():
            return f"{value:,.4f}"
        case _:
            return f"{value:,}"


@ledger_app.command(short_help="Write every call as a line of JSON, oldest first.")
def export(
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
    file: File = None,
) -> None:
    """Write every call as a line of JSON, oldest first: what was asked, the answer, tokens, cost."""
    from sparring.files import text_of, write_whole

    with there(file) as ledger:
        lines = (text_of(row) for row in ledger.export())
        if out is None:
            for line in lines:
                typer.echo(line, nl=False)
            return

        def fill(path: Path) -> None:
            with path.open("wb") as opened:
                opened.writelines(lines)

        try:
            write_whole(out, fill)
        except OSError as error:
            raise DataError(f"--out {out} cannot be written: {error.strerror}") from error


@ledger_app.command(short_help="Remove what can never be an answer and is a month old.")
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Remove what can never be an answer and is a month old: failed, cut off, refused and blank. No usable answer."""
    from sparring.ledger import GC_DAYS

    with there(file) as ledger:
        before = ledger.size()
        rows, size = ledger.gc(dry_run)
        freed = size if dry_run else before - ledger.size()
    if as_json:
        typer.echo(json.dumps({"calls": rows, "bytes": freed, "dry_run": dry_run}))
        return
    did, about = ("would be removed", "about ") if dry_run else ("removed", "")
    typer.echo(
        f"{rows:,} calls without a usable answer, older than {GC_DAYS} days, {did}: {about}{freed / 1e6:,.1f} MB"
    )
