"""From what a person names to a session with it."""

from __future__ import annotations

from pathlib import Path

from sparring.chat.asking import Asking
from sparring.chat.correcting import Correcting
from sparring.chat.partner import Partner
from sparring.chat.plain import Plain
from sparring.chat.records import of_export, of_run, of_world
from sparring.chat.searching import Searching
from sparring.chat.session import Session, Tell
from sparring.errors import RunError, SettingsError
from sparring.export.speech import FILE
from sparring.runs import Run, seed_folders
from sparring.worlds import world_of

SESSIONS: dict[str, type[Session]] = {"star-gate": Asking, "tripost": Correcting, "spar": Searching, "": Plain}


def open_session(what: str, *, tell: Tell, compare: bool = False, round: int | None = None) -> Session:
    """Open a session with a run's model, a checkpoint inside a run, an exported folder, or any engine by its name.

    `round` picks another round of a run than the last, or than the one rolled back to. With `compare`, m_0 is shown
    beside the model all along. Raises UsageError for what cannot be talked to.
    """
    partner = partner_of(what, round)
    if compare and not partner.base:
        raise SettingsError(f"{what}: there is no m_0 to compare with")
    return SESSIONS[partner.recipe](partner, tell, compare)


def partner_of(what: str, round: int | None = None) -> Partner:
    """Return who is meant. Raises UsageError."""
    path = Path(what).expanduser()
    if (path / "run.json").is_file() or seed_folders(path):
        return of_run(Run(path), round)
    if path.is_dir() and (around := _run_around(path)):
        if round is not None:
            raise SettingsError(
                f"--round {round}: {path} is of one round already; name the run, {around}, to pick another"
            )
        return of_run(Run(around), _round_in(path, around))
    if round is not None:
        raise SettingsError(f"--round {round}: {what!r} is no run directory, so it has no rounds")
    if (path / FILE).is_file():
        return of_export(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise RunError(f"{path} is no run directory (no run.json) and holds no model (no config.json)")
        return Partner(f"hf:{path}", f"{path}: a model without a recipe that we know, so plain chat.")
    return _by_name(what)


def _by_name(what: str) -> Partner:
    """Return the model that an engine's name names; an embedded one is talked to in its world's words."""
    world = world_of(what)
    if world and what == f"world:{world.name}/policy":
        return of_world(world, world.recipes[0])
    if ":" not in what:
        raise RunError(
            f"there is no {what!r} here; name a run directory, a checkpoint, an exported folder, or an engine: hf:ID"
        )
    return Partner(what, f"{what}: a model without a recipe that we know, so plain chat.")


def _run_around(path: Path) -> Path | None:
    """Return the run directory that a checkpoint lies in."""
    folder = path.resolve()
    is_model = (folder / "config.json").is_file()
    around = next((up for up in folder.parents if (up / "run.json").is_file()), None)
    return around if is_model else None


def _round_in(path: Path, run: Path) -> int:
    name = path.resolve().relative_to(run).parts[0]
    number = name.removeprefix("round-")
    if not number.isdigit():
        raise RunError(f"{path} lies in the run {run}, but in no round of it")
    return int(number)
