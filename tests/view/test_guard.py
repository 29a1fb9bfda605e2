"""Who may ask the page's server for what: this machine's own page, and nobody else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparring.view.guard import LARGEST
from tests.made_runs import make_star_gate
from tests.view.serving import PAGE, Site, parrots, serving

SECRET = "words-of-a-file-that-nobody-serves"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("served")
    run = make_star_gate(folder / "star", pairs=2, samples=2)
    (folder / "secret.txt").write_text(SECRET)
    (run / "secret.txt").write_text(SECRET)
    with serving(run, parrots()[0]) as site:
        yield site


def addresses() -> list[str]:
    """Addresses of this machine that are not its loopback."""
    found = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    return sorted(str(address) for address in found if not str(address).startswith("127."))


def refused_outside(site: Site, address: str) -> bool:
    try:
        socket.create_connection((address, site.port), timeout=2).close()
    except OSError:
        return True
    return False


def test_it_is_bound_to_the_loopback_and_to_nothing_else(site: Site) -> None:
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    bound = [row[1] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == site.port]
    assert bound == [f"0100007F:{site.port:04X}"]
    assert all(refused_outside(site, address) for address in addresses())


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost", "0.0.0.0:{port}", "[::1]:{port}",
     "127.0.0.1:{port}.evil.example", "localhost:{port}@evil.example", "LOCALHOST.evil:{port}", "", "127.1:{port}"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/now", "/data/1/groups.json"])
def test_another_host_is_refused(site: Site, host: str, path: str) -> None:
    answer = site.ask(path, Host=host.replace("{port}", str(site.port)))
    assert answer.status in (400, 421)
    assert "data-token" not in answer.body and "groups" not in answer.body


def test_no_host_or_two_of_them_are_refused(site: Site) -> None:
    for hosts in (b"", f"Host: {site.host}\r\nHost: evil.example\r\n".encode()):
        answer = site.raw(b"GET / HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
        assert answer.split(b" ")[1] in (b"400", b"421"), answer[:200]
    old = site.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert old.split(b" ")[1] == b"421"


def test_localhost_is_its_other_name(site: Site) -> None:
    assert site.ask("/", Host=f"localhost:{site.port}").status == 200


@pytest.mark.parametrize("path", ["/", "/now", "/data/1/groups.json"])
@pytest.mark.parametrize(
    "header, value",
    [("Origin", "https://evil.example"), ("Origin", "null"), ("Origin", "http://127.0.0.1:1"), ("Origin", ""),
     ("Sec_Fetch_Site", "cross-site"), ("Sec_Fetch_Site", "same-site"), ("Sec_Fetch_Site", "SAME-ORIGIN, none")],
)  # fmt: skip
def test_another_sites_questions_are_refused(site: Site, path: str, header: str, value: str) -> None:
    answer = site.ask(path, **{header: value})
    assert answer.status == 403
    assert "data-token" not in answer.body and "groups" not in answer.body


def test_the_origin_must_be_that_of_the_same_name(site: Site) -> None:
    assert site.ask("/now", Origin=f"http://localhost:{site.port}").status == 403
    assert site.ask("/now", Origin=f"http://{site.host}", Sec_Fetch_Site="same-origin").status == 200


@pytest.mark.parametrize("path", ["/say", "/stop", "/end"])
def test_what_changes_anything_needs_token_origin_and_json(site: Site, path: str) -> None:
    body = {"page": PAGE, "text": "hello"}
    assert site.post(path, body).status == 200
    assert site.post(path, body, X_Sparring_Token=None).status == 403
    assert site.post(path, body, X_Sparring_Token="x" * 32).status == 403
    assert site.post(path, body, X_Sparring_Token="é").status == 403
    assert site.post(path, body, Origin=None).status == 403
    assert site.post(path, body, Origin="https://evil.example").status == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None):
        assert site.post(path, body, Content_Type=kind).status == 415, kind
    assert site.ask(path).status == 405


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_refused_and_nobody_is_let_in_by_a_preflight(site: Site, method: str) -> None:
    answer = site.ask("/", method, Access_Control_Request_Method="POST")
    assert answer.status in (400, 405, 421)
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/data/1/../../secret.txt", "/data/1/%2e%2e%2fsecret.txt.json",
     "/data/1/..%2f..%2fsecret.json", "/data/1/%2fetc%2fpasswd.json", "//etc/passwd", "/secret.txt", "/run.json",
     "/journal.jsonl", "/data/", "/data/1/", "/data/1/groups", "/data/1/secret.json", "/data/0/groups.json",
     "/data/99999/groups.json", "/data/-1/groups.json", "/data/1/g0%00.json", "/data/1/..\\secret.json", "/static/",
     "/data/1/G0.json", "/data/1/g99999.json", "/data/1/g0-9999999.json", "/%2e", "/now/../secret.txt",
     "/data/１/groups.json"],
)  # fmt: skip
def test_no_path_leads_to_a_file(site: Site, path: str) -> None:
    answer = site.raw(f"GET {path} HTTP/1.1\r\nHost: {site.host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ")[1] in (b"400", b"404"), answer[:200]
    assert SECRET.encode() not in answer and b"root:" not in answer
    assert b"Traceback" not in answer and b"/tmp" not in answer


def test_it_is_no_proxy(site: Site) -> None:
    for target in (b"http://evil.example/", f"http://{site.host}/".encode()):
        answer = site.raw(b"GET " + target + f" HTTP/1.1\r\nHost: {site.host}\r\nConnection: close\r\n\r\n".encode())
        assert answer.split(b" ")[1] in (b"400", b"421"), answer[:100]


ASKED = [("/", None), ("/now", None), ("/data/1/groups.json", None), ("/none", None), ("/", "evil.example")]


@pytest.mark.parametrize("path, host", ASKED)
def test_every_answer_has_the_headers(site: Site, path: str, host: str | None) -> None:
    headers = site.ask(path, Host=host or site.host).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert headers["server"] == "sparring"
    assert not [name for name in headers if name.startswith("access-control")]


def test_the_page_forbids_all_scripts_but_its_own(site: Site) -> None:
    body = site.ask("/").body
    policy = body.partition('http-equiv="Content-Security-Policy"')[2].partition(">")[0]
    assert "default-src" in policy and "unsafe" not in policy and "sha256-" in policy


def test_what_is_too_large_or_no_message_is_refused_without_a_word_of_how(site: Site) -> None:
    assert site.post("/say", {"page": PAGE, "text": "x" * LARGEST}).status == 413
    assert site.post("/say", {"page": PAGE, "text": "x" * 20_001}).status == 400
    for body in ("", "{", "[]", "null", "[" * 20_000, '{"page": 3, "text": "a"}', '{"page": "../../x", "text": "a"}',
                 f'{{"page": "{PAGE}", "text": 3}}', f'{{"page": "{PAGE}"}}'):  # fmt: skip
        answer = site.post("/say", body)
        assert answer.status == 400, body[:40]
        assert "Traceback" not in answer.body and ".py" not in answer.body and len(answer.body) < 200


def test_each_start_has_a_token_of_its_own(site: Site, tmp_path: Path) -> None:
    with serving(make_star_gate(tmp_path / "star", pairs=1, samples=1)) as other:
        assert other.token != site.token and len(other.token) >= 32
        assert other.post("/stop", {"page": PAGE}, X_Sparring_Token=site.token).status == 403
