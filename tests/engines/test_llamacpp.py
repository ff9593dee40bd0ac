"""Options become llama.cpp's parameters; its first error is found in its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from firsttoken.engines import llamacpp
from firsttoken.engines.options import EngineOptions


def test_parameters() -> None:
    params = llamacpp.common_params(
        EngineOptions(
            model=Path("/models/m.gguf"),
            slots=3,
            context_per_slot=500,
            threads=2,
            max_tokens=7,
            batch=256,
            micro_batch=64,
            prompt_cache_mib=5,
            port=1234,
            host="::1",
        )
    )
    assert params.model.path == "/models/m.gguf"
    assert params.model_alias == {"m"}
    assert params.hostnames == ["::1"]
    assert params.port == 1234
    assert (params.n_parallel, params.n_ctx, params.n_predict) == (3, 1500, 7)
    assert (params.n_batch, params.n_ubatch) == (256, 64)
    assert params.cpuparams.n_threads == params.cpuparams_batch.n_threads == 2
    assert params.cache_ram_mib == 5
    assert params.n_gpu_layers == 0
    assert params.endpoint_metrics
    assert params.endpoint_slots
    assert params.warmup
    assert not params.ui
    assert not params.fit_params
    assert params.cors_origins == ""


@pytest.mark.parametrize(
    ("mmap", "mlock", "mode"),
    [
        (True, False, "MMAP"),
        (False, False, "NONE"),
        (False, True, "MLOCK"),
        (True, True, "MMAP_MLOCK"),
    ],
)
def test_load_modes(mmap: bool, mlock: bool, mode: str) -> None:
    params = llamacpp.common_params(EngineOptions(model=Path("m"), mmap=mmap, mlock=mlock))
    assert params.load_mode.name == f"LLAMA_LOAD_MODE_{mode}"


def test_the_first_native_error_is_the_reason() -> None:
    log = (
        b"0.00.001.862 I srv init: hello\n"
        b"0.00.008.909 E llama_model_load: error  loading model: unknown architecture\n"
        b"0.00.009.323 E srv init: exiting due to model loading error\n"
    )
    assert llamacpp.native_error(log) == (
        "llama_model_load: error loading model: unknown architecture"
    )
    assert llamacpp.native_error(b"0.00.001.862 I srv init: hello\n") == ""
