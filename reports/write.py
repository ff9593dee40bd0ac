"""Writes a report beside its run: JSON, HTML, Markdown, JUnit and figures."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment

from firsttoken.core.errors import UserError
from firsttoken.core.words import Verdict, worst
from reports import bars, figures, files, render, side_by_side, terminal, text
from reports.answers import HEADLINES, level_rows
from reports.build import Report
from reports.phases import PHASES
from reports.templating import environment
from reports.verdict import KINDS, MAX_STEAL_SHARE, MAX_THROTTLED_SHARE, Check, sentence

VERDICT_WORDS: dict[Verdict, str] = {
    Verdict.PASS: "The targets are met.",
    Verdict.FAIL: "A target is missed.",
    Verdict.INCONCLUSIVE: "The records do not show whether the targets are met.",
    Verdict.UNTRUSTED: "The measurement itself was disturbed: its figures are not to be trusted.",
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture as the page holds it; the addresses are None where there was nothing to draw."""

    name: str
    title: str
    caption: str
    absent: str
    page: str | None
    phone: str | None


def json_text(report: Report) -> str:
    """Return ``report.json``."""
    return files.json_text(report.as_dict())


def _measured(check: Check) -> str:
    """Return a check's figure with its interval."""
    unit = KINDS[check.name].unit
    return text.measured(check.value, check.ci_low, check.ci_high, unit)


def _environment() -> Environment:
    made = environment()
    made.filters.update(
        ms=lambda value: text.number(value, "ms"),
        percent=lambda value: text.quantity(value, "share"),
        interval=lambda item: text.interval(item.ci_low, item.ci_high, "ms"),
        share_interval=lambda item: text.interval(item.ci_low, item.ci_high, "share"),
        target=lambda value, unit: text.quantity(value, unit, short=True),
        measured=_measured,
    )
    made.globals.update(
        symbol=text.SYMBOL,
        shares=terminal.shares,
        join_words=terminal.join_words,
        users=text.users,
        kinds=KINDS,
        phases=PHASES,
        headline=headline,
        level_rows=level_rows,
        strip=_strip,
        line_label=bars.label,
        lengths=bars.lengths,
        longest_ms=bars.longest_ms,
        phase_css=bars.phase_css,
        max_steal=text.quantity(MAX_STEAL_SHARE, "share", short=True),
        max_throttled=text.quantity(MAX_THROTTLED_SHARE, "share", short=True),
    )
    return made


def _rendered(report: Report, template: str, **more: Any) -> str:
    page = _environment().get_template(template)
    whole = report.as_dict()
    return page.render(report=report, run=whole["run"], usage=report.host, **more)


def _strip(report: Report) -> bars.Strip:
    """Return what the page's first figure shows."""
    return bars.strip(
        report.cells,
        report.judged_arm,
        report.judged_step,
        report.ttft_band_ms,
        report.ttft_target_ms,
    )


CONTENTS: dict[str, str] = {
    "guide": "Expected and measured",
    "gaps": "What was not measured",
    "answers": "What was found",
    "steps": "By step and tier",
    "checks": "Checks",
    "errors": "Errors by type",
    "phases": "Where the time went",
    "slowest": "The slowest requests",
    "goodput": "Goodput and availability",
    "clock": "Can the clock be trusted?",
    "conditions": "Conditions",
    "definitions": "How to read this page",
}
"""The sections of the page in their order; the first stands on the first screen."""


def html(report: Report, drawn: list[Drawn]) -> str:
    """Return the page: one file, no script, nothing fetched."""
    answered = report.answers.capacity is not None or report.answers.comparison
    contents = [each for each in CONTENTS.items() if each[0] != "answers" or answered]
    return _rendered(report, "report.html.j2", pictures=drawn, contents=contents)


def markdown(report: Report) -> str:
    """Return the report as GitHub-flavoured Markdown; figures are named by their files."""
    return _rendered(report, "report.md.j2")


def junit(report: Report) -> str:
    """Return a JUnit test suite in which every judged check, or capacity sought, is a test case.

    FAIL is a failure; INCONCLUSIVE and UNTRUSTED are errors, since they show nothing.
    """
    cases = _cases(report)
    bad = {
        Verdict.FAIL: "failure",
        Verdict.INCONCLUSIVE: "error",
        Verdict.UNTRUSTED: "error",
    }
    kinds = [bad.get(case.verdict, "") for case in cases]
    counts = {
        "tests": str(len(cases)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": "0",
    }
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(
        suites, "testsuite", {"name": f"firsttoken {report.data.manifest.scenario}", **counts}
    )
    for case, kind in zip(cases, kinds, strict=True):
        named = {"classname": "firsttoken.report", "name": case.name}
        element = ET.SubElement(suite, "testcase", named)
        if kind:
            found = ET.SubElement(element, kind, {"message": case.reason, "type": case.verdict})
            found.text = "\n".join(report.reasons)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


class _Case(NamedTuple):
    """A test case of the suite."""

    name: str
    verdict: Verdict
    reason: str


def _cases(report: Report) -> list[_Case]:
    """Return the test cases; never none, for an empty suite would read as a green one."""
    cases = [
        _Case(
            f"{check.name} {check.where}",
            check.verdict,
            f"{check.verdict}: {sentence(check, report.minimums[check.name])}",
        )
        for check in report.checks
        if check.judged
    ]
    found = report.answers.capacity
    if found is not None:
        # A clock that cannot be trusted leaves none of them standing.
        cases = [
            _Case(
                f"capacity {item.arm}",
                worst([item.verdict, report.verdict]),
                f"{item.verdict}: {found.sentence(item)}",
            )
            for item in found.arms
        ]
    if cases:
        return cases
    doubt = worst([report.verdict, Verdict.INCONCLUSIVE])
    return [_Case("verdict", doubt, report.reasons[-1])]


def headline(report: Report) -> str:
    """Return the verdict in a sentence."""
    words = VERDICT_WORDS if report.answers.capacity is None else HEADLINES
    return words[report.verdict]


def _draw(picture: figures.Picture, report: Report, folder: Path, width: float) -> str | None:
    """Return a figure as the page needs it; of the page's width, write it as a PNG file too."""
    figure = figures.draw(picture, report, width)
    if figure is None:
        # Of an earlier report on this run.
        (folder / f"{picture.name}.png").unlink(missing_ok=True)
        return None
    if width == figures.PAGE_WIDTH:
        files.put(folder / f"{picture.name}.png", render.png(figure))
    return render.text_uri(render.svg(figure))


def _draw_all(report: Report, folder: Path) -> list[Drawn]:
    """Draw every figure in both widths."""
    each = [
        partial(_draw, picture, report, folder, width)
        for picture in figures.PICTURES
        for width in (figures.PAGE_WIDTH, figures.PHONE_WIDTH)
    ]
    addresses = side_by_side.run(each, rows=len(report.data.requests))
    pairs = zip(figures.PICTURES, addresses[::2], addresses[1::2], strict=True)
    return [
        Drawn(picture.name, picture.title, picture.caption, picture.absent, page, phone)
        for picture, page, phone in pairs
    ]


def write_all(report: Report, run_dir: Path) -> None:
    """Write ``report.json``, ``report.html``, ``report.md``, ``junit.xml`` and ``figures/*.png``.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder = run_dir / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        files.put(run_dir / "report.json", json_text(report))
        files.put(run_dir / "junit.xml", junit(report))
        files.put(run_dir / "report.md", markdown(report))
        files.put(run_dir / "report.html", html(report, _draw_all(report, folder)))
    except OSError as error:
        raise UserError(
            f"cannot write the report to {run_dir}: {error.strerror or error}"
        ) from error
