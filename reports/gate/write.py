"""What the gate found, as text: terminal, Markdown, JSON, JUnit and GitHub annotations."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from firsttoken.core.words import Verdict
from reports import files, text
from reports.gate.decide import Finding
from reports.gate.judge import Judgement, change
from reports.gate.likeness import Difference

HEADLINES: dict[Verdict, str] = {
    Verdict.PASS: "Nothing got worse beyond chance, minimum effect and noise.",
    Verdict.FAIL: "It got worse.",
    Verdict.INCONCLUSIVE: "The measurements do not show whether anything got worse.",
}


def headline(found: Judgement) -> str:
    """Return the verdict in a sentence."""
    return f"{text.SYMBOL[found.verdict]} {found.verdict}: {HEADLINES[found.verdict]}"


def json_text(found: Judgement) -> str:
    """Return ``gate.json``."""
    return json.dumps(found.as_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _noise(finding: Finding) -> str:
    return text.MISSING if finding.noise is None else f"{finding.noise * 100:.1f}"


def _state(value: str | float | None) -> str:
    if value is None:
        return "not known"
    return f"{value:g}" if isinstance(value, float) else value


def _difference(item: Difference) -> str:
    which = "forbids comparing" if item.forbids else "differs"
    return f"{which}: {item.name}: {_state(item.baseline)} -> {_state(item.candidate)}"


def _cell(value: object) -> str:
    """Return text that cannot end a Markdown cell or line, nor bring in HTML."""
    plain = " ".join(str(value).split())
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def markdown(found: Judgement) -> str:
    """Return the summary as GitHub-flavoured Markdown, verdict first, then what differs."""
    sides = f"{_cell(found.baseline.path)} → {_cell(found.candidate.path)}"
    where = f", {_cell(found.candidate.where)}" if found.candidate.where else ""
    lines = [f"# {headline(found)}", "", f"{sides}{where}", ""]
    lines += [f"- {_cell(reason)}" for reason in found.reasons]
    lines += ["", *_differences_table(found), *_findings_table(found)]
    lines += [f"- note: {_cell(note)}" for note in found.notes]
    return "\n".join(lines).rstrip() + "\n"


def _differences_table(found: Judgement) -> list[str]:
    if not found.differences:
        return ["The conditions are alike.", ""]
    rows = [
        f"| {_cell(item.name)} | {_cell(_state(item.baseline))} | {_cell(_state(item.candidate))} "
        f"| {'no' if item.forbids else 'yes'} |"
        for item in found.differences
    ]
    return [
        "| What differs | Baseline | Candidate | May differ |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _findings_table(found: Judgement) -> list[str]:
    if not found.findings:
        return []
    rows = [
        f"| {_cell(item.rule.name)} | {found.value(item, item.baseline)} "
        f"| {found.value(item, item.candidate)} | {change(item)} | {_noise(item)} "
        f"| {item.n_baseline} / {item.n_candidate} "
        f"| {text.SYMBOL[item.verdict]} {item.verdict} | {_cell(item.reason)} |"
        for item in found.findings
    ]
    head = [
        "| Figure | Baseline | Candidate | Change, 95 % interval | Noise, % | n | Verdict | Why |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    return [*head, *rows, ""]


def plain(found: Judgement) -> str:
    """Return the summary for a terminal: verdict, what differs, then a line for each figure."""
    lines = [headline(found), *map(_difference, found.differences)]
    lines += [found.sentence(item) for item in found.findings]
    said = set(lines)
    lines += [reason for reason in found.reasons if reason not in said]
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def junit(found: Judgement) -> str:
    """Return a JUnit test suite in which every figure compared is a test case.

    FAIL is a failure; INCONCLUSIVE is an error, since it shows nothing; of an optional rule it is
    skipped.
    """
    cases = [
        (item.rule.name, _judged(found, item), found.sentence(item)) for item in found.findings
    ]
    told = {sentence for _, _, sentence in cases}
    # Reasons beyond the figures, and a suite without any, would otherwise read as green.
    cases += [
        (f"reason {number}", Verdict.INCONCLUSIVE, reason)
        for number, reason in enumerate(found.reasons, 1)
        if reason not in told
    ]
    bad = {Verdict.FAIL: "failure", Verdict.INCONCLUSIVE: "error", None: "skipped"}
    kinds = [bad.get(verdict, "") for _, verdict, _ in cases]
    counts = {
        "tests": str(len(cases)),
        "failures": str(kinds.count("failure")),
        "errors": str(kinds.count("error")),
        "skipped": str(kinds.count("skipped")),
    }
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": "firsttoken gate", **counts})
    for (name, verdict, sentence), kind in zip(cases, kinds, strict=True):
        named = {"classname": "firsttoken.gate", "name": _printable(name)}
        case = ET.SubElement(suite, "testcase", named)
        if kind:
            message = {"message": _printable(sentence)}
            ET.SubElement(case, kind, message if verdict is None else {**message, "type": verdict})
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _judged(found: Judgement, finding: Finding) -> Verdict | None:
    """Return the verdict of a finding; None where it shows nothing and need not."""
    passed = finding.verdict is Verdict.PASS
    return finding.verdict if passed or found.stands_in_the_way(finding) else None


def _printable(words: str) -> str:
    """Return text without the control characters that XML cannot hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in words)


def workflow_commands(found: Judgement) -> list[str]:
    """Return workflow commands that GitHub shows beside a pull request; none for a PASS.

    A regression is an error, what could not be shown a warning.
    """
    bad = {item.rule.name: item for item in found.findings if found.stands_in_the_way(item)}
    lines = [
        _command("error" if item.verdict is Verdict.FAIL else "warning", name, found.sentence(item))
        for name, item in bad.items()
    ]
    told = {found.sentence(item) for item in bad.values()}
    rest = [reason for reason in found.reasons if reason not in told]
    return lines + [_command("warning", "gate", reason) for reason in rest]


def _command(kind: str, title: str, message: str) -> str:
    """Return ``::error title=T::M`` with what would end it early escaped, as GitHub's own
    toolkit does: of a message ``%`` and line ends, of a property ``:`` and ``,`` too."""
    data = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    named = title.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    named = named.replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title=firsttoken gate {named}::{data}"


def write_all(found: Judgement, folder: Path) -> None:
    """Write ``gate.json``, ``gate.md`` and ``gate-junit.xml``.

    Raises:
        UserError: the folder cannot be written.
    """
    contents = {
        "gate.json": json_text(found),
        "gate.md": markdown(found),
        "gate-junit.xml": junit(found),
    }
    files.put_all(folder, contents, f"cannot write the gate's result to {folder}")
