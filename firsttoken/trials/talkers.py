"""A few talkers with opinions: conversations through the router, ratings, what else boards show.

No measurement: the load generator measures, in a process of its own. These make the events that it
does not, and all of them from one event loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from firsttoken.core.words import REQUEST_ID_HEADER, SESSION_ID_HEADER

SHORT = (
    "hello", "谢谢", "how is the weather today?", "good night, bye", "hi there",
    "what time is it now?", "今天天气怎么样？", "tell me a short joke", "再见",
)  # fmt: skip
"""What people say to a speaker; some of it again and again."""

LONG = (
    "write a program that sorts a list and explain the analysis step by step",
    "translate the following poem and give an analysis of its creative means",
    "帮我分析一下这个问题并写代码",
)
"""What goes to a cloud."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How talkers talk. Shares are of 1."""

    think_s: tuple[float, float] = (0.5, 2.5)
    """Between a reply and the next question: lowest and highest."""
    turns: tuple[int, int] = (3, 6)
    """Questions of one conversation."""
    complex_share: float = 0.15
    repeat_share: float = 0.4
    """Questions that are one of a few that everybody asks."""
    rate_share: float = 0.5
    ratings: tuple[int, ...] = (5, 5, 4, 4, 4, 3, 2)
    hang_up_share: float = 0.03
    """Replies that are not heard to their end."""
    max_tokens: int = 24


@dataclass
class Talkers:
    """Talkers before one router; an asynchronous context manager.

    Args:
        url: the router's address.
        manner: how they talk.
        seed: fixes what they say.
    """

    url: str
    manner: Manner = field(default_factory=Manner)
    seed: int = 1
    answered: int = 0
    failed: int = 0
    rated: int = 0
    """Ratings that the router counted."""
    _talks: int = field(default=0, init=False)
    """How often :meth:`talk` was called: nothing is said under one name twice."""
    _http: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        self._http = httpx.AsyncClient(
            base_url=self.url, timeout=30.0, limits=limits, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def talk(self, count: int, seconds: float) -> None:
        """Let ``count`` talkers converse for some seconds; conversations under way are broken off
        between two questions."""
        until = asyncio.get_running_loop().time() + seconds
        self._talks += 1
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._converse(f"{self.seed}-{self._talks}-{number}", until))

    async def ask(
        self,
        text: str,
        *,
        model: str = "auto",
        session: str | None = None,
        request: str | None = None,
        earlier: Sequence[dict[str, str]] = (),
        hang_up: bool = False,
    ) -> str | None:
        """Ask one question; return the answer, None where there was none."""
        messages = [*earlier, {"role": "user", "content": text}]
        body: dict[str, Any] = {"model": model, "messages": messages, "stream": True}
        body["max_tokens"] = self.manner.max_tokens
        # Without it a cloud does not say how many tokens there were, and fees cannot be told.
        body["stream_options"] = {"include_usage": True}
        headers = {SESSION_ID_HEADER: session, REQUEST_ID_HEADER: request}
        known = {name: value for name, value in headers.items() if value is not None}
        parts: list[bytes] = []
        try:
            async with self._http.stream(
                "POST", "/v1/chat/completions", json=body, headers=known
            ) as response:
                async for chunk in response.aiter_raw():
                    parts.append(chunk)
                    if hang_up and b"content" in chunk:
                        return None
        except httpx.HTTPError:
            self.failed += 1
            return None
        whole = b"".join(parts)
        if response.status_code != 200 or b"[DONE]" not in whole:
            self.failed += 1
            return None
        self.answered += 1
        return f"{len(whole)} bytes"

    async def rate(self, request: str, stars: int) -> None:
        """Rate the answer to a request."""
        reply = await self._http.post("/v1/feedback", json={"request_id": request, "rating": stars})
        self.rated += reply.status_code == httpx.codes.ACCEPTED

    async def announce(self, run_id: str, scenario: str) -> None:
        """Say that a load test begins."""
        told = {"state": "start", "run_id": run_id, "scenario": scenario}
        (await self._http.post("/-/load-test", json=told)).raise_for_status()

    async def conclude(self, run_id: str) -> None:
        """Say that a load test has ended."""
        told = {"state": "stop", "run_id": run_id}
        (await self._http.post("/-/load-test", json=told)).raise_for_status()

    async def _converse(self, talker: str, until: float) -> None:
        draw = random.Random(talker)  # noqa: S311 - no secret
        loop = asyncio.get_running_loop()
        conversation = 0
        while loop.time() < until:
            conversation += 1
            session = f"talker-{talker}-{conversation}"
            for turn in range(draw.randint(*self.manner.turns)):
                if loop.time() >= until:
                    return
                await self._turn(draw, session, turn)
                await asyncio.sleep(draw.uniform(*self.manner.think_s))

    async def _turn(self, draw: random.Random, session: str, turn: int) -> None:
        manner = self.manner
        request = f"{session}-{turn}"
        if draw.random() < manner.complex_share:
            text = f"{draw.choice(LONG)} ({request})"
        else:
            text = draw.choice(SHORT)
            if draw.random() >= manner.repeat_share:
                text = f"{text} {request}"
        hang_up = draw.random() < manner.hang_up_share
        heard = await self.ask(text, session=session, request=request, hang_up=hang_up)
        if heard is not None and draw.random() < manner.rate_share:
            await self.rate(request, draw.choice(manner.ratings))
