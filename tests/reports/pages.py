"""Reads a report's page as a reader would: its tags, its addresses, and its numbers by place."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "img", "source", "br"}
UNSEEN = {"style", "title", "head"}
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?")


class Page(HTMLParser):
    """What a page holds; asserts that its tags are balanced.

    ``shown`` is each piece of text with the path of the JSON object that it comes from: the value
    of the nearest ``data-of`` around it, or nothing. Text under ``data-words`` explains and
    measures nothing; it is not in ``shown``.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[tuple[str, dict[str, str | None]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.loads: list[str] = []
        self.shown: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        for name, value in attrs:
            assert not name.startswith("on"), "no script in attributes"
            if name in {"src", "srcset", "data", "action"} or (name == "href" and tag != "a"):
                self.loads.append(value or "")
        if tag not in VOID:
            self.stack.append((tag, found))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if UNSEEN & {tag for tag, _ in self.stack} or not data.strip():
            return
        self.words.append(data)
        if any("data-words" in attributes for _, attributes in self.stack):
            return
        places = [attributes["data-of"] for _, attributes in self.stack if "data-of" in attributes]
        self.shown.append((places[-1] or "" if places else "", data))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def spellings(value: Any) -> set[str]:
    """Return every spelling of every number in a JSON value that a page may show."""
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, int | float):
        size = abs(value)
        return {
            str(size),
            f"{size:g}",
            f"{size:.1f}",
            f"{size:.2f}",
            f"{size:.3f}",
            f"{size * 100:.2f}",
            f"{size * 100:.0f}",
            f"{size * 100:g}",
        }
    if isinstance(value, str):
        return set(NUMBER.findall(value.replace("..", " ")))
    if isinstance(value, dict):
        # A key such as "p95" is a name.
        return set().union(*(spellings(item) for item in value.values()))
    return set().union(*(spellings(item) for item in value))


def part(whole: Any, path: str) -> Any:
    """Return the value of a JSON document at a path such as ``cells.3``."""
    for step in filter(None, path.split(".")):
        whole = whole[int(step)] if isinstance(whole, list) else whole[step]
    return whole


def not_in_json(page: Page, whole: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the numbers of a page, each with its place, that do not stand in the JSON there.

    Outside rows and items of one JSON object a number may stand anywhere in the document.
    """
    known: dict[str, set[str]] = {}
    found = []
    for place, text in page.shown:
        # What a column is called is no measurement.
        plain = text.replace("..", " ").replace("95\xa0%", "").replace("95 % interval", "")
        for number in NUMBER.findall(plain):
            if place not in known:
                known[place] = spellings(part(whole, place))
            if number not in known[place]:
                found.append((place, number))
    return found
