"""How much of a talking device's prompt the engine finds in its cache, and what that does to the
first token: one talker, the whole persona prompt, a clock that moves and tools in another order
with each turn; with and without the router's prefix discipline, and with a compact prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import loadtests
from firsttoken.core import settings as settings_room
from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.errors import UserError
from firsttoken.core.voice_texts import VoiceTexts, read_voice_texts
from firsttoken.trials import run_folder, servers
from firsttoken.trials.asking import ask
from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.progress import Progress
from firsttoken.wire.events import Text, Usage, is_token
from reports import text
from reports.statistics import Estimate
from reports.tables import ttft

WITHOUT, FULL, COMPACT, FLASH = "without", "full", "compact", "full, flash attention"
"""The arms: the prompt as the client sent it, the whole prompt with its beginning kept steady, a
shortened one, and the whole one before an engine with its default settings."""

VOICE: Mapping[str, Mapping[str, Any]] = {
    WITHOUT: {
        "prefix": {"sort_tools": False, "clock": "keep", "sticky_slots": False, "warm": False}
    },
    FULL: {},
    FLASH: {},
    COMPACT: {
        "compact": {
            "enable": True,
            "remove": [
                "(?s)<limits>.*?</limits>",
                "(?s)<manner>.*?</manner>",
            ],
        }
    },
}
"""The section ``voice`` of each arm."""

LEAST_REUSED = 0.99
"""Of the prompt of the turn before, in each later turn."""
MOST_MS: Mapping[str, float] = {FULL: 500.0, COMPACT: 400.0}
"""For the TTFT p95 of later turns, by its upper bound."""

TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}"
    "{% if loop.first and tools %}{{ '\n\nTools:\n' }}"
    "{% for tool in tools %}{{ tool | tojson }}{{ '\n' }}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""That of the packaged model leaves tools out; this one writes them behind the system prompt, as
those of larger models do."""

_FLASH = "FIRSTTOKEN__ENGINE__FLASH_ATTENTION"
_TIMEOUT_S = 180.0
_SELDOM = {"interval": 3600, "timeout": 60, "retries": 3}
_SLOTS = 2
_CONTEXT = 8192
_Answer = Callable[[dict[str, Any]], tuple[str, float, Usage]]
_SAID = (
    "hello, what can you do?", "tell me something about cats", "and about dogs?", "why is that so?",
    "which one would you rather have?", "what should I cook today?", "that sounds good, what else?",
    "how long does it take?", "can a child help with it?", "what do you think of rain?",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PrefixPlan:
    """What is measured."""

    conversations: int = 12
    """In each arm, but for ``without``: there each turn reads thousands of tokens. The interval of
    a p95 needs 72 later turns, more where they depend on each other."""
    few: Mapping[str, int] = field(default_factory=lambda: {WITHOUT: 1, FLASH: 4})
    """Conversations of the arms that stand beside for comparison."""
    turns: int = 9
    max_tokens: int = 32
    seed: int = 1


@dataclass(frozen=True, slots=True)
class TurnSeen:
    """One turn."""

    number: int
    """In its conversation, from 0."""
    first_token_ms: float
    prompt_tokens: int
    cached_tokens: int
    reused: float
    """Cached tokens, of the tokens that the prompt of the turn before had; of first turns 0."""


def prefix(plan: PrefixPlan, progress: Progress) -> dict[str, list[TurnSeen]]:
    """Measure; return the turns of each arm.

    Raises:
        UserError: something could not be started, or did not answer.
    """
    run_dir = run_folder.create(None, run_folder.new_run_id("prefix"))
    texts = read_voice_texts(Path(loadtests.__file__).with_name("corpora"))
    seen: dict[str, list[TurnSeen]] = {}
    for number, (arm, voice) in enumerate(VOICE.items()):
        # An engine each: none finds prompts in its cache that another arm has put there.
        with ExitStack() as stack:
            engine = servers.start_engine(
                stack,
                settings_room.load(None, environ={_FLASH: str(arm == FLASH).lower()}),
                _SLOTS,
                run_dir / f"engine-{number}.log",
                progress=progress,
                restarts=[],
                context=_CONTEXT,
                chat_template=TEMPLATE,
            )
            cloud = servers.start_cloud(stack, plan.seed, run_dir / f"cloud-{number}.log")
            file = servers.write_router_settings(
                run_dir / f"router-{number}.yaml",
                engine,
                cloud,
                caches=False,
                # The router asks for the slots itself: so it may choose one for a conversation.
                local={"timeout": _TIMEOUT_S, "slots": None},
                sections={
                    "voice": {"clients": "all", **voice},
                    "hedging": {"enable": False},
                    # A probe would come late while thousands of tokens are read.
                    "health_check": {"local_model": dict(_SELDOM)},
                },
            )
            router = servers.start_router(stack, file, run_dir / f"router-{number}.log")
            http = stack.enter_context(httpx.Client(timeout=_TIMEOUT_S, trust_env=False))
            seen[arm] = []
            most = plan.few.get(arm, plan.conversations)
            answer = partial(_answer, http, router.url, engine.options.model_name)
            for talk in range(most):
                with progress.doing(f"prefix: {arm}, {talk + 1} of {most}"):
                    seen[arm] += _talk(answer, texts, plan, talk)
    return seen


def _talk(answer: _Answer, texts: VoiceTexts, plan: PrefixPlan, number: int) -> list[TurnSeen]:
    """Have one conversation; a minute passes with each turn, and the tools are shuffled."""
    draw = random.Random(plan.seed * 1000 + number)  # noqa: S311 - not a secret
    persona = next(each for each in texts.personas if each.lang == "en")
    history: list[dict[str, Any]] = []
    seen: list[TurnSeen] = []
    for turn in range(plan.turns):
        said = _SAID[(number + turn) % len(_SAID)]
        history.append({"role": "user", "content": f"{said} ({number})" if not turn else said})
        tools = [dict(tool) for tool in texts.tools]
        draw.shuffle(tools)
        minute = number * plan.turns + turn
        system = texts.system(persona, f"{10 + minute // 60}:{minute % 60:02d}")
        body = {
            "messages": [
                {"role": "system", "content": system},
                *map(dict, texts.few_shot(persona)),
                *history,
            ],
            "tools": tools,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": plan.max_tokens,
            "temperature": 0.0,
        }
        said, delay_ms, usage = answer(body)
        history.append({"role": "assistant", "content": said or "well"})
        before = seen[-1].prompt_tokens if seen else 0
        prompt, cached = usage.prompt_tokens or 0, usage.cached_tokens or 0
        reused = min(1.0, cached / before) if before else 0.0
        seen.append(TurnSeen(turn, delay_ms, prompt, cached, reused))
    return seen


def _answer(
    http: httpx.Client, url: str, model: str, body: dict[str, Any]
) -> tuple[str, float, Usage]:
    """Return what was answered, ms to the first token, and the counts."""
    sent_ns, events = ask(http, url, body | {"model": model})
    first = next((event for event in events if is_token(event)), None)
    usage = next((event for event in events if isinstance(event, Usage)), None)
    if first is None or usage is None:
        raise UserError(f"{url}: the reply has no token or no counts")
    answered = "".join(event.text for event in events if isinstance(event, Text))
    return answered, (first.t_ns - sent_ns) / NS_PER_MS, usage


def _later(turns: Sequence[TurnSeen]) -> list[TurnSeen]:
    return [each for each in turns if each.number]


def _p95(turns: Sequence[TurnSeen]) -> Estimate:
    """Return the TTFT p95 of the later turns, ms."""
    return ttft(np.array([each.first_token_ms for each in _later(turns)]), 0.95)


def _figure(p95: Estimate) -> str:
    return text.measured(p95.value, p95.ci_low, p95.ci_high, "ms")


def rows(seen: Mapping[str, Sequence[TurnSeen]]) -> list[tuple[str, ...]]:
    """Return a row an arm: concurrency; TTFT of the slowest first turn; later turns, tokens of
    their prompts (lowest, highest), tokens not in the cache p50, share of the earlier prompt that
    was reused (lowest, p50), TTFT p50, p95 with its interval, and the slowest; ms. Arms that
    are not judged have too few turns for a p95."""
    table: list[tuple[str, ...]] = []
    for arm, turns in seen.items():
        later = _later(turns)
        delays = [each.first_token_ms for each in later]
        prompts = [each.prompt_tokens for each in later]
        new = [each.prompt_tokens - each.cached_tokens for each in later]
        reused = [each.reused for each in later]
        p95 = _p95(turns)
        table.append(
            (
                arm,
                "1",
                f"{max(each.first_token_ms for each in turns if not each.number):.0f}",
                str(len(later)),
                f"{min(prompts)}-{max(prompts)}",
                f"{np.median(new):.0f}",
                f"{min(reused):.2%} / {np.median(reused):.2%}",
                f"{np.median(delays):.0f}",
                _figure(p95) if arm in MOST_MS else "-",
                f"{max(delays):.0f}",
            )
        )
    return table


def judged(arm: str, turns: Sequence[TurnSeen]) -> str:
    """Return whether an arm with prefix discipline reuses enough and is fast enough."""
    least = min(each.reused for each in _later(turns))
    reuse = "kept" if least >= LEAST_REUSED else "**not kept**"
    p95, most = _p95(turns), MOST_MS[arm]
    if p95.value is None or p95.value > most:
        delay = "**not kept**"
    elif p95.ci_high is None or p95.ci_high > most:
        delay = "**not shown**, for the interval reaches beyond it"
    else:
        delay = "kept"
    return (
        f"- **{arm}**: lowest reuse {least:.3%}, wanted at least {LEAST_REUSED:.0%}: {reuse}. TTFT "
        f"p95 of later turns, concurrency 1: {_figure(p95)}, wanted at most {most:g} ms: {delay}."
    )


def page(plan: PrefixPlan, seen: Mapping[str, Sequence[TurnSeen]]) -> str:
    """Return what is to be said of it, in Markdown."""
    header = ("arm", "concurrency", "slowest first turn ms", "later turns", "prompt tokens")
    more = ("not cached p50", "earlier prompt reused, lowest / p50", "TTFT p50 ms", "TTFT p95")
    verdicts = "\n".join(judged(arm, seen[arm]) for arm in MOST_MS)
    return (
        f"One talker (concurrency 1), {plan.conversations} conversations of {plan.turns} turns "
        f"({plan.few.get(WITHOUT)} without prefix discipline, {plan.few.get(FLASH)} with flash "
        "attention), one after the other, through the router to "
        f"the embedded engine ({_SLOTS} slots of {_CONTEXT} tokens, started anew for each arm). "
        "Each turn brings the whole persona prompt with a clock in its middle that has moved on by "
        "a minute, the tools in another order, the example conversation and all that was said; "
        f"replies of {plan.max_tokens} tokens at most. **without**: the prompt as the client sent "
        "it (`voice.prefix` off; the tool `direct_answer` is left out in all arms). **full**: the "
        "router's defaults. **full, flash attention**: the same before an engine with "
        "`engine.flash_attention: true`, the default; it is off in all other arms. **compact**: "
        "`voice.compact` without tools and some sections of the prompt. The "
        "engine writes prompts by a template with tools behind the system prompt: the packaged "
        "model's own has no place for them.\n\n"
        "A clock that ticks and tools that are shuffled with every single turn are the worst case: "
        "of a device that speaks twice a minute, and keeps the order of its tools, the arm "
        "**without** would find more in the cache.\n\n"
        f"{markdown_table((*header, *more, 'TTFT max ms'), rows(seen))}\n\n{verdicts}\n\n"
        "Reused is the share of the tokens of the turn before that the engine took from its cache, "
        "as it says itself in `usage.prompt_tokens_details.cached_tokens`. The slowest first turn "
        "is the one that the engine had to read in whole. Behind a p95 its 95 % interval, by whose "
        "upper bound it is judged; the arms that stand beside for comparison have too few turns "
        "for one."
    )
