"""Pushing to a Hub that is a server of ours: no network, and what it was sent is looked at."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sparring.errors import SettingsError
from sparring.export import data, export
from sparring.export.hub import named, push
from tests.export.conftest import Made

TOKEN = "hf_not_a_real_token"


class Hub(ThreadingHTTPServer):
    """What of the Hub's API a push calls."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.seen: list[tuple[str, str, Any]] = []
        self.tokens: set[str | None] = set()
        self.status = 200
        self.is_private = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self) -> dict[str, bytes]:
        [body] = [body for _, path, body in self.seen if "/commit/" in path]
        return {row["value"]["path"]: base64.b64decode(row["value"]["content"]) for row in body if row["key"] == "file"}


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.answer({"id": "ada/asker", "private": self.server.is_private}, self.server.status)

    def do_POST(self) -> None:
        hub = self.server
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        lines = [json.loads(line) for line in text.splitlines() if line]
        body: Any = lines if "/commit/" in self.path else (lines[0] if lines else {})
        hub.seen.append(("POST", self.path, body))
        hub.tokens.add(self.headers.get("Authorization"))
        if hub.status != 200:
            self.answer({"error": "you may not"}, hub.status)
        elif self.path == "/api/repos/create":
            self.answer({"url": f"{hub.url}/{body.get('organization') or 'ada'}/{body['name']}"})
        elif "/preupload/" in self.path:
            files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in body["files"]]
            self.answer({"files": files})
        else:
            told = {"success": True, "commitOid": "0" * 40, "commitUrl": f"{hub.url}/ada/x/commit/{'0' * 40}"}
            self.answer({**told, "hookOutput": ""})

    def answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def pushed(
    folder: Path, repo: str, endpoint: str, private: bool = False, **more: str
) -> subprocess.CompletedProcess[str]:
    """Push in a process of its own: huggingface_hub reads its environment when it is imported."""
    code = "import sys; from pathlib import Path; from sparring.export import push\n"
    code += "from sparring.errors import SparringError\n"
    code += f"try: print(push(Path({str(folder)!r}), {repo!r}, private={private}))\n"
    code += "except SparringError as e: print(type(e).__name__, e); sys.exit(e.exit_status)"
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    told = {**plain, "HF_ENDPOINT": endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **more}
    return subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, timeout=120)


def test_a_model_arrives_whole_with_a_card_that_names_its_repository(made: Made, hub: Hub, tmp_path: Path) -> None:
    out = export(made("star-gate"), tmp_path / "out")
    done = pushed(out, "ada/asker", hub.url, private=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ada/asker" in done.stdout
    files = hub.files()
    assert set(files) == {path.name for path in out.iterdir()}
    assert files["model.safetensors"] == (out / "model.safetensors").read_bytes()
    card = files["README.md"].decode()
    assert 'MODEL = "ada/asker"' in card and "vllm serve ada/asker --served-model-name" in card
    [created] = [body for _, path, body in hub.seen if path == "/api/repos/create"]
    assert created["name"] == "asker" and (created.get("private") or created.get("visibility") == "private")
    assert hub.tokens == {f"Bearer {TOKEN}"}


def test_what_is_to_be_private_is_not_sent_to_a_repository_that_everybody_reads(
    made: Made, hub: Hub, tmp_path: Path
) -> None:
    hub.is_private = False
    done = pushed(export(made("star-gate"), tmp_path / "out"), "ada/asker", hub.url, private=True)
    assert done.returncode == 2 and "everybody can read it" in done.stdout, done.stdout + done.stderr
    assert not [path for _, path, _ in hub.seen if "/commit/" in path]


def test_data_goes_to_a_dataset(made: Made, hub: Hub, tmp_path: Path) -> None:
    out = data(made("tripost"), tmp_path / "out")
    done = pushed(out, "ada/rows", hub.url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(path.startswith("/api/datasets/ada/rows/commit") for _, path, _ in hub.seen)
    assert b'load_dataset("ada/rows", "train")' in hub.files()["README.md"]
    assert "train/round-1.parquet" in hub.files()


@pytest.mark.parametrize(("status", "told"), [(403, "the Hub refuses ada/asker"), (401, "the Hub refuses ada/asker")])
def test_a_hub_that_refuses_is_one_clear_error_without_the_token(
    made: Made, hub: Hub, tmp_path: Path, status: int, told: str
) -> None:
    hub.status = status
    done = pushed(export(made("star-gate"), tmp_path / "out"), "ada/asker", hub.url)
    assert done.returncode == 1 and done.stdout.startswith("ServerError") and told in done.stdout
    assert TOKEN not in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_no_network_is_one_clear_error(made: Made, tmp_path: Path) -> None:
    out = export(made("star-gate"), tmp_path / "out")
    for more, told in (({}, "the Hub cannot be reached"), ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set")):
        done = pushed(out, "ada/asker", "http://127.0.0.1:9", **more)
        assert done.returncode == 1 and told in done.stdout, done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_without_a_token_nothing_is_sent(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match=r"no token to write to 'ada/asker' with\. Set HF_TOKEN"):
        push(export(made("star-gate"), tmp_path / "out"), "ada/asker")


@pytest.mark.parametrize("repo", ["asker", "a/b/c", "ada/as ker", "../etc", "ada/", "ada/x?y", ""])
def test_a_name_that_is_no_repository_is_refused(repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (tmp_path / "sparring.json").write_text('{"kind": "model"}')
    with pytest.raises(SettingsError, match="as OWNER/NAME"):
        push(tmp_path, repo)


def test_only_what_an_export_made_is_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(SettingsError, match="was not made by an export"):
        push(tmp_path, "ada/asker")


def test_a_snippet_that_needs_files_of_a_world_fetches_them() -> None:
    card = named('MODEL = "."  # this folder, with its base\n', "ada/asker")
    assert 'MODEL = snapshot_download("ada/asker")' in card
