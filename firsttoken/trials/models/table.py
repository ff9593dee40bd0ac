"""The model table as rows of text, and what its reader must know."""

from __future__ import annotations

from firsttoken.trials.models.mark import (
    CLAIMS,
    DIFFICULTY_RULE,
    FORMULA,
    STARS,
    Claim,
    claim_of,
)
from firsttoken.trials.models.result import Comparison, Delays, Measured
from reports import text
from reports.statistics import minimum_n

NOT_MEASURED = "not measured"
HEADER = ("model", "figures", "memory", "first token", "tokens/s", "quality", "difficulty", "mark")
MEANING = (
    "memory: resident, with the model in it; first token: TTFT p50 / p95, one talker, cold prefix; "
    "the guide does not say how its figures came about"
)
QUALITY = (
    "quality: right answers to our own short questions in Chinese and English, all of them shown; "
    "of the four that want yes or no, two are right by chance"
)
MOST_ANSWER_CHARACTERS = 60


def _stars(number: int) -> str:
    return "★" * number + "☆" * (STARS - number)


def _memory(size: int | None) -> str:
    return text.MISSING if size is None else f"{size / (1 << 20):,.0f} MiB"


def _range(delays: Delays) -> str:
    return f"{text.number(delays.p50_ms.value, 'ms')} / {text.number(delays.p95_ms.value, 'ms')} ms"


def _share(one: Measured) -> str:
    quality = one.quality
    if quality.value is None:
        return text.MISSING
    return f"{one.right}/{len(one.answers)} ({quality.value:.0%})"


def _given(value: float | None) -> str:
    return text.MISSING if value is None else f"{value:.1f}"


def _claim_row(claim: Claim, *, measured: bool) -> list[str]:
    told = "guide's claim" if measured else f"guide's claim, {NOT_MEASURED}"
    return [
        claim.model, told, claim.memory, claim.delay, text.MISSING, _stars(claim.stars),
        claim.difficulty, f"{claim.mark} of {STARS}",
    ]  # fmt: skip


def _row(one: Measured) -> list[str]:
    return [
        one.name,
        "measured",
        _memory(one.memory.resident),
        _range(one.cold),
        _given(one.tokens_per_second),
        _share(one),
        one.mark.difficulty,
        f"{_given(one.mark.stars)} of {STARS}",
    ]


def rows(found: Comparison) -> list[list[str]]:
    """Return the guide's four models as it claims them, each with what was measured of it beneath,
    then what else was measured, then what could not be."""
    by_claim: dict[str, list[Measured]] = {}
    others = []
    for one in found.measured:
        claim = claim_of(one.name) or (claim_of(one.title) if one.title else None)
        if claim is None:
            others.append(one)
        else:
            by_claim.setdefault(claim.model, []).append(one)
    table = []
    for claim in CLAIMS:
        mine = by_claim.get(claim.model, [])
        table.append(_claim_row(claim, measured=bool(mine)))
        table += [_row(one) for one in mine]
    table += [_row(one) for one in others]
    blank = [text.MISSING] * (len(HEADER) - 2)
    table += [[each.name, NOT_MEASURED, *blank] for each in found.failed]
    return table


DETAILS = (
    "model", "file", "load", "resident", "unreclaimable", "prefix", "TTFT p50 ms", "p95 ms",
    "95 % interval", "n", "failed", "prompt tokens", "cached",
)  # fmt: skip


def details(found: Comparison) -> list[list[str]]:
    """Return two lines a model: cold and warm prefix."""
    lines = []
    for one in found.measured:
        start = [
            one.name,
            _memory(one.file_bytes),
            text.MISSING if one.load_s is None else f"{one.load_s:.2f} s",
            _memory(one.memory.resident),
            _memory(one.memory.unreclaimable),
        ]
        for prefix, delays in (("cold", one.cold), ("warm", one.warm)):
            p95 = delays.p95_ms
            counts = (p95.n, delays.failed, delays.prompt_tokens, delays.cached_tokens)
            lines.append(
                [
                    *(start if prefix == "cold" else [""] * len(start)),
                    prefix,
                    text.number(delays.p50_ms.value, "ms"),
                    text.number(p95.value, "ms"),
                    text.interval(p95.ci_low, p95.ci_high, "ms"),
                    *(text.MISSING if each is None else str(each) for each in counts),
                ]
            )
    return lines


def notes(found: Comparison) -> list[str]:
    """Return what a reader of the table must know."""
    goals = found.goals
    limit = f"{goals.memory_share:.0%} of {goals.limit_bytes >> 20:,} MiB"
    lines = [
        MEANING,
        f"{FORMULA}; here target {goals.ttft_p95_ms:g} ms, {limit}",
        DIFFICULTY_RULE,
        QUALITY,
    ]
    for one in found.measured:
        interval = text.interval(one.quality.ci_low, one.quality.ci_high, "share")
        parts = one.mark
        shown = ", ".join(
            f"{name} {text.MISSING if value is None else f'{value:.2f}'}"
            for name, value in (
                ("first token", parts.first_token),
                ("memory", parts.memory),
                ("quality", parts.quality),
            )
        )
        lines.append(f"{one.name}: {shown}; 95 % interval of its quality {interval} %")
        fewest = min(one.cold.p95_ms.n, one.warm.p95_ms.n)
        if fewest < minimum_n(0.95):
            lines.append(
                f"{one.name}: only {text.count(fewest, 'first token')} in the time given: its p95, "
                f"and with it mark and difficulty, is INCONCLUSIVE under {minimum_n(0.95)}"
            )
        if parts.obstacles:
            lines.append(f"{one.name}: {parts.difficulty}, since: {'; '.join(parts.obstacles)}")
    lines += [
        f"{one} and {other}: one architecture, depth and width, so one model in two files, or two "
        "trainings of one"
        for one, other in found.same_model()
    ]
    lines += [f"{each.name}: {NOT_MEASURED}: {each.why}" for each in found.failed]
    if not found.finished:
        lines.append("broken off: models after these were not looked at")
    return lines


def line(one: Measured) -> str:
    """Return one model in one line."""
    return (
        f"{_memory(one.memory.resident)}, TTFT p50 / p95 cold {_range(one.cold)}, warm "
        f"{_range(one.warm)}, {_given(one.tokens_per_second)} tokens/s, quality {_share(one)}"
    )


def answers(found: Comparison) -> list[list[str]]:
    """Return a line a question: what counts as right, then what each model made of it, cut to
    :data:`MOST_ANSWER_CHARACTERS`."""
    lines = []
    for place, item in enumerate(found.items):
        said = []
        for one in found.measured:
            answer = one.answers[place]
            shown = " ".join((answer.failed or answer.text).split())
            if len(shown) > MOST_ANSWER_CHARACTERS:
                shown = shown[: MOST_ANSWER_CHARACTERS - 1] + "…"
            said.append(f"{'✔' if answer.right else '✘'} {shown}")
        lines.append([item.kind, item.prompt, f"{item.judge}: {' | '.join(item.accepted)}", *said])
    return lines


def answers_header(found: Comparison) -> tuple[str, ...]:
    """Return the header of :func:`answers`."""
    return ("asked for", "question", "right is", *(one.name for one in found.measured))
