"""What the manifests of two runs state differently: machine, scenario, model, settings, code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from firsttoken.core.records import Manifest
from reports.compare.difference import UNKNOWN, Difference, Weight, made
from reports.compare.sides import Match, Side, target


class _Condition(NamedTuple):
    """A condition that is one text a side."""

    name: str
    weight: Weight
    read: Callable[[Side, str], str | None]
    """Of a side and one of its arms; None: not recorded."""
    meaning: str


def _manifest(side: Side) -> Manifest:
    return side.report.data.manifest


def _machine(side: Side, _arm: str) -> str | None:
    host = _manifest(side).host
    parts = [str(host["cpu_model"])] if host.get("cpu_model") else []
    if host.get("cores"):
        parts.append(f"{float(host['cores']):g} cores")
    if host.get("memory_bytes"):
        parts.append(f"{float(host['memory_bytes']) / 1e9:.1f} GB")
    return ", ".join(parts) or None


def _host(key: str) -> Callable[[Side, str], str | None]:
    def read(side: Side, _arm: str) -> str | None:
        value = _manifest(side).host.get(key)
        return None if value is None else str(value)

    return read


def _of_target(key: str) -> Callable[[Side, str], str | None]:
    def read(side: Side, arm: str) -> str | None:
        found = target(side, arm)
        return None if found is None else str(getattr(found, key)) or None

    return read


def _rate(side: Side, arm: str) -> str | None:
    rates = {
        block.planned_rate
        for block in _manifest(side).blocks
        if block.arm == arm and block.planned_rate is not None
    }
    shown = ", ".join(f"{rate:g}" for rate in sorted(rates))
    return f"{shown} starts a second" if rates else "as soon as answered"


def _cloud(side: Side, arm: str) -> str:
    return "emulated cloud" if side.report.data.emulated(arm) else "no emulated cloud"


def _affinity(side: Side, _arm: str) -> str:
    kept = _manifest(side).affinity
    shown = (f"{who} on {', '.join(map(str, cores))}" for who, cores in sorted(kept.items()))
    return "; ".join(shown) or "the kernel's choice"


def _ended(side: Side, _arm: str) -> str:
    return "came to its end" if _manifest(side).finished else "was cut short"


CONDITIONS: tuple[_Condition, ...] = (
    _Condition("machine", Weight.SPOILS, _machine, "a shift may be the machine's alone"),
    _Condition(
        "scenario",
        Weight.SPOILS,
        lambda side, _arm: _manifest(side).scenario,
        "requests came in different ways, so the figures answer different questions",
    ),
    _Condition(
        "model", Weight.SPOILS, _of_target("model"), "the work for a first token is another"
    ),
    _Condition("arrivals", Weight.SPOILS, _rate, "the load is not the same"),
    _Condition("cloud", Weight.SPOILS, _cloud, "an emulated cloud's times are drawn at random"),
    _Condition("completeness", Weight.MAY_EXPLAIN, _ended, "what was under way is missing"),
    _Condition(
        "arm",
        Weight.MAY_EXPLAIN,
        lambda _side, arm: arm,
        "the requests went different ways",
    ),
    _Condition("target", Weight.MAY_EXPLAIN, _of_target("note"), "the server was set up otherwise"),
    _Condition("dialect", Weight.MAY_EXPLAIN, _of_target("dialect"), "another interface answered"),
    _Condition(
        "settings",
        Weight.MAY_EXPLAIN,
        lambda side, _arm: (_manifest(side).settings_hash or "")[:12] or None,
        "the settings' hashes differ",
    ),
    _Condition(
        "code",
        Weight.MAY_EXPLAIN,
        lambda side, _arm: (_manifest(side).git_sha or "")[:12] or None,
        "another commit was measured",
    ),
    _Condition(
        "cores kept", Weight.MAY_EXPLAIN, _affinity, "generator and servers shared otherwise"
    ),
    _Condition("kernel", Weight.RECORD, _host("kernel"), "another operating system"),
    _Condition("address", Weight.RECORD, _of_target("url"), "another address was asked"),
    _Condition(
        "seed",
        Weight.RECORD,
        lambda side, _arm: str(_manifest(side).seed),
        "other texts at other times",
    ),
    _Condition(
        "length",
        Weight.RECORD,
        lambda side, _arm: f"{_manifest(side).step_seconds:g} s a step",
        "the shorter one has fewer requests",
    ),
    _Condition(
        "generators",
        Weight.RECORD,
        lambda side, _arm: str(max(1, len(_manifest(side).workers))),
        "the load came from another number of processes",
    ),
)
"""The conditions of one text each. Machine, versions, options, trust, calibration, steps and what
was measured of the load are compared by functions of their own."""

_NO_CONDITION = {"--target", "--against", "--out", "--json", "--seed", "--step-seconds", "--config"}
"""Options that name no condition, or one that is compared by itself."""


def _options(command: list[str]) -> dict[str, str]:
    """Return the options of a command line, each with the words up to the next one."""
    found: dict[str, list[str]] = {}
    name = None
    for word in command:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            found[name] = [value] if value else []
        elif name is not None:
            found[name].append(word)
    return {key: " ".join(words) or "given" for key, words in found.items()}


def _unlike(one: dict[str, str], other: dict[str, str], absent: str) -> tuple[str, str] | None:
    """Return what differs between two tables, as a text a side; None where nothing does."""
    keys = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    if not keys:
        return None
    shown = [", ".join(f"{key} {side.get(key, absent)}" for key in keys) for side in (one, other)]
    return shown[0], shown[1]


def conditions(match: Match) -> Iterator[Difference]:
    for lane in match.lanes:
        for condition in CONDITIONS:
            one = condition.read(match.reference, lane.reference)
            other = condition.read(match.candidate, lane.candidate)
            if one != other:
                both = (one or UNKNOWN, other or UNKNOWN)
                yield made(match, condition.name, condition.weight, both, condition.meaning)


def tables(match: Match) -> Iterator[Difference]:
    """Yield what differs in versions and options."""
    one, other = _manifest(match.reference), _manifest(match.candidate)
    if versions := _unlike(one.versions, other.versions, UNKNOWN):
        yield made(match, "versions", Weight.MAY_EXPLAIN, versions, "other programs took part")
    kept = [
        {key: value for key, value in _options(each.command).items() if key not in _NO_CONDITION}
        for each in (one, other)
    ]
    # Of one run, or of one made without a command line, there is nothing to tell.
    if kept[0] and kept[1] and (options := _unlike(kept[0], kept[1], "left out")):
        yield made(match, "options", Weight.MAY_EXPLAIN, options, "another load was asked for")


def same_run(match: Match) -> Iterator[Difference]:
    one, other = _manifest(match.reference), _manifest(match.candidate)
    if one.run_id == other.run_id and not match.same_run:
        yield Difference(
            "run",
            Weight.RECORD,
            one.run_id,
            other.run_id,
            f"both folders hold the run {one.run_id}: what is equal says nothing",
        )
