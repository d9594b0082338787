"""A webhook receiver as a process: `python receiver.py LOG`. Keeps every request as it came, a JSON line each.

One event in thirty is answered with 500 the first time, so that redelivery is always part of a run.
"""

import base64
import json
import os
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_lock = threading.Lock()
_refused: set[tuple[str, str]] = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        key = (self.path, headers.get("webhook-id", ""))
        with _lock:
            refuse = zlib.crc32(key[1].encode()) % 30 == 0 and key not in _refused
            if refuse:
                _refused.add(key)
            line = {
                "path": self.path, "headers": headers, "body": base64.b64encode(body).decode(), "at": time.time(),
                "status": 500 if refuse else 200,
            }  # fmt: skip
            self.server.log.write(json.dumps(line) + "\n")
            self.server.log.flush()
        self.send_response(line["status"])
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def end_with_caller() -> None:
    """End when standard input does: whoever started this is gone, however it went."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_caller, daemon=True).start()
    with Path(sys.argv[1]).open("a", encoding="utf-8") as log, Server(("127.0.0.1", 0), Handler) as server:
        server.log = log
        print(server.server_address[1], flush=True)
        server.serve_forever()
