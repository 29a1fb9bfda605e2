"""`sparring view` answers to its own page alone: not to other machines, other names for it, or other sites."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.browser.hostile import PAYLOADS
from tests.browser.serving import served
from tests.browser.tab import Tab
from tests.made_runs import make_star_gate

SECRET = "nobody but this machine may read this"
TOKEN = "X-Sparring-Token"
REFUSED = {400, 403, 404, 405, 411, 413, 415, 421}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose settings hold a secret, with a file beside it that nobody is to have."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "beside.txt").write_text(SECRET)
    return make_star_gate(folder / "run", text=lambda place, n, plain: SECRET if place == "setting" else plain)


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    with served(run) as found:
        yield found


@pytest.fixture(scope="module")
def token(address: str) -> str:
    found = re.search(r'data-token="([^"]+)"', ask(address, "GET", "/")[2])
    assert found
    return found[1]


def ask(
    address: str, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None
) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body of what is answered; Host is that of the address where none is given."""
    at = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": at.netloc, **(headers or {})}.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body.encode() if body is not None else None)
    response = connection.getresponse()
    said = response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode("utf-8", "replace")
    connection.close()
    return said


def own(address: str, token: str) -> dict[str, str]:
    """Return the headers with which the page itself posts."""
    origin = address.rstrip("/")
    return {"Origin": origin, "Content-Type": "application/json", TOKEN: token, "Sec-Fetch-Site": "same-origin"}


# Who can reach it


def test_it_listens_on_this_machines_loopback_alone(address: str) -> None:
    port = urlsplit(address).port
    assert urlsplit(address).hostname == "127.0.0.1"
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:] + Path("/proc/net/tcp6").read_text().splitlines()[1:]
    bound = [
        line.split()[1] for line in listening if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert bound == [f"0100007F:{port:04X}"]


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "localhost.evil.example:{port}"),
        *(
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:{port}.evil.example",
            "evil.example#127.0.0.1:{port}",
            "0.0.0.0:{port}",
        ),
        *(
            "[::1]:{port}",
            "2130706433:{port}",
            "127.1:{port}",
            "user@127.0.0.1:{port}",
            "",
            " ",
            "127.0.0.1:{port}, evil",
        ),
    ],
)
def test_another_name_for_this_machine_is_refused(host: str, address: str) -> None:
    """What a page of another site does that has its own name point here."""
    status, _, body = ask(address, "GET", "/", {"Host": host.format(port=urlsplit(address).port)})
    assert status in REFUSED
    assert SECRET not in body


def test_two_hosts_or_none_are_refused(address: str) -> None:
    at = urlsplit(address)
    for lines in (f"Host: {at.netloc}\r\nHost: evil.example\r\n", "", f"Host: evil.example\r\nHost: {at.netloc}\r\n"):
        with socket.create_connection(("127.0.0.1", at.port or 0), timeout=20) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
            said = b"".join(iter(lambda: connection.recv(65536), b"")).decode("utf-8", "replace")
        assert int(said.split()[1]) in REFUSED
        assert SECRET not in said


def test_both_names_of_the_loopback_are_its_own(address: str) -> None:
    port = urlsplit(address).port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert ask(address, "GET", "/", {"Host": host})[0] == 200


# What can be asked of it


@pytest.mark.parametrize(
    "path",
    [
        *("/../beside.txt", "/data/../../beside.txt", "/data/1/../../../beside.txt", "/%2e%2e/beside.txt"),
        *("/data/1/%2e%2e%2f%2e%2e%2fbeside.json", "/data/1/..%5c..%5cbeside.json", "//etc/passwd", "/etc/passwd"),
        *("/data/1//etc/passwd.json", "/data/1/groups.json/../../../beside.txt", "/data/1/groups%00.json"),
        *(
            "/run.json",
            "/.progress.json",
            "/.lock",
            "/round-1/train.jsonl",
            "/static/",
            "/data/",
            "/data/1/",
            "/beside.txt",
        ),
        *("/data/-1/groups.json", "/data/99999999999/groups.json", "/data/1/g0-99999999999.json", "/data/1/G0.json"),
        "http://evil.example/",
    ],
)
def test_no_path_leads_to_a_file(path: str, address: str) -> None:
    status, _, body = ask(address, "GET", path)
    assert status in REFUSED
    assert SECRET not in body
    assert "Traceback" not in body


@pytest.mark.parametrize("name", PAYLOADS)
def test_whatever_stands_in_a_path_or_a_query_is_refused_in_words_of_ours(name: str, address: str) -> None:
    text = quote(PAYLOADS[name].encode("utf-8", "surrogatepass"), safe="")
    for path in (f"/{text}", f"/data/1/{text}.json", f"/data/{text}/groups.json", f"/now?edition={text}"):
        status, headers, body = ask(address, "GET", path)
        assert status in REFUSED or (status == 200 and (path.startswith("/now") or not text))
        assert "<" not in body or headers["content-type"].startswith("application/json") or not text
        assert "Traceback" not in body


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_refused(method: str, address: str, token: str) -> None:
    status, headers, _ = ask(address, method, "/", own(address, token))
    assert status in REFUSED
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", ["/", "/now", "/data/1/groups.json", "/nothing", "/say"])
def test_every_answer_forbids_framing_guessing_and_keeping(path: str, address: str) -> None:
    _, headers, _ = ask(address, "GET", path)
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert "python" not in headers["server"].lower()


@pytest.mark.parametrize(
    "without",
    [
        *({TOKEN: ""}, {TOKEN: "x" * 32}, {TOKEN: "\xe9"}, {"Origin": "http://evil.example"}, {"Origin": "null"}),
        *(
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"Host": "evil.example"},
        ),
        *(
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://localhost.evil.example"},
        ),
    ],
    ids=str,
)
def test_a_talk_is_begun_by_the_page_alone(without: dict[str, str], address: str, token: str) -> None:
    said = json.dumps({"page": "0123456789abcdef", "text": "hello"})
    for path in ("/say", "/stop", "/end"):
        assert ask(address, "POST", path, own(address, token) | without, said)[0] in REFUSED


@pytest.mark.parametrize(
    "body",
    [
        *("", "{", "[]", "null", "7", '"x"', '{"page": 1}', '{"page": "../../../etc/passwd", "text": "x"}'),
        *(
            '{"page": "0123456789abcdef", "text": 7}',
            "[" * 20_000,
            '{"page": "0123456789abcdef", "text": "\\ud800"}' * 2,
        ),
        json.dumps({"page": "0123456789abcdef", "text": "x" * 20_001}),
        json.dumps({"page": "0123456789abcdef", "text": "x" * 100_000}),
    ],
    ids=lambda body: f"{body[:30]}{len(body)}",
)
def test_what_is_no_message_is_refused(body: str, address: str, token: str) -> None:
    status, _, said = ask(address, "POST", "/say", own(address, token), body)
    assert status in REFUSED
    assert "Traceback" not in said


# Other sites

ATTACK = Path(__file__).with_name("attack.html").read_text(encoding="utf-8")


@contextmanager
def another_site(page: str) -> Generator[str]:
    """A server on another port of this machine: to a browser, another origin."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_another_site_reads_and_changes_nothing(name: str, address: str, tab: Callable[..., Tab]) -> None:
    there = address.replace("127.0.0.1", name)
    one = tab()
    with another_site(ATTACK.replace("THERE", there)) as site:
        one.may_ask(there)
        page = one.open(site)
        answers: list[tuple[str, int]] = []
        page.on("response", lambda answer: answers.append((answer.request.method, answer.status)))
        page.locator("body[data-tried]").wait_for(timeout=30_000)
        page.evaluate("document.getElementById('form').submit()")
        page.wait_for_timeout(500)
        assert page.evaluate("got") == []
        assert page.evaluate("seen(document.getElementById('frame'))") is None
        assert all(SECRET not in frame.content() for frame in page.frames)
        assert [status for method, status in answers if method == "POST" and status not in REFUSED] == []


def test_a_page_of_another_site_cannot_hold_on_to_one_that_it_opened(address: str, tab: Callable[..., Tab]) -> None:
    one = tab()
    with another_site("<!doctype html><title>evil</title>") as site:
        one.may_ask(address)
        page = one.open(site)
        page.evaluate("there => { window.opened = window.open(there) }", address)
        page.wait_for_timeout(1000)
        assert page.evaluate("window.opened === null || window.opened.closed || window.opened.length === 0")
        read = "(() => { try { return window.opened?.document?.body?.textContent ?? '' } catch { return '' } })()"
        assert SECRET not in page.evaluate(read)


def test_the_page_itself_may_read_and_talk(address: str, tab: Callable[..., Tab]) -> None:
    """So that what is refused above is refused for what it is."""
    one = tab()
    page = one.open(address)
    page.locator(".detail .parts > *").first.wait_for()
    page.locator("#chat-text").fill("hello")
    page.locator("#chat-text").press("Enter")
    page.locator("#chat-hint", has_text="over").wait_for(timeout=60_000)
    assert one.strange == []
