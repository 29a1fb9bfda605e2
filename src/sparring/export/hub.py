"""An exported folder on the Hugging Face Hub. The token comes from the environment alone."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sparring.errors import ServerError, SettingsError
from sparring.export.speech import FILE
from sparring.files import read_json

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Variables that hold a token, the first that is set."""
SELF = {
    'MODEL = "."  # this folder, or its name on the Hub': "MODEL = {quoted}",
    'MODEL = "."  # this folder, with its base': (
        "from huggingface_hub import snapshot_download\n\nMODEL = snapshot_download({quoted})"
    ),
    'load_dataset(".", ': "load_dataset({quoted}, ",
    "vllm serve . --served-model-name": "vllm serve {repo} --served-model-name",
    "=.\n# the first ": "={repo}\n# the first ",
}
"""Lines of a card that name the folder itself, and what they are once it has a name."""


def push(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload an exported folder to `repo`, OWNER/NAME, which is made if it is not there; return its address.

    Raises SettingsError for a folder that is no export, a bad name, no token in HF_TOKEN, or a repository that is to be
    private and is not; ServerError where the Hub cannot be reached or refuses.
    """
    kind, token = kind_of(folder), ready(repo)
    from huggingface_hub import CommitOperationAdd, HfApi, errors

    transport: Any = errors.HfHubHTTPError.__bases__  # OSError, and that of whichever HTTP library it uses
    api = HfApi(token=token, library_name="sparring")
    card = (folder / "README.md").read_text(encoding="utf-8")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "README.md"]
    added = [CommitOperationAdd(path.relative_to(folder).as_posix(), path) for path in files]
    added.append(CommitOperationAdd("README.md", named(card, repo).encode()))
    try:
        made: Any = api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True)
        if private and not api.repo_info(repo, repo_type=kind).private:
            raise SettingsError(f"--private: {repo} is there already, and everybody can read it; name another")
        api.create_commit(repo, added, commit_message="Exported by Sparring", repo_type=kind)
    except errors.OfflineModeIsEnabled as error:
        raise ServerError(f"HF_HUB_OFFLINE is set, so nothing was sent to {repo}: unset it to push") from error
    except errors.HfHubHTTPError as error:
        raise ServerError(f"the Hub refuses {repo}: {_told(error, token)}") from error
    except transport as error:
        raise ServerError(f"the Hub cannot be reached for {repo}: {_told(error, token)}") from error
    return str(made)


def ready(repo: str) -> str:
    """Return the token to push with. Raises SettingsError for a bad name, or where none is set."""
    if not REPO.fullmatch(repo):
        raise SettingsError(f"push = {repo!r}: name a repository as OWNER/NAME, in letters, digits, '-', '_' and '.'")
    token = next((value for name in TOKENS if (value := os.environ.get(name, "").strip())), "")
    if not token:
        raise SettingsError(
            f"push: no token to write to {repo!r} with. Set {TOKENS[0]} to one of https://huggingface.co/settings/tokens"
        )
    return token


def kind_of(folder: Path) -> str:
    """Return what the Hub calls a folder: model or dataset. Raises SettingsError for one that is no export."""
    if not (folder / FILE).is_file():
        raise SettingsError(f"{folder} was not made by an export: it has no {FILE}")
    return "model" if read_json(folder / FILE).get("kind") == "model" else "dataset"


def named(card: str, repo: str) -> str:
    """Return a card whose snippets name the repository in place of the folder."""
    for line, there in SELF.items():
        card = card.replace(line, there.format(quoted=f'"{repo}"', repo=repo))
    return card


def _told(error: Exception, token: str) -> str:
    """Return the first line of an error, without the token."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).replace(token, "(token)")
