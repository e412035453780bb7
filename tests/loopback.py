"""A web server on 127.0.0.1 that misbehaves on request: it cuts the line, lies about lengths, redirects, and so on."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """``answer[path]`` handles requests for a path; ``log`` holds (path, first byte asked for)."""

    def __init__(self) -> None:
        self.answer: dict[str, Callable[[BaseHTTPRequestHandler, int], None]] = {}
        self.log: list[tuple[str, int]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
                outer.log.append((self.path, start))
                self.close_connection = True
                outer.answer.get(self.path, refuse(404))(self, start)

            def log_message(self, *arguments: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, address: object) -> None:
                pass  # clients that are killed on purpose

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, object], body: bytes = b"") -> None:
    handler.send_response(status)
    for name, value in {"Connection": "close", **headers}.items():
        handler.send_header(name, str(value))
    handler.end_headers()
    handler.wfile.write(body)


def whole(
    data: bytes, ranges: bool = True, stop: Callable[[], int | None] = lambda: None, kind="application/octet-stream"
):
    """The file, from the byte asked for; ``stop`` says after how many bytes of this answer the line is cut."""

    def answer(handler: BaseHTTPRequestHandler, start: int) -> None:
        start = start if ranges else 0
        if start >= len(data) and start:
            return send(handler, 416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": 0})
        body, n = data[start:], stop()
        headers: dict[str, object] = {"Content-Length": len(body), "Content-Type": kind}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        send(handler, 206 if start else 200, headers, body if n is None else body[:n])

    return answer


def refuse(status: int, headers: dict[str, object] | None = None):
    return lambda handler, start: send(handler, status, {"Content-Length": 0, **(headers or {})})


def first(*answers):
    """One answer after the other; the last for ever."""
    rest = list(answers)

    def answer(handler, start):
        (rest.pop(0) if len(rest) > 1 else rest[0])(handler, start)

    return answer
