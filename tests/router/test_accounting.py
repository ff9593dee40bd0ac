"""Many requests at once, with faults and clients that leave: everything is counted once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import httpx
import pytest

from tests.router.conftest import Start, chat
from tests.router.upstream import (
    ROLE,
    Call,
    Script,
    answer,
    delta,
    refuse,
    silent,
    then_cut,
    then_silent,
)

REQUESTS = 40


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_outcomes_add_up_and_texts_never_mix(start: Start, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - a schedule, no secret

    def behave(word: str) -> list[Script]:
        text = delta(word)
        return [
            answer(word, word),
            answer(word),
            refuse(503),
            silent,
            then_silent(ROLE),
            then_silent(text),
            then_cut(ROLE),
            then_cut(ROLE, text),
        ]

    scripts = {word: behave(word) for word in ("near", "far")}

    async def local(call: Call) -> None:
        await draw.choice(scripts["near"])(call)

    async def cloud(call: Call) -> None:
        await draw.choice(scripts["far"])(call)

    router = await start(local, cloud, backend={"first_token_timeout_s": 0.1})
    ids = [f"request-{number}" for number in range(REQUESTS)]
    contents: list[bytes] = []

    async def talk(request_id: str, patience_s: float | None) -> None:
        async with httpx.AsyncClient(base_url=router.url, timeout=10) as client:
            posting = client.post(
                "/v1/chat/completions",
                json=chat(stream=draw.random() < 0.8),
                headers={"X-Request-Id": request_id},
            )
            try:
                contents.append((await asyncio.wait_for(posting, patience_s)).content)
            except TimeoutError:
                return

    patience = [draw.choice([None, None, 0.02, 0.12]) for _ in ids]
    await asyncio.gather(*(talk(*each) for each in zip(ids, patience, strict=True)))
    stayed = patience.count(None)
    await router.settled(stayed)
    async with asyncio.timeout(5):
        while await router.metric("llm_requests_in_flight") > 0:
            pass
    decisions = await router.decisions()
    outcomes = Counter(each["outcome"] for each in decisions)
    assert stayed <= len(decisions) <= REQUESTS
    assert len({each["request_id"] for each in decisions}) == len(decisions)
    assert await router.metric("llm_requests_total") == len(decisions)
    for outcome, count in outcomes.items():
        assert await router.metric("llm_requests_total", outcome=outcome) == count
    attempts = await router.attempts()
    assert sum(each["attempts"] for each in decisions) == len(attempts)
    assert await router.metric("llm_attempts_total") == len(attempts)
    assert sum(each["committed"] for each in attempts) <= len(decisions)
    assert {"success", "error"} <= set(outcomes)
    for content in contents:
        assert not (b"near" in content and b"far" in content)
