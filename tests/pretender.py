"""A program that passes for a vLLM server, for tests of what surrounds one. It loads nothing and starts at once.

`python pretender.py serve MODEL --port PORT [--behave HOW]`, where HOW is a word or two of: fail (end before it is
ready), mute (never become ready), stubborn (take no SIGTERM). It has a child that takes no SIGTERM either. A prompt
with token 13 in it ends it at once; one with token 14 is never answered.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
ADAPTERS: dict[str, str] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.reply({"data": [{"id": name, "max_model_len": 256} for name in ("base", *ADAPTERS)]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            ADAPTERS[body["lora_name"]] = body["lora_path"]
        elif self.path == "/v1/unload_lora_adapter":
            del ADAPTERS[body["lora_name"]]
        elif 13 in body["prompt"]:
            sys.stderr.write("KernelError: thirteen is more than it can take\n")
            os._exit(7)
        elif 14 in body["prompt"]:
            threading.Event().wait()
        choice = {"token_ids": [9, 1]}
        self.reply({"choices": [choice] * body.get("n", 1), "usage": {"prompt_tokens": len(body.get("prompt", []))}})

    def reply(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("serve")
    parser.add_argument("model")
    parser.add_argument("--port", type=int)
    parser.add_argument("--behave", default="")
    args, _ = parser.parse_known_args()
    child = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    if "stubborn" in args.behave:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "fail" in args.behave:
        sys.stderr.write("".join(f"line {n}\n" for n in range(40)) + "ValueError: it would not start\n")
        sys.exit(3)
    if "mute" in args.behave:
        threading.Event().wait()
    ThreadingHTTPServer(("127.0.0.1", args.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
