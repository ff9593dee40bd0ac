"""Pages of engines become readings; pages that are none become errors."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.engines.asking import ENGINES
from exporter.engines.llama_cpp import LLAMA_CPP
from exporter.engines.ollama import OLLAMA
from exporter.engines.reading import ReadingError
from exporter.engines.vllm import VLLM
from firsttoken.core.catalogue import CATALOGUE, LABEL_VALUES
from tests.exporter.standin import OLLAMA_MODEL, OLLAMA_RUNNING, vllm_metrics

LLAMA_METRICS = b"""\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 38
llamacpp:prompt_tokens_cached_total 24
llamacpp:prompt_seconds_total 0.146451
llamacpp:tokens_predicted_total 5
llamacpp:tokens_predicted_seconds_total 0.032784
# TYPE llamacpp:predicted_tokens_seconds gauge
llamacpp:predicted_tokens_seconds 122.1
llamacpp:requests_processing 2
llamacpp:requests_deferred 1
"""
LLAMA_PAGES = {
    "/props": b'{"default_generation_settings":{"n_ctx":2048},"total_slots":24}',
    "/metrics": LLAMA_METRICS,
    "/slots": b'[{"id":0,"is_processing":true},{"id":1,"is_processing":false}]',
    "/v1/models": b'{"data":[{"id":"m","meta":{"size":96576768}}]}',
}


def test_llama_cpp() -> None:
    reading = LLAMA_CPP.read(LLAMA_PAGES, None)
    assert reading.values == {
        "llm_engine_tokens_total": {("input",): 62.0, ("cached",): 24.0, ("output",): 5.0},
        "llm_engine_busy_seconds_total": {("input",): 0.146451, ("output",): 0.032784},
        "llm_engine_requests": {("processing",): 2.0, ("deferred",): 1.0},
        "llm_engine_slots": {(): 24.0},
        "llm_engine_model_loaded": {(): 1.0},
        "llm_engine_model_bytes": {(): 96576768.0},
    }
    assert reading.models == ("m",)


def test_llama_cpp_without_its_optional_pages() -> None:
    reading = LLAMA_CPP.read({"/props": LLAMA_PAGES["/props"]}, None)
    assert set(reading.values) == {"llm_engine_slots", "llm_engine_model_loaded"}
    pages = {"/props": LLAMA_PAGES["/props"], "/slots": LLAMA_PAGES["/slots"]}
    told = LLAMA_CPP.read(pages, None).values
    assert told["llm_engine_requests"] == {("processing",): 1.0}


@pytest.mark.parametrize(
    ("model", "loaded"),
    [(None, True), ("qwen2:1.5b-instruct-q4_0", True), ("qwen2", False), ("llama3", False)],
)
def test_ollama(model: str | None, loaded: bool) -> None:
    pages = {
        "/api/ps": orjson.dumps({"models": [OLLAMA_RUNNING]}),
        "/api/tags": orjson.dumps({"models": [{**OLLAMA_MODEL, "name": "b"}, OLLAMA_MODEL]}),
    }
    reading = OLLAMA.read(pages, model)
    assert reading.values["llm_engine_model_loaded"] == {(): float(loaded)}
    size = reading.values.get("llm_engine_model_bytes")
    assert size == ({(): 1_912_602_624.0} if loaded else None)
    assert reading.models == ("qwen2:1.5b-instruct-q4_0", "b")
    assert (reading.loaded, reading.context) == (loaded, 2048 if loaded else None)


def test_a_name_without_a_tag_means_the_latest() -> None:
    pages = {"/api/ps": b'{"models":[{"name":"hub/qwen2:latest"}]}'}
    assert OLLAMA.read(pages, "hub/qwen2").loaded
    assert not OLLAMA.read({"/api/ps": b'{"models":[]}'}, None).loaded


@pytest.mark.parametrize("engines", [1, 2])
def test_vllm(engines: int) -> None:
    pages = {"/metrics": vllm_metrics(engines), "/v1/models": b'{"data":[{"id":"q"}]}'}
    reading = VLLM.read(pages, None)
    assert reading.values == {
        "llm_engine_requests": {("processing",): 3.0 * engines, ("deferred",): 2.0 * engines},
        "llm_engine_tokens_total": {
            ("input",): 1000.0 * engines,
            ("output",): 400.0 * engines,
            ("cached",): 600.0 * engines,
        },
        "llm_engine_busy_seconds_total": {
            ("input",): 12.5 * engines,
            ("output",): 20.25 * engines,
        },
        "llm_engine_model_loaded": {(): 1.0},
    }
    assert reading.models == ("q",)


def test_each_engine_recognises_its_own_page_alone() -> None:
    bodies = {
        LLAMA_CPP.collector: LLAMA_PAGES["/props"],
        OLLAMA.collector: b'{"version":"0.12.6"}',
        VLLM.collector: vllm_metrics(),
    }
    for engine in ENGINES:
        for collector, body in bodies.items():
            assert engine.recognises(body) is (collector is engine.collector)


def test_every_value_is_in_the_catalogue() -> None:
    readings = (
        LLAMA_CPP.read(LLAMA_PAGES, None),
        OLLAMA.read({"/api/ps": orjson.dumps({"models": [OLLAMA_RUNNING]})}, None),
        VLLM.read({"/metrics": vllm_metrics()}, None),
    )
    for reading in readings:
        for name, values in reading.values.items():
            first, *others = CATALOGUE[name].labels
            assert first == "backend"
            for labels in values:
                assert len(labels) == len(others)
                assert all(
                    value in LABEL_VALUES[label]
                    for label, value in zip(others, labels, strict=True)
                )


def test_what_cannot_be_counted_is_left_out() -> None:
    text = (
        b"vllm:num_requests_running NaN\nvllm:num_requests_waiting -1\nvllm:prompt_tokens_total 1\n"
    )
    values = VLLM.read({"/metrics": text}, None).values
    assert set(values) == {"llm_engine_tokens_total", "llm_engine_model_loaded"}


GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            *(b"", b"null", b"[]", b"{}", b'{"models":3}', b'{"models":[3,{}]}', b"\xff\xfe"),
            *(b'{"total_slots":-1}', b'{"total_slots":true}', b'{"version":1}', b"[" * 5000),
            *(
                b"vllm:num_requests_running",
                b"vllm:num_requests_running{",
                b"vllm:prompt_tokens_total x",
            ),
            *(b'vllm:prompt_tokens_total{a="b} 1', b"llamacpp:requests_processing {} {}"),
        ]
    ),
)


@settings(max_examples=200)
@given(st.lists(GARBAGE, min_size=4, max_size=4))
def test_garbage_is_an_error_or_nothing(bodies: list[bytes]) -> None:
    for each in ENGINES:
        assert each.recognises(bodies[0]) in {True, False}
        pages = dict(zip((each.page, *each.more), bodies, strict=False))
        try:
            reading = each.read(pages, None)
        except ReadingError:
            continue
        assert all(value >= 0 for values in reading.values.values() for value in values.values())
