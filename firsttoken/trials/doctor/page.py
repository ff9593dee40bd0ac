"""The doctor's report, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from firsttoken.core.words import ExitCode
from firsttoken.trials.doctor.facts import Facts
from firsttoken.trials.doctor.findings import TITLES, Checklist, Finding, Level, worst
from firsttoken.trials.doctor.ours import PACKAGED

WIDTH = 100
"""Columns at most."""

_LEVEL, _NUMBER = 6, 3


def exit_code(findings: Sequence[Finding]) -> ExitCode:
    """Return 1 where anything failed, else 0: a warning is no failure."""
    return ExitCode.FAIL if worst(findings) is Level.FAIL else ExitCode.PASS


def lines(facts: Facts, findings: Sequence[Finding], seconds: float) -> Iterator[str]:
    """Yield the report as plain lines, list by list; the numbers are the guide's."""
    name_width = max((len(each.name) for each in findings), default=0) + 2
    indent = 2 + _LEVEL + _NUMBER + name_width
    yield f"settings {', '.join(facts.settings.names) or PACKAGED}" + (
        f"   router {facts.router.url}" if facts.router is not None else ""
    )
    for checklist in Checklist:
        found = [each for each in findings if each.item.checklist is checklist]
        if not found:
            continue
        yield ""
        yield TITLES[checklist]
        for each in sorted(found, key=lambda one: one.item.number or 99):
            number = str(each.item.number or "")
            head = f"  {each.level:<{_LEVEL}}{number:<{_NUMBER}}{each.name:<{name_width}}"
            yield from _wrapped(head, each.found, indent)
            if each.fix:
                yield from _wrapped(" " * indent + "fix: ", each.fix, indent + 5)
    counts = Counter(each.level for each in findings)
    yield ""
    yield ", ".join(f"{counts[level]} {level}" for level in Level) + f"   in {seconds:.1f} s"


def _wrapped(head: str, text: str, indent: int) -> list[str]:
    # Values of settings and servers may hold what a terminal takes for a command.
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return textwrap.wrap(
        clean,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_json(facts: Facts, findings: Sequence[Finding], seconds: float) -> str:
    """Return the report as one JSON object."""
    counts = Counter(each.level for each in findings)
    return json.dumps(
        {
            "settings": list(facts.settings.names),
            "router": facts.router.url if facts.router is not None else None,
            "level": worst(findings),
            "exit_code": int(exit_code(findings)),
            "counts": {str(level): counts[level] for level in Level},
            "seconds": round(seconds, 1),
            "findings": [each.as_dict() for each in findings],
        },
        ensure_ascii=False,
        indent=2,
    )
