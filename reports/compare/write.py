"""Writes a comparison to a folder: JSON, HTML and Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment

from reports import files, render, text
from reports.compare import figure
from reports.compare.build import as_dict
from reports.compare.difference import by_weight
from reports.compare.model import Compared, Comparison
from reports.compare.words import chance, dependence, interval, signed, summary, word
from reports.templating import environment

CAPTION = (
    "Above: how far each figure of the candidate lies from the reference's; the shaded band is the "
    "minimum effect. Round and blue: faster; diamond and orange: slower; a bar: no difference "
    "shown; a cross: too few. Below: the share of requests whose first token had come; a curve "
    "that ends below the top: the rest failed, or got no first token."
)


class Drawn(NamedTuple):
    """The picture of one pair as the page holds it; None: there was nothing to draw."""

    page: str | None
    phone: str | None


def json_text(found: Comparison) -> str:
    """Return ``compare.json``."""
    return files.json_text(as_dict(found))


def _environment() -> Environment:
    made = environment()
    made.filters.update(
        # Jinja's own makes the rest lower case, TTFT too.
        capitalize_first=lambda words: words[:1].upper() + words[1:],
        number=text.number,
        signed=signed,
        interval=lambda item: interval(item) or text.MISSING,
        word=word,
    )
    made.globals.update(
        by_weight=by_weight, summary=summary, chance=chance, dependence=dependence, caption=CAPTION
    )
    return made


def _picture(pair: Compared, target_ms: float) -> Drawn:
    addresses = []
    for width in (figure.PAGE_WIDTH, figure.PHONE_WIDTH):
        drawn = figure.figure(pair, width, target_ms)
        addresses.append(
            None if drawn is None else render.data_uri(render.svg(drawn), "image/svg+xml")
        )
    return Drawn(*addresses)


def html(found: Comparison) -> str:
    """Return the page: one file, no script, nothing fetched."""
    pictures = [_picture(pair, found.target_ms) for pair in found.pairs]
    page = _environment().get_template("compare.html.j2")
    return page.render(found=found, pairs=list(zip(found.pairs, pictures, strict=True)))


def markdown(found: Comparison) -> str:
    """Return the comparison as GitHub-flavoured Markdown."""
    return _environment().get_template("compare.md.j2").render(found=found)


def write_all(found: Comparison, folder: Path) -> None:
    """Write ``compare.json``, ``compare.md`` and ``compare.html``, each whole or not at all.

    Raises:
        UserError: the folder cannot be written.
    """
    contents = {
        "compare.json": json_text(found),
        "compare.md": markdown(found),
        "compare.html": html(found),
    }
    files.put_all(folder, contents, f"cannot write the comparison to {folder}")
