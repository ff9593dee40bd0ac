"""Measuring models: one after the other.

One model after the other is loaded, alone, and asked by one talker: memory, first tokens with a
cold and with a warm prefix, speed, and the questions of :mod:`firsttoken.trials.models.quality`.
A model that cannot be measured is named with its reason, and the others go on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from firsttoken.core import host
from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.settings import Settings
from firsttoken.core.slo import Slo
from firsttoken.trials import run_folder
from firsttoken.trials.models import page, table
from firsttoken.trials.models.ask import Reply
from firsttoken.trials.models.mark import GUIDE_LIMIT_BYTES, Goals, later_p95, mark
from firsttoken.trials.models.quality import ITEMS, MAX_TOKENS, Answer, Item, judge
from firsttoken.trials.models.result import Comparison, Delays, Failed, Measured
from firsttoken.trials.models.serve import Served, Wanted, at_ollama, embedded, find_ollama
from firsttoken.trials.progress import Progress
from reports import text
from reports.statistics import minimum_n, quantile

_TTFT_TOKENS = 4
"""Of a reply that is asked for its first token: one token may be half a character."""
_SPEED_REPLIES = 3

_SYSTEM = (
    "You are the voice of a small speaker in a kitchen. People talk to you while their hands are "
    "busy, so answer in one short sentence, in the language you were spoken to. Do not use lists "
    "or headings. When you do not know something, say so. 你是厨房里的小音箱，请用一句话回答。"
)
_QUESTIONS = (
    "What should I do while the pasta cooks?",
    "今天适合做什么菜？",
    "How do I keep bread fresh?",
    "切洋葱怎样才不流泪？",
    "Tell me something nice about the morning.",
    "茶要泡几分钟？",
    "Which fruit goes well with yoghurt?",
    "米饭煮硬了怎么办？",
)


@dataclass(frozen=True, slots=True)
class ModelsPlan:
    """The arguments of ``firsttoken bench --models``."""

    models: tuple[Wanted, ...]
    ollama: str | None = None
    """Base URL of the Ollama that names are asked of."""
    samples: int = minimum_n(0.95)
    """First tokens a model and a kind of prefix: the fewest whose p95 has an interval."""
    warm_up: int = 2
    """Requests before those, which do not count."""
    seconds: float = 60.0
    """At most, for the first tokens of a model and a kind of prefix."""
    speed_tokens: int = 64
    """Of each reply that the speed is taken from."""
    items: tuple[Item, ...] = ITEMS
    seed: int = 1
    out: Path | None = None


def measure_models(
    plan: ModelsPlan, settings: Settings, slo: Slo, progress: Progress
) -> tuple[Path, Comparison]:
    """Measure each model in turn; return the folder and what was found. After a Ctrl-C what there
    was by then is written too.

    Raises:
        UserError: the folder cannot be written, or names were given and no Ollama answers.
        KeyboardInterrupt: handed on after the engine was stopped and the rest was written.
    """
    base = None if plan.ollama is None else find_ollama(plan.ollama)
    now = datetime.now(UTC)
    run_dir = run_folder.create(plan.out, run_folder.new_run_id("models", now))
    goals = goals_of(slo)
    measured: list[Measured] = []
    failed: list[Failed] = []

    def done(*, finished: bool) -> Comparison:
        found = Comparison(
            made_at=now.isoformat(timespec="seconds"),
            goals=goals,
            machine=host.describe(),
            items=plan.items,
            measured=tuple(measured),
            failed=tuple(failed),
            finished=finished,
        )
        page.write(found, run_dir)
        return found

    try:
        for number, wanted in enumerate(plan.models, start=1):
            progress.say(f"model {number} of {len(plan.models)}: {wanted.name}")
            log = run_dir / f"engine-{number}.log"
            try:
                with _served(wanted, base, settings, log) as served:
                    one = _measure(wanted.name, served, plan, goals, progress)
            except UserError as error:
                failed.append(Failed(wanted.name, str(error)))
                progress.say(f"  not measured: {page.printable(str(error))}")
                continue
            measured.append(one)
            progress.say(f"  {table.line(one)}")
    except KeyboardInterrupt:
        done(finished=False)
        raise
    return run_dir, done(finished=True)


def goals_of(slo: Slo) -> Goals:
    """Return the acceptance targets, and the guide's memory limit or this machine's, whichever is
    less."""
    now = host.memory()
    limit = GUIDE_LIMIT_BYTES if now is None else min(GUIDE_LIMIT_BYTES, now.limit)
    return Goals(slo.ttft_p95_ms, slo.memory_share, limit)


def _served(
    wanted: Wanted, base: str | None, settings: Settings, log: Path
) -> AbstractContextManager[Served]:
    if wanted.file is not None:
        return embedded(wanted.file, settings, log)
    if base is None:
        raise UserError(f"{wanted.name}: a name needs an Ollama; expected --target URL")
    return at_ollama(wanted.name, base, settings)


def _measure(
    name: str, served: Served, plan: ModelsPlan, goals: Goals, progress: Progress
) -> Measured:
    with progress.doing(f"  {name}: first tokens, cold prefix"):
        cold = _delays(served, plan, cold=True)
    with progress.doing(f"  {name}: first tokens, warm prefix"):
        warm = _delays(served, plan, cold=False)
    with progress.doing(f"  {name}: speed, and {text.count(len(plan.items), 'question')}"):
        speed = _speed(served, plan.speed_tokens)
        answers = tuple(_answer(served, item) for item in plan.items)
    served.alive()
    memory = served.memory()
    right = sum(answer.right for answer in answers)
    return Measured(
        name=name,
        settings=served.settings,
        title=served.title,
        shape=served.shape,
        file_bytes=served.file_bytes,
        load_s=None if served.load_s is None else round(served.load_s, 2),
        memory=memory,
        cold=cold,
        warm=warm,
        tokens_per_second=speed,
        answers=answers,
        mark=mark(
            goals,
            p95_ms=later_p95(cold.p95_ms, warm.p95_ms),
            resident_bytes=memory.resident,
            right=right,
            asked=len(answers),
            load_s=served.load_s,
            has_template=served.has_template,
        ),
    )


def _ask(served: Served, question: str, **asked: object) -> Reply:
    """Ask; where that failed, see to it that the engine is still there.

    Raises:
        UserError: it is not.
    """
    reply = served.asker.ask(question, **asked)  # type: ignore[arg-type]
    if reply.failed is not None:
        served.alive()
    return reply


def _delays(served: Served, plan: ModelsPlan, *, cold: bool) -> Delays:
    """Ask for first tokens one after the other, for ``plan.samples`` or ``plan.seconds``.

    A cold prefix begins with a number that was never sent before; a warm one is the same each time,
    and was read before the first one that counts. The question always differs.
    """
    draw = random.Random(f"{plan.seed} {cold}")  # noqa: S311 - no secret
    replies: list[Reply] = []
    began_ns = monotonic_ns()
    for number in range(plan.warm_up + plan.samples):
        spent_s = (monotonic_ns() - began_ns) / NS_PER_S
        if number > plan.warm_up and spent_s > plan.seconds:
            break
        tag = f"Talk {draw.getrandbits(48):012x}. " if cold else ""
        question = f"{_QUESTIONS[number % len(_QUESTIONS)]} ({number})"
        replies.append(
            _ask(
                served,
                question,
                system=tag + _SYSTEM,
                max_tokens=_TTFT_TOKENS,
                extra=served.endless,
            )
        )
    return delays_of(replies[plan.warm_up :])


def delays_of(replies: Sequence[Reply]) -> Delays:
    """Return the quantiles of TTFT; a request without a token counts as later than everything."""
    delays = [
        math.inf if reply.failed is not None or reply.ttft_ms is None else reply.ttft_ms
        for reply in replies
    ]
    return Delays(
        p50_ms=text.rounded(quantile(delays, 0.50), "ms"),
        p95_ms=text.rounded(quantile(delays, 0.95), "ms"),
        failed=sum(math.isinf(delay) for delay in delays),
        prompt_tokens=_middle([reply.prompt_tokens for reply in replies]),
        cached_tokens=_middle([reply.cached_tokens for reply in replies]),
    )


def _middle(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return round(median(known)) if known else None


def _speed(served: Served, tokens: int) -> float | None:
    found = []
    for _ in range(_SPEED_REPLIES):
        reply = _ask(
            served,
            "Count from one to fifty in words, with commas between them.",
            max_tokens=tokens,
            extra=served.endless,
        )
        if reply.failed is None and reply.tokens_per_second is not None:
            found.append(reply.tokens_per_second)
    return round(median(found), 1) if found else None


def _answer(served: Served, item: Item) -> Answer:
    reply = _ask(served, item.prompt, max_tokens=MAX_TOKENS)
    right = reply.failed is None and judge(item, reply.text)
    return Answer(item.name, reply.text, right, reply.failed)
