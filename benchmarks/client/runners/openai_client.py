"""The official client's loop: the first chunk, or the first chunk with content."""

from __future__ import annotations

import time

import openai

from benchmarks.client.runners.common import PROMPT, Seen, finish, options, run_asyncio

given = options()


def _make() -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{given.url}/v1", api_key="none", max_retries=0)


async def _ask(
    client: openai.AsyncOpenAI, model: str, request_id: str, tokens: int, seen: Seen
) -> None:
    stream = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": PROMPT}],
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=tokens,
        extra_headers={"X-Request-Id": request_id},
    )
    counted = 0
    async for chunk in stream:
        now_ns = time.monotonic_ns()
        content = chunk.choices[0].delta.content if chunk.choices else None
        counted += bool(content)
        if seen.first_ns is None and (content or "first chunk" in given.name):
            seen.first_ns = now_ns
        if seen.text_ns is None and content:
            seen.text_ns = now_ns
        if chunk.usage is not None:
            seen.tokens = chunk.usage.completion_tokens
    finish(seen, counted)


if __name__ == "__main__":
    run_asyncio(_make, _ask)
