"""What the probabilities of a reply's first tokens say of the engine's model, and what they cost.

    python -m benchmarks.confidence [--rounds 3] [--cost-rounds 20] [--model FILE]

Starts an engine with 8 slots and asks it, one request at a time, each query of
``confidence_queries.jsonl``: ordinary ones and hard ones (made-up words, code, sums of several
steps, what nobody can know, Chinese). Prints how well several features of the first tokens tell
the two apart, as the area under the ROC curve (0.5 is chance), and how many of each the scale of
``router/confidence.py`` puts below the guide's threshold. Then decodes with and without
probabilities in turns and prints the milliseconds a token. Exits 0 whatever the figures are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from firsttoken.core.child import Child
from firsttoken.wire.dialects import get
from firsttoken.wire.events import Probabilities, is_token
from router.confidence import TOKENS, Confidence, lower_quartile

QUERIES = Path(__file__).with_name("confidence_queries.jsonl")
SYSTEM = "You are a friendly voice assistant. Answer in one short sentence."
THRESHOLD = 0.8
"""Of the deployment guide."""

SLOTS = 8
COST_TOKENS = 64
WITH: dict[str, object] = {"logprobs": True, "top_logprobs": 2}


@dataclass(frozen=True)
class Answer:
    """The first tokens of one reply."""

    text: str
    kind: str
    logprobs: tuple[float, ...]
    runners_up: tuple[float | None, ...]

    @property
    def hard(self) -> bool:
        """Whether it answers a query that a small model should leave to a larger one."""
        return self.kind != "ordinary"

    def margins(self, tokens: int) -> list[float]:
        """Return the margins between the two likeliest candidates, ascending."""
        pairs = zip(self.logprobs[:tokens], self.runners_up[:tokens], strict=True)
        return sorted(abs(exp(a) - exp(b)) for a, b in pairs if b is not None)

    def confidence(self) -> float | None:
        """Return what the router would make of it."""
        confidence = Confidence()
        confidence.take(Probabilities(0, self.logprobs, self.runners_up))
        return confidence.value()


FEATURES: dict[str, Callable[[Answer, int], float]] = {
    "lower quartile of margins": lambda a, k: lower_quartile(a.margins(k)),
    "least margin": lambda a, k: a.margins(k)[0],
    "mean margin": lambda a, k: statistics.mean(a.margins(k)),
    "lower quartile of logprobs": lambda a, k: lower_quartile(sorted(a.logprobs[:k])),
    "mean of logprobs": lambda a, k: statistics.mean(a.logprobs[:k]),
}


def body(text: str, seed: int, **more: object) -> dict[str, Any]:
    """Return a request as a voice client would send it."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    return {"messages": messages, "stream": True, "temperature": 0.7, "seed": seed, **more}


async def stream(client: httpx.AsyncClient, request: dict[str, Any]) -> tuple[list[Any], int]:
    """Return the events of one reply, stamped, and its size in bytes."""
    reader = get("openai").reader()
    events: list[Any] = []
    size = 0
    async with client.stream("POST", "/v1/chat/completions", json=request) as reply:
        reply.raise_for_status()
        async for chunk in reply.aiter_raw():
            size += len(chunk)
            events += reader.feed(chunk, time.monotonic_ns())
    return events, size


async def answers(client: httpx.AsyncClient, rounds: int) -> list[Answer]:
    """Ask every query ``rounds`` times, each time with another seed."""
    lines = QUERIES.read_text(encoding="utf-8").splitlines()
    queries = [json.loads(line) for line in lines]
    found = []
    for number in range(rounds):
        for place, query in enumerate(queries):
            # One seed for all would draw the same rank of candidate for every first token.
            request = body(query["text"], 1000 * number + place, max_tokens=8, **WITH)
            events, _ = await stream(client, request)
            said = [event for event in events if isinstance(event, Probabilities)]
            logprobs = tuple(value for event in said for value in event.logprobs)
            runners_up = tuple(value for event in said for value in event.runners_up)
            found.append(Answer(query["text"], query["kind"], logprobs, runners_up))
    return found


def area(ordinary: Sequence[float], hard: Sequence[float]) -> float:
    """Return the share of pairs in which the ordinary one has the higher value; ties count half."""
    below = np.subtract.outer(np.asarray(ordinary), np.asarray(hard))
    return float(((below > 0) + 0.5 * (below == 0)).mean())


def interval(values: dict[str, list[float]], hard: dict[str, bool]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the area, drawn over queries: replies to one query
    are no independent samples."""
    rng = np.random.default_rng(7)
    sides = [[text for text in values if hard[text] is side] for side in (False, True)]
    areas = []
    for _ in range(500):
        drawn = [
            [value for text in rng.choice(texts, len(texts)) for value in values[text]]
            for texts in sides
        ]
        areas.append(area(*drawn))
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


def print_separation(found: list[Answer]) -> None:
    """Print the area of each feature over several numbers of tokens."""
    print("| feature | tokens | area | 95 % interval |\n|---|---|---|---|")
    hard = {answer.text: answer.hard for answer in found}
    for name, feature in FEATURES.items():
        for tokens in (3, 4, 6, 8):
            values: dict[str, list[float]] = {}
            for answer in found:
                if len(answer.margins(tokens)) == tokens:
                    values.setdefault(answer.text, []).append(feature(answer, tokens))
            sides = [
                [value for text in values if hard[text] is side for value in values[text]]
                for side in (False, True)
            ]
            low, high = interval(values, hard)
            print(f"| {name} | {tokens} | {area(*sides):.2f} | {low:.2f} to {high:.2f} |")


def print_scale(found: list[Answer]) -> None:
    """Print how many replies of each kind have which confidence."""
    print("\n| queries | replies | below 0.5 | below 0.8 | below 0.9 | unknown |\n|" + "---|" * 6)
    kinds = Counter(answer.kind for answer in found)
    rows = [("all hard", [a for a in found if a.hard])]
    rows += [(kind, [a for a in found if a.kind == kind]) for kind in kinds]
    for name, part in rows:
        values = [answer.confidence() for answer in part]
        known = [value for value in values if value is not None]
        below = [sum(value < limit for value in known) / len(part) for limit in (0.5, 0.8, 0.9)]
        unknown = 1 - len(known) / len(part)
        shares = " | ".join(f"{share:.1%}" for share in (*below, unknown))
        print(f"| {name} | {len(part)} | {shares} |")


async def token_ms(
    client: httpx.AsyncClient, streams: int, seed: int, more: dict[str, object]
) -> tuple[list[float], float]:
    """Return the milliseconds a token of each of ``streams`` replies at once, and bytes a token."""
    request = {"max_tokens": COST_TOKENS, "ignore_eos": True, **more}
    replies = await asyncio.gather(
        *(
            stream(client, body("tell me a long story", seed + number, **request))
            for number in range(streams)
        )
    )
    paces = []
    for events, _ in replies:
        stamps = [event.t_ns for event in events if is_token(event)]
        paces.append((stamps[-1] - stamps[0]) / (len(stamps) - 1) / 1e6)
    return paces, sum(size for _, size in replies) / (COST_TOKENS * streams)


async def print_cost(client: httpx.AsyncClient, rounds: int) -> None:
    """Decode with and without probabilities, in turns, at 1 and at 8 streams."""
    print("\nMedians; of the ratios of pairs the middle half in brackets.\n")
    print("| streams | ms/token without | with | ratio | B/token without | with |\n|" + "---|" * 6)
    for streams in (1, SLOTS):
        paces: dict[bool, list[float]] = {False: [], True: []}
        ratios, sizes = [], {False: 0.0, True: 0.0}
        for number in range(rounds):
            medians = {}
            for asked in (False, True) if number % 2 else (True, False):
                seed = 1000 * number
                more = WITH if asked else {}
                found, sizes[asked] = await token_ms(client, streams, seed, more)
                paces[asked] += found
                medians[asked] = statistics.median(found)
            ratios.append(medians[True] / medians[False])
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        print(
            f"| {streams} | {statistics.median(paces[False]):.2f} "
            f"| {statistics.median(paces[True]):.2f} | {middle:.2f} ({low:.2f} to {high:.2f}) "
            f"| {sizes[False]:.0f} | {sizes[True]:.0f} |"
        )


async def measure(url: str, rounds: int, cost_rounds: int) -> None:
    """Print all tables."""
    # The engine closes a connection right after a stream: each request opens its own.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=120) as client:
        if rounds:
            found = await answers(client, rounds)
            print_separation(found)
            print_scale(found)
        if cost_rounds:
            await print_cost(client, cost_rounds)


def main(argv: Sequence[str] | None = None) -> None:
    """Start the engine, print the tables, stop the engine."""
    parser = argparse.ArgumentParser(description="What first tokens' probabilities say and cost.")
    parser.add_argument("--rounds", type=int, default=3, help="replies to each query")
    parser.add_argument("--cost-rounds", type=int, default=20, help="pairs of decodings")
    parser.add_argument("--model", help="a GGUF file; left out: the packaged one")
    options = parser.parse_args(argv)
    command = [sys.executable, "-m", "firsttoken.cli.main", "engine", "--port", "0", "--json"]
    command += ["--slots", str(SLOTS), "--ctx", "1024"]
    command += ["--model", options.model] if options.model else []
    with Child.start(command, ready_timeout_s=180) as engine:
        print(f"model {engine.ready['model']}, {TOKENS} tokens judged, threshold {THRESHOLD}\n")
        asyncio.run(measure(engine.ready["url"], options.rounds, options.cost_rounds))


if __name__ == "__main__":
    main()
