"""A site to crawl, on this machine: `python site.py FD PAGES` serves it, and tells what it was asked for: /log."""

from __future__ import annotations

import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROBOTS = "User-agent: *\nDisallow: /private/\nRequest-rate: 50/1\n"
BUSY = "/page/7"
"""Is refused at first, for a second."""
log: list[tuple[float, str]] = []
"""When (in seconds) it was asked for which path."""


class Page(BaseHTTPRequestHandler):
    """Page n links to the pages 2n and 2n + 1, to its parent, and to one that robots.txt keeps for people."""

    pages = 300

    def do_GET(self) -> None:
        """Answer one request."""
        refused = self.path == BUSY and all(path != BUSY for _, path in log)
        log.append((time.monotonic(), self.path))
        if refused:
            self.send_response(429)
            self.send_header("Retry-After", "1")
            self.end_headers()
        elif self.path == "/robots.txt":
            self._answer(ROBOTS, "text/plain")
        elif self.path == "/log":
            self._answer(json.dumps(log), "application/json")
        else:
            number = int(self.path.rpartition("/")[2] or 1)
            links = [one for one in (number // 2, 2 * number, 2 * number + 1) if 0 < one <= self.pages]
            body = "".join(f'<a href="/page/{one}">page {one}</a>' for one in links)
            self._answer(f'<title>Page {number}</title>{body}<a href="/private/{number}">private</a>', "text/html")

    def _answer(self, text: str, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Page.pages = int(sys.argv[2])
    with ThreadingHTTPServer(("127.0.0.1", 0), Page, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = socket.socket(fileno=int(sys.argv[1]))
        server.serve_forever()
