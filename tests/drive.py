"""A drive on 127.0.0.1 with the pages of Google Drive: confirmation, quota, folder; it cuts the line and changes files.

gdown asks fixed hosts over https. The server therefore stands behind a proxy of its own: it accepts CONNECT for these
hosts, and speaks TLS with a certificate that the tests make and trust. gdown itself is unchanged.
"""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

HOSTS = ("drive.google.com", "drive.usercontent.google.com", "docs.google.com")
CONFIRM = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p><form id="download-form" action="https://drive.usercontent.google.com/download" method="get"><input type="submit" id="uc-download-link" value="Download anyway"/><input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download"><input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="0-1"></form>
</body></html>"""
QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please try accessing the file again later.</p>
</body></html>"""
SIGN_IN = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to continue to Drive</body></html>"


def certificate(folder: Path) -> Path | None:
    """A file with a key and a certificate for the drive's hosts, or None without openssl."""
    if shutil.which("openssl") is None:
        return None
    key, cert, both = (folder / name for name in ("key.pem", "cert.pem", "both.pem"))
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=drive", "-addext", f"subjectAltName={names}", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_text(key.read_text() + cert.read_text())
    return both


class Drive:
    """``files[id]`` is (name, bytes); ``page[id]`` an HTML answer instead; ``cuts`` bytes after which lines are cut."""

    def __init__(self, pem: Path):
        self.files: dict[str, tuple[str, bytes]] = {}
        self.folders: dict[str, list[tuple[str, str]]] = {}  # id -> (id of a file, name)
        self.page: dict[str, str] = {}
        self.status: dict[str, int] = {}
        self.cuts: list[int] = []
        self.ranges = True
        self.log: list[tuple[str, int]] = []  # (path, first byte)
        outer = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                assert self.path.split(":")[0] in HOSTS, self.path
                self.send_response(200)
                self.end_headers()
                self.connection = context.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb", -1), self.connection.makefile("wb", 0)
                self.close_connection = False

            def do_GET(self) -> None:
                self.close_connection = True
                outer.answer(self, urlsplit(self.path))

            def log_message(self, *arguments: object) -> None:
                pass

            def finish(self) -> None:
                try:
                    super().finish()
                    self.connection.shutdown(socket.SHUT_RDWR)
                except (OSError, ValueError):
                    pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, address: object) -> None:
                pass

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.proxy = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, url) -> None:
        start = int((re.match(r"bytes=(\d+)-", handler.headers.get("Range", "")) or [0, 0])[1])
        self.log.append((url.path, start))
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        found = query.get("id", "")
        if url.path == "/embeddedfolderview":
            links = "".join(f'<a href="https://drive.google.com/file/d/{i}/view?usp=drive_web">{name}</a>'
                            for i, name in self.folders.get(found, []))  # fmt: skip
            return self.html(handler, f"<html><head><title>folder</title></head><body>{links}</body></html>")
        if found in self.status:
            return self.html(handler, "<html>error</html>", self.status[found])
        if found in self.page:
            return self.html(handler, self.page[found])
        if found not in self.files:
            return self.html(handler, "<html>not found</html>", 404)
        if url.path == "/uc":
            return self.html(handler, CONFIRM.format(id=found))
        name, data = self.files[found]
        self.send(handler, name, data, start if self.ranges else 0)

    def html(self, handler: BaseHTTPRequestHandler, text: str, status: int = 200) -> None:
        body = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "text/html; charset=utf-8")
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body)

    def send(self, handler: BaseHTTPRequestHandler, name: str, data: bytes, start: int) -> None:
        body = data[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Content-Disposition", f'attachment; filename="{name}"')
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
