"""A scraper that may take days: a flow for each site, a job for each page, and no host is asked more often than its robots.txt allows."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin, urlsplit
from urllib.request import urlopen
from urllib.robotparser import RobotFileParser

from windlass import Context, Depends, Flow, Limit, RetryAfter, Windlass

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


def host(address: str) -> str:
    """Whose page it is."""
    return urlsplit(address).netloc


@app.flow(name="scraper.crawl")
async def crawl(start: str, book: Path, flow: Flow = Depends(), ctx: Context = Depends()) -> int:
    """Visit a page, then those of its host that it leads to, and so on; answers how many there are."""
    robots = RobotFileParser()
    robots.parse((await flow.step(read_robots, start)).splitlines())
    todo, known = [start], {start}
    while todo:
        ctx.progress(len(known) - len(todo), len(known))
        found = await flow.gather(*[flow.run(visit.bind(address, pause(robots), book)) for address in todo])
        links = {link for page in found for link in page if host(link) == host(start) and robots.can_fetch("*", link)}
        todo = sorted(links - known)
        known |= links
    return len(known)


@app.task(name="scraper.visit", limits=[Limit("host", running=1, key=host)])
def visit(address: str, pause: float, book: Path, ctx: Context = Depends()) -> list[str]:
    """Write address and title of a page into a file; answers where it leads. Its host is left alone for `pause` seconds then."""
    ctx.pause_limit("host", pause)
    try:
        with urlopen(address, timeout=30) as answer:
            page = Page(answer.read().decode())
    except HTTPError as error:
        if error.code == 429:
            raise RetryAfter(int(error.headers["Retry-After"]), limit="host") from None
        ctx.log(f"{address}: {error}", level="warning")
        return []
    with book.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"address": address, "title": page.title}) + "\n")
    return [urljoin(address, link) for link in page.links]


def read_robots(start: str) -> str:
    """The robots.txt of a host; "" when it has none."""
    try:
        with urlopen(urljoin(start, "/robots.txt"), timeout=30) as answer:
            return str(answer.read(), "utf-8")
    except HTTPError as error:
        if error.code == 404:
            return ""
        raise


def pause(robots: RobotFileParser) -> float:
    """Seconds between two requests."""
    delay, rate = robots.crawl_delay("*"), robots.request_rate("*")
    return float(delay or (rate.seconds / rate.requests if rate else 1.0))
