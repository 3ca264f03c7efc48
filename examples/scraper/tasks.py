"""A scraper that may take days: it goes on where it was, keeps to robots.txt, and remembers what is still to be visited."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import urlopen
from urllib.robotparser import RobotFileParser

from windlass import Context, Depends, Windlass

app = Windlass(name="scraper")


class Page(HTMLParser):
    """What is wanted of a page: its title, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.title, self.links, self._in_title = "", list[str](), False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]

    def handle_data(self, data: str) -> None:
        self.title += data if self._in_title else ""


def walk(start: str, place: dict[str, Any] | None) -> Iterator[tuple[dict[str, Any], tuple[str, Page]]]:
    """The pages of a site from one on, or from a place on; with each the place behind it."""
    robots = RobotFileParser(urljoin(start, "/robots.txt"))
    robots.read()
    rate = robots.request_rate("*")
    todo, known = (place["todo"], set(place["known"])) if place else ([start], {start})
    while todo:
        address = todo.pop(0)
        with urlopen(address, timeout=30) as answer:
            page = Page(answer.read().decode())
        for link in (urljoin(address, one) for one in page.links):
            if link not in known and urlsplit(link).netloc == urlsplit(start).netloc and robots.can_fetch("*", link):
                known.add(link)
                todo.append(link)
        yield {"todo": todo, "known": sorted(known)}, (address, page)
        time.sleep(rate.seconds / rate.requests if rate else 0.0)


@app.task(name="scraper.crawl", timeout="7d", crash_limit=1000)
def crawl(start: str, book: Path, ctx: Context = Depends()) -> int:
    """Write address and title of each page of a site into a file; answers how many pages this run visited."""
    visited = 0
    with book.open("a", encoding="utf-8") as lines:
        for address, page in ctx.iterate(lambda place: walk(start, place), every="0.2s"):
            lines.write(json.dumps({"address": address, "title": page.title}) + "\n")
            lines.flush()
            visited += 1
            ctx.progress(visited, message=address)
    return visited
