"""What the runners share. A runner is a program of its own, run by the Python that has its tool.

    python -m benchmarks.client.runners.X --mode traps --url URL --traps role_early,...
    python -m benchmarks.client.runners.X --mode load --url URL --users N --seconds S --tokens N

It prints one JSON object a request: ``trap`` or ``request_id``, ``ttft_ms``, where it has them
``first_ns`` (its own stamp of the first token on the monotonic clock), ``text_ms``, ``e2e_ms`` and
``tokens``, and ``ok``: whether it took the reply for a success. Only the standard library is used
here, for the tools live in environments of their own. The first trap is asked for twice and told
once: what a tool does on its first request alone is not what is looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

Ask = Callable[[Any, str, str, int, "Seen"], None]
"""Has a client ask: client, model, request id, most tokens; what it saw goes to the last."""
AsyncAsk = Callable[[Any, str, str, int, "Seen"], Awaitable[None]]

RAMP_S = 1.0
PROMPT = "What is the truth?"


@dataclass
class Seen:
    """What a tool saw of one reply."""

    sent_ns: int
    first_ns: int | None = None
    text_ns: int | None = None
    end_ns: int | None = None
    tokens: int | None = None
    ok: bool = False

    def told(self, **name: str) -> dict[str, Any]:
        """Return the object to print."""
        return {
            **name,
            "ttft_ms": _ms(self.sent_ns, self.first_ns),
            "text_ms": _ms(self.sent_ns, self.text_ns),
            "e2e_ms": _ms(self.sent_ns, self.end_ns),
            **{
                key: value
                for key, value in asdict(self).items()
                if key in {"first_ns", "tokens", "ok"}
            },
        }


def _ms(start_ns: int, end_ns: int | None) -> float | None:
    return None if end_ns is None else (end_ns - start_ns) / 1e6


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("traps", "load"), required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--traps", default="")
    parser.add_argument("--users", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--name", default="tool")
    return parser.parse_args()


def body(model: str, max_tokens: int) -> dict[str, Any]:
    """Return the request every tool sends."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": max_tokens,
    }


def headers(request_id: str) -> dict[str, str]:
    """Return the headers of a request."""
    return {"X-Request-Id": request_id, "Authorization": "Bearer none"}


def read_lines(lines: Iterator[bytes | str], seen: Seen) -> None:
    """Follow a stream line by line, as clients written in an afternoon do; stamp before parsing."""
    counted = 0
    for line in lines:
        now_ns = time.monotonic_ns()
        counted += take(line, now_ns, seen)
        if seen.end_ns is not None:
            break
    finish(seen, counted)


def finish(seen: Seen, counted: int) -> None:
    """Note the end of a stream that was followed by :func:`take`."""
    if seen.end_ns is None:
        seen.end_ns = time.monotonic_ns()
    if seen.tokens is None:
        seen.tokens = counted
    seen.ok = True


def take(line: bytes | str, now_ns: int, seen: Seen) -> int:
    """Take one line; return the number of tokens by its frame."""
    text = line.decode() if isinstance(line, bytes) else line
    if not text.startswith("data:"):
        return 0
    data = text[5:].strip()
    if data == "[DONE]":
        seen.end_ns = now_ns
        return 0
    value = json.loads(data)
    if value.get("error"):
        raise RuntimeError(str(value["error"])[:100])
    if value.get("usage"):
        seen.tokens = value["usage"]["completion_tokens"]
    choices = value.get("choices") or [{}]
    content = (choices[0].get("delta") or {}).get("content")
    if not content:
        return 0
    if seen.first_ns is None:
        seen.first_ns = seen.text_ns = now_ns
    return 1


def tell(value: dict[str, Any]) -> None:
    """Print one object."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def model_of(trap: str) -> str:
    """Return the model that asks for a trap."""
    return f"trap:{trap}"


def attempt(ask: Ask, client: Any, model: str, request_id: str, tokens: int) -> Seen:
    """Have a tool ask once; whatever it raises is what it says of the reply: not a success."""
    seen = Seen(time.monotonic_ns())
    try:
        ask(client, model, request_id, tokens, seen)
    except Exception as error:  # noqa: BLE001 - every tool has its own kinds
        seen.end_ns = time.monotonic_ns()
        print(f"{type(error).__name__}: {error}"[:300], file=sys.stderr)
    return seen


def run_gevent(make: Callable[[], Any], ask: Ask) -> None:
    """Run a tool that blocks, under gevent: ``ask(client, model, request_id, tokens, seen)``.

    ``make`` returns one talker's client. Each trap gets a new one; under load each talker keeps
    its own. Nothing is printed before the load has ended.
    """
    import gevent  # noqa: PLC0415 - a runner of asyncio has none

    given = options()
    if given.mode == "traps":
        traps = given.traps.split(",")
        attempt(ask, make(), model_of(traps[0]), "warm-up", given.tokens)
        for trap in traps:
            seen = attempt(ask, make(), model_of(trap), f"trap-{trap}", given.tokens)
            tell(seen.told(trap=trap))
        return
    told: list[dict[str, Any]] = []
    begin_s = time.monotonic()

    def talk(user: int) -> None:
        gevent.sleep(RAMP_S * user / given.users)
        client = make()
        turn = 0
        while time.monotonic() < begin_s + RAMP_S + given.seconds:
            request_id = f"talk-{user}-{turn}"
            seen = attempt(ask, client, "truth", request_id, given.tokens)
            told.append(seen.told(request_id=request_id))
            turn += 1
            if not seen.ok:
                gevent.sleep(0.1)

    gevent.joinall([gevent.spawn(talk, user) for user in range(given.users)], raise_error=True)
    for value in told:
        tell(value)


async def _attempt_async(
    ask: AsyncAsk, client: Any, model: str, request_id: str, tokens: int
) -> Seen:
    seen = Seen(time.monotonic_ns())
    try:
        await ask(client, model, request_id, tokens, seen)
    except Exception as error:  # noqa: BLE001 - every tool has its own kinds
        seen.end_ns = time.monotonic_ns()
        print(f"{type(error).__name__}: {error}"[:300], file=sys.stderr)
    return seen


def run_asyncio(make: Callable[[], Any], ask: AsyncAsk) -> None:
    """Run a tool of asyncio; ``make`` returns the one client that all talkers share, which is an
    asynchronous context manager."""
    given = options()

    async def traps() -> None:
        names = given.traps.split(",")
        for number, trap in enumerate([names[0], *names]):
            async with make() as client:
                args = (model_of(trap), f"trap-{trap}", given.tokens)
                seen = await _attempt_async(ask, client, *args)
            if number:
                tell(seen.told(trap=trap))

    async def load() -> None:
        told: list[dict[str, Any]] = []
        begin_s = time.monotonic()

        async def talk(client: Any, user: int) -> None:
            await asyncio.sleep(RAMP_S * user / given.users)
            turn = 0
            while time.monotonic() < begin_s + RAMP_S + given.seconds:
                request_id = f"talk-{user}-{turn}"
                seen = await _attempt_async(ask, client, "truth", request_id, given.tokens)
                told.append(seen.told(request_id=request_id))
                turn += 1
                if not seen.ok:
                    await asyncio.sleep(0.1)

        async with make() as client:
            await asyncio.gather(*(talk(client, user) for user in range(given.users)))
        for value in told:
            tell(value)

    asyncio.run(traps() if given.mode == "traps" else load())
