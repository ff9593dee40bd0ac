"""Polls and probes of stand-ins, well behaved and not; what is exposed of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter import fetch, watching
from exporter.measures import Measures
from exporter.probe import Probed
from exporter.watching import Target, Watching
from firsttoken.core.words import Outcome
from tests.exporter.standin import (
    OPENAI_REPLY,
    Answer,
    StandIn,
    endless,
    ollama,
    page,
    silence,
    vllm,
)

QWEN = "qwen2:1.5b-instruct-q4_0"
TTFT = "llm_probe_time_to_first_token_seconds_count"


def exposed(measures: Measures) -> dict[tuple[str, ...], float]:
    """Return the samples by name and label values in the order of the labels' names."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(measures.render().decode())
        for sample in family.samples
    }


Watch = Callable[..., Watching]


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Make what watches a URL; its loops are not started, the tests take the steps."""
    made: list[Watching] = []

    def make(url: str, **told: object) -> Watching:
        new = Watching(Target(url, **told))  # type: ignore[arg-type]
        made.append(new)
        return new

    yield make
    for each in made:
        await each.aclose()


async def test_ollama_is_found_polled_and_probed(watch: Watch) -> None:
    async with StandIn(ollama()) as engine:
        one = watch(engine.url)
        await one.poll()
        await one.probe()
        samples = exposed(one.measures)
        assert samples["llm_backend_up", "local"] == 1
        assert samples["llm_engine_model_loaded", "local"] == 1
        assert samples["llm_engine_model_bytes", "local"] == 1_912_602_624
        assert samples["llm_probes_total", "local", "success"] == 1
        assert samples[TTFT, "local", QWEN] == 1
        assert samples["llm_probe_engine_seconds", "local", "load"] == 0.02
        assert samples["llm_probe_engine_seconds", "local", "prompt"] == 0.09
        assert samples["llm_exporter_collections_total", "ollama", "success"] >= 1
        ((path, _, body),) = engine.posts()
        # As it is loaded: another context would make Ollama load it anew for each probe.
        assert (path, body["options"]["num_ctx"]) == ("/api/chat", 2048)
        assert body["model"] == QWEN
        assert body["options"]["num_predict"] == 4


async def test_a_model_that_is_not_loaded_is_not_probed(watch: Watch) -> None:
    async with StandIn(ollama(loaded=False)) as engine:
        one = watch(engine.url, model=QWEN)
        await one.poll()
        await one.probe()
        samples = exposed(one.measures)
        assert samples["llm_engine_model_loaded", "local"] == 0
        assert samples["llm_probes_total", "local", "cancelled"] == 1
        assert samples["llm_backend_up", "local"] == 1
        assert not engine.posts()


async def test_options_of_the_settings_go_with_the_probe(watch: Watch) -> None:
    async with StandIn(ollama()) as engine:
        brought = {"keep_alive": "24h", "options": {"num_ctx": 1024, "num_thread": 2}}
        one = watch(engine.url, ollama=brought, api_key="k")
        await one.poll()
        await one.probe()
        ((_, headers, body),) = engine.posts()
        assert body["keep_alive"] == "24h"
        assert (body["options"]["num_ctx"], body["options"]["num_thread"]) == (1024, 2)
        assert headers["authorization"] == "Bearer k"
        assert b"Bearer" not in one.measures.render()


async def test_vllm_is_found_polled_and_probed(watch: Watch) -> None:
    async with StandIn(vllm()) as engine:
        one = watch(engine.url)
        await one.poll()
        await one.probe()
        samples = exposed(one.measures)
        assert samples["llm_engine_requests", "local", "deferred"] == 2
        assert samples["llm_engine_tokens_total", "local", "output"] == 400
        assert samples[TTFT, "local", "Qwen/Qwen2-1.5B-Instruct-AWQ"] == 1
        assert ("llm_engine_slots", "local") not in samples


async def test_an_engine_that_only_speaks_openai_is_probed(watch: Watch) -> None:
    pages = {
        "/v1/models": page({"data": [{"id": "m"}]}),
        "/v1/chat/completions": page(OPENAI_REPLY),
    }
    async with StandIn(pages) as engine:
        one = watch(engine.url)
        await one.poll()
        await one.probe()
        samples = exposed(one.measures)
        assert samples["llm_backend_up", "local"] == 1
        assert samples[TTFT, "local", "m"] == 1
        prompts = set()
        for _ in range(3):
            await one.probe()
        prompts = {body["messages"][0]["content"] for _, _, body in engine.posts()}
        assert len(prompts) == 4  # none of them can be answered from a cache of prompts


async def test_an_engine_that_dies_has_no_figures_left_and_may_come_back_as_another(
    watch: Watch,
) -> None:
    async with StandIn(vllm()) as engine:
        one = watch(engine.url)
        await one.poll()
        await one.probe()
        engine.pages = {}
        await one.poll()
        samples = exposed(one.measures)
        assert samples["llm_backend_up", "local"] == 0
        assert not [key for key in samples if key[0].startswith("llm_engine_")]
        engine.pages = ollama()
        await one.poll()
        assert exposed(one.measures)["llm_engine_model_loaded", "local"] == 1
        await engine.stop()
        await one.poll()
        await one.probe()
        samples = exposed(one.measures)
        assert samples["llm_backend_up", "local"] == 0
        assert samples["llm_probes_total", "local", "error"] == 1
        # What was learned of the probes before stays: they are counters.
        assert samples["llm_probes_total", "local", "success"] == 1


async def test_nobody_at_the_address(watch: Watch) -> None:
    async with StandIn({}) as gone:
        url = gone.url
    one = watch(url, model="m")
    await one.poll()
    await one.probe()
    samples = exposed(one.measures)
    assert samples["llm_backend_up", "local"] == 0
    assert samples["llm_probes_total", "local", "error"] == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (silence, "timeout"),
        (endless, "error"),
        (page(b"\x00garbage"), "error"),
        (page(b"data: {}\n\n"), "error"),
        (page(b"{}", 500), "error"),
        (page(b"{}", 503), "rejected"),
        (page(b"{}", 429), "rejected"),
        (page(OPENAI_REPLY[:80]), "error"),
    ],
)
async def test_a_probe_always_ends(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, answer: Answer, outcome: str
) -> None:
    monkeypatch.setattr(watching, "TIMEOUT_S", 0.3)
    async with StandIn({**vllm(), "/v1/chat/completions": answer}) as engine:
        one = watch(engine.url)
        await one.poll()
        await one.probe()
        samples = exposed(one.measures)
        assert samples["llm_probes_total", "local", outcome] == 1
        assert samples["llm_backend_up", "local"] == 0
        assert (TTFT, "local", "Qwen/Qwen2-1.5B-Instruct-AWQ") not in samples


@pytest.mark.parametrize(("answer", "outcome"), [(silence, "timeout"), (endless, "error")])
async def test_a_page_that_hangs_or_never_ends_is_given_up(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, answer: Answer, outcome: str
) -> None:
    monkeypatch.setattr(fetch.fetch_with, "__defaults__", (0.3,))
    async with StandIn(vllm()) as engine:
        one = watch(engine.url)
        await one.poll()
        engine.pages = {"/metrics": answer}
        began_s = time.monotonic()
        await one.poll()
        assert time.monotonic() - began_s < 5
        samples = exposed(one.measures)
        assert samples["llm_backend_up", "local"] == 0
        assert samples["llm_exporter_collections_total", "vllm", outcome] == 1


async def test_a_scrape_does_not_wait_for_an_engine_that_hangs(watch: Watch) -> None:
    async with StandIn(dict.fromkeys(("/props", "/metrics", "/api/version"), silence)) as engine:
        one = watch(engine.url)
        polling = asyncio.ensure_future(one.poll())
        await asyncio.sleep(0)
        began_s = time.monotonic()
        assert ("llm_backend_up", "local") not in exposed(one.measures)
        assert time.monotonic() - began_s < 1
        polling.cancel()


async def test_probes_never_overlap() -> None:
    """However often they are due: the loop makes the next one when the last has ended."""
    slow, made = asyncio.Event(), asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        made.set()
        await slow.wait()
        await page(OPENAI_REPLY)(writer)

    async with StandIn({**vllm(), "/v1/chat/completions": late}) as engine:
        one = Watching(Target(engine.url, probe_s=0.001))
        one.start()
        async with asyncio.timeout(5):
            await made.wait()
            slow.set()
            await engine.until(lambda: len(engine.posts()) >= 5)
        assert engine.most_at_once == 1
        await one.aclose()


async def test_names_that_an_engine_makes_up_are_one_label() -> None:
    measures = Measures("local", None, tuple)
    for number in range(1000):
        measures.probed(f"made-up-{number}", Probed(Outcome.SUCCESS, 0.2))
    samples = exposed(measures)
    assert samples[TTFT, "local", "made-up-0"] == 1
    assert samples[TTFT, "local", "other"] == 999
    assert sum(1 for key in samples if key[0] == TTFT) == 2
