"""URLs of stores, as they may be shown."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit


def masked(url: str) -> str:
    """`url` without its passwords, for logs and banners."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    query = parts.query
    if "password" in query:
        named = parse_qsl(query, keep_blank_values=True)
        query = urlencode(
            [(name, "***" if "password" in name else value) for name, value in named], safe="*/", quote_via=quote
        )
    elif not colon:
        return url
    return urlunsplit(parts._replace(netloc=f"{user}{':***' if colon else ''}{at}{hosts}", query=query))
