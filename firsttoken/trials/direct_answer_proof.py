"""What an answer through the tool ``direct_answer`` costs the first sentence: the same words three
ways through the router, in one run.

The embedded engine answers some utterances first, and the time of each piece is kept. A scripted
upstream then says the same words at the same pace: as text, where the router unwraps the tool; as
an argument in pieces; as one whole call at the end, as Ollama sends it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import loadtests
from firsttoken.core import settings as settings_room
from firsttoken.core.child import Child
from firsttoken.core.clock import NS_PER_MS, NS_PER_S
from firsttoken.core.errors import UserError
from firsttoken.core.personas import read_lines, read_personas
from firsttoken.core.voice_texts import read_voice_texts
from firsttoken.core.words import ANSWER_TOOL
from firsttoken.trials import run_folder, servers
from firsttoken.trials.asking import ask
from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.progress import Progress
from firsttoken.upstreams.replayed import ONE_SHOT, STREAMED, Recorded, write
from firsttoken.wire.events import Event, Text, Usage
from firsttoken.wire.heard import Heard
from reports.shift import paired_quantile_shift
from reports.statistics import FloatArray

UNWRAPPED = "unwrapped"
ARMS = (UNWRAPPED, STREAMED, ONE_SHOT)
CALL_FRAME = f'<tool_call>\n{{"name": "{ANSWER_TOOL}", "arguments": {{"response": "'
"""What a model writes before the first word of an answer through the tool (Hermes format, which
Qwen and Ollama's templates for it use)."""
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class DirectAnswer:
    """What is measured."""

    utterances: int = 12
    rounds: int = 3
    max_tokens: int = 60
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Spoken:
    """One answer as the device's server got it, ms after the request was sent."""

    first_sentence_ms: float
    whole_ms: float
    as_text: bool
    """Whether the words came as content, not as an argument."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen."""

    spoken: Mapping[str, list[list[Spoken]]]
    """By arm, a list an utterance, an entry a round."""
    tokens_per_second: float
    """Of the engine, median over the replies."""
    first_token_ms: float
    call_ms: float
    """What the frame of a call costs at this pace, median."""
    call_tokens: int
    words: float
    """Tokens of a reply, mean."""
    prompt_tokens: float


def direct_answer(plan: DirectAnswer, progress: Progress) -> Found:
    """Record, replay, and measure.

    Raises:
        UserError: something could not be started, or did not answer.
    """
    run_dir = run_folder.create(None, run_folder.new_run_id("direct-answer"))
    corpora = Path(loadtests.__file__).with_name("corpora")
    with ExitStack() as stack:
        engine = servers.start_engine(
            stack,
            settings_room.load(None, environ={}),
            1,
            run_dir / "engine.log",
            progress=progress,
            restarts=[],
        )
        # A kept connection may be closed by the engine at any moment.
        limits = httpx.Limits(max_keepalive_connections=0)
        http = stack.enter_context(httpx.Client(timeout=_TIMEOUT_S, limits=limits, trust_env=False))
        with progress.doing(f"recording {plan.utterances} replies of the engine"):
            recorded, call_tokens, prompt_tokens = _record(
                http, engine.url, engine.options.model_name, corpora, plan
            )
        replies = run_dir / "replies.json"
        write(replies, recorded)
        argv = [sys.executable, "-m", "firsttoken.upstreams.replayed", "--replies", str(replies)]
        upstream = stack.enter_context(Child.start(argv, log=run_dir / "replayed.log"))
        cloud = servers.start_cloud(stack, plan.seed, run_dir / "cloud.log")
        urls = {}
        for arm in ARMS:
            sections: dict[str, dict[str, Any]] = {
                "voice": {"clients": "all", "unwrap_direct_answer": arm == UNWRAPPED},
                # The other answer would be another text.
                "hedging": {"enable": False},
            }
            local = {
                "endpoint": upstream.url,
                "model": STREAMED if arm == UNWRAPPED else arm,
                # A one-shot call is silent to its end: no reason to ask somebody else here.
                "timeout": _TIMEOUT_S,
            }
            file = servers.write_router_settings(
                run_dir / f"{arm}.yaml", engine, cloud, caches=False, local=local, sections=sections
            )
            urls[arm] = servers.start_router(stack, file, run_dir / f"{arm}.log").url
        tools = [dict(tool) for tool in read_voice_texts(corpora).tools]
        spoken: dict[str, list[list[Spoken]]] = {arm: [[] for _ in recorded] for arm in ARMS}
        for number in range(plan.rounds):
            with progress.doing(f"direct-answer: round {number + 1} of {plan.rounds}"):
                _round(http, urls, recorded, tools, spoken=spoken, number=number)
    return Found(
        spoken,
        float(np.median([_pace(each) for each in recorded])),
        float(np.median([each.after_s[0] for each in recorded])) * 1000,
        float(np.median([each.call_s for each in recorded])) * 1000,
        call_tokens,
        float(np.mean([len(each.pieces) for each in recorded])),
        prompt_tokens,
    )


def _record(
    http: httpx.Client, url: str, model: str, corpora: Path, plan: DirectAnswer
) -> tuple[list[Recorded], int, float]:
    """Return the engine's replies, the tokens of a call's frame, and those of a prompt, mean."""
    personas = read_personas(corpora / "voice_personas.jsonl")
    utterances = read_lines(corpora / "utterances.jsonl", ("lang", "kind", "text"))
    persona = next(each for each in personas if each.lang == "en")
    # Only what the packaged model can answer.
    asked = [
        each["text"]
        for each in utterances
        if each["lang"] == "en" and each["kind"] not in {"complex", "exit"}
    ]
    random.Random(plan.seed).shuffle(asked)  # noqa: S311 - not a secret
    call_tokens = _count_tokens(http, url, CALL_FRAME)
    recorded, prompts = [], []
    # The first one only warms the engine: whoever talks to a device has it know its persona.
    for text in asked[: plan.utterances + 1]:
        body = {
            "model": model,
            "messages": [
                {"role": "system", "content": persona.system},
                {"role": "user", "content": text},
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": plan.max_tokens,
            "temperature": 0.7,
            "seed": plan.seed,
        }
        sent_ns, events = ask(http, url, body)
        said = [event for event in events if isinstance(event, Text)]
        if len(said) < 2:
            raise UserError(f"the engine said nothing to {text!r}")
        after_s = tuple((event.t_ns - sent_ns) / NS_PER_S for event in said)
        interval_s = (after_s[-1] - after_s[0]) / (len(said) - 1)
        pieces = tuple(event.text for event in said)
        recorded.append(Recorded(text, pieces, after_s, call_tokens * interval_s))
        prompts += [
            event.prompt_tokens
            for event in events
            if isinstance(event, Usage) and event.prompt_tokens is not None
        ]
    return recorded[1:], call_tokens, float(np.mean(prompts)) if prompts else float("nan")


def _count_tokens(http: httpx.Client, url: str, text: str) -> int:
    try:
        found = http.post(f"{url}/tokenize", json={"content": text})
        return len(found.raise_for_status().json()["tokens"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{url}/tokenize did not count the tokens: {error}") from error


def _round(
    http: httpx.Client,
    urls: Mapping[str, str],
    recorded: Sequence[Recorded],
    tools: list[dict[str, Any]],
    *,
    spoken: Mapping[str, list[list[Spoken]]],
    number: int,
) -> None:
    """Have each reply spoken by each arm; the arms take turns in beginning."""
    for index, reply in enumerate(recorded):
        turned = (number + index) % len(ARMS)
        for arm in (*ARMS[turned:], *ARMS[:turned]):
            body = {
                "model": "auto",
                "messages": [{"role": "user", "content": reply.asked}],
                "tools": tools,
                "stream": True,
            }
            sent_ns, events = ask(http, urls[arm], body)
            spoken[arm][index].append(_spoken(sent_ns, events))


def _spoken(sent_ns: int, events: Sequence[Event]) -> Spoken:
    heard = Heard()
    for event in events:
        heard.note((event,), event.t_ns)
    if heard.first_sentence_ns is None:
        raise UserError("the router's reply held nothing to be spoken")
    return Spoken(
        (heard.first_sentence_ns - sent_ns) / NS_PER_MS,
        (events[-1].t_ns - sent_ns) / NS_PER_MS,
        any(isinstance(event, Text) for event in events),
    )


def _pace(reply: Recorded) -> float:
    return (len(reply.pieces) - 1) / max(reply.after_s[-1] - reply.after_s[0], 1e-9)


def rows(found: Found) -> list[tuple[str, ...]]:
    """Return a row an arm: answers, how they came, first sentence p50 and p95, ratio of the p50 to
    that of the unwrapped ones with its interval, whole answer p50; ms."""
    table: list[tuple[str, ...]] = []
    base = _delays(found.spoken[UNWRAPPED])
    for arm in ARMS:
        answers = [each for utterance in found.spoken[arm] for each in utterance]
        delays = _delays(found.spoken[arm])
        pooled = np.concatenate(delays)
        shift = paired_quantile_shift(base, delays, 0.5)
        ratio = (
            "1"
            if arm == UNWRAPPED
            else (f"{1 + shift.relative:.2f} [{1 + shift.ci_low:.2f}, {1 + shift.ci_high:.2f}]")
        )
        texts = {each.as_text for each in answers}
        table.append(
            (
                arm.replace("_", "-"),
                str(pooled.size),
                " and ".join("content" if text else "argument" for text in sorted(texts)),
                f"{np.quantile(pooled, 0.5):.0f}",
                f"{np.quantile(pooled, 0.95):.0f}",
                ratio,
                f"{np.median([each.whole_ms for each in answers]):.0f}",
            )
        )
    return table


def _delays(spoken: Sequence[Sequence[Spoken]]) -> list[FloatArray]:
    """Return the first sentences by utterance: the interval is to hold for others, too, of which
    each is worth one, however often it was said."""
    return [np.array([each.first_sentence_ms for each in utterance]) for utterance in spoken]


def page(plan: DirectAnswer, found: Found) -> str:
    """Return what is to be said of it, in Markdown."""
    header = ("shape", "answers", "arrives as", "first sentence p50 ms", "p95 ms")
    more = ("p50 / that of unwrapped", "whole answer p50 ms")
    return (
        f"{plan.utterances} replies of the embedded engine (one talker, prompts of "
        f"{found.prompt_tokens:.0f} tokens on average, its persona in the cache; first token "
        f"{found.first_token_ms:.0f} ms, {found.tokens_per_second:.0f} tokens a second, "
        f"{found.words:.0f} pieces on average) were recorded, and then said again at the same pace "
        f"by a **scripted** upstream behind the router, {plan.rounds} times in each shape, one "
        "request at a time: **unwrapped**: the router leaves the tool out and the words are text; "
        "**streamed**: they are the tool's argument, in pieces; **one-shot**: the whole call comes "
        f"at the end. The frame of a call is {found.call_tokens} tokens that a model writes before "
        f"the first word, {found.call_ms:.0f} ms at this pace, in both wrapped shapes.\n\n"
        f"{markdown_table((*header, *more), rows(found))}\n\n"
        "In brackets the 95 % interval, by bootstrap over the utterances. What a longer prompt "
        "with twelve tools costs the first token is not in these figures."
    )
