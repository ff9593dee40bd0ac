"""The templates of the pages, and what must not break out of one."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from reports import text


def markdown_cell(value: object) -> str:
    """Return text that cannot end a Markdown cell or line, nor bring in HTML."""
    plain = " ".join(str(value).split())
    return plain.replace("|", "\\|").replace("<", "&lt;")


def environment() -> Environment:
    """Return the templates of ``reports/templates``, with the filters that all of them use.

    HTML is escaped, and a name that is not known is an error.
    """
    made = Environment(
        loader=PackageLoader("reports"),
        autoescape=select_autoescape(["html.j2", "html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        cell=markdown_cell,
        missing=lambda value: text.MISSING if value is None else value,
    )
    return made
