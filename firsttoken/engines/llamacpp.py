"""The engine's child process: llama.cpp's own HTTP server.

``python -m firsttoken.engines.llamacpp OPTIONS_JSON`` (see :class:`EngineOptions`) loads the model,
serves, and prints the ready line ``{"url", "pid", "slots", "context_per_slot"}``. What llama.cpp
logs goes to standard error. Started by :mod:`firsttoken.engines.supervisor`.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from firsttoken.core.child import die_with_parent
from firsttoken.engines.options import EngineOptions

_WARNINGS_AND_ERRORS = 2
_TAIL_BYTES = 16_384
_NATIVE_ERROR = re.compile(rb"^\S+ E (.+)$", re.MULTILINE)
_PRELOAD_TIMEOUT_S = 120.0
_EXIT_CANNOT_LOAD = 2


def common_params(options: EngineOptions) -> Any:
    """Return llama.cpp's ``CommonParams`` for ``options``; see there what each one means."""
    import xllamacpp  # noqa: PLC0415 - a hundred megabytes of native code, for the child alone

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = {options.model_name}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_parallel = options.slots
    params.n_ctx = options.slots * options.context_per_slot
    params.n_predict = options.max_tokens
    params.n_batch = options.batch
    params.n_ubatch = options.micro_batch
    params.n_gpu_layers = options.gpu_layers
    params.cpuparams.n_threads = options.threads
    params.cpuparams.poll = options.polling
    params.cpuparams_batch.n_threads = options.threads
    params.cpuparams_batch.poll = options.polling
    # Every stream and every idle connection holds a thread of the HTTP server.
    params.n_threads_http = 2 * options.slots + 8
    params.kv_unified = options.unified_cache
    params.cache_ram_mib = options.prompt_cache_mib
    params.slot_prompt_similarity = options.slot_similarity
    if options.chat_template:
        params.use_jinja = True
        params.chat_template = options.chat_template
    params.flash_attn_type = xllamacpp.llama_flash_attn_type(int(options.flash_attention))
    params.load_mode = _load_mode(xllamacpp, mmap=options.mmap, mlock=options.mlock)
    if options.numa:
        params.numa = xllamacpp.ggml_numa_strategy.GGML_NUMA_STRATEGY_DISTRIBUTE
    params.fit_params = False  # the memory was checked: keep to the numbers given
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.warmup = True
    params.ui = False
    params.cors_origins = ""  # no web page of another origin may read from an engine without a key
    params.cors_credentials = False
    params.offline = True
    params.verbosity = _WARNINGS_AND_ERRORS
    return params


def _load_mode(xllamacpp: Any, *, mmap: bool, mlock: bool) -> Any:
    modes = xllamacpp.llama_load_mode
    return {
        (False, False): modes.LLAMA_LOAD_MODE_NONE,
        (True, False): modes.LLAMA_LOAD_MODE_MMAP,
        (False, True): modes.LLAMA_LOAD_MODE_MLOCK,
        (True, True): modes.LLAMA_LOAD_MODE_MMAP_MLOCK,
    }[mmap, mlock]


def native_error(tail: bytes) -> str:
    """Return the first error in the end of llama.cpp's log, or an empty string: what comes after
    the first one only says that it was given up."""
    found = _NATIVE_ERROR.search(tail)
    return " ".join(found.group(1).decode("utf-8", "replace").split()) if found else ""


def _log_size() -> int:
    return os.fstat(2).st_size


def _log_since(start: int) -> bytes:
    """Read back our own log; empty where standard error is no file opened for reading too."""
    with suppress(OSError):
        return os.pread(2, _TAIL_BYTES, start)
    return b""


def _ask(options: EngineOptions, port: int, method: str, path: str, body: str | None) -> Any:
    connection = http.client.HTTPConnection(options.host, port, timeout=_PRELOAD_TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise RuntimeError(f"{path} answered {response.status}: {answer}")
    return answer


def _await_stop() -> None:
    """Body of the stopping thread. The compute threads hold nothing that needs saving: leaving at
    once is clean, while taking the server apart would wait for the answers under way."""
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)


def main(argv: list[str]) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SystemExit: with a line on standard error, where llama.cpp cannot load the model or bind.
    """
    die_with_parent()
    options = EngineOptions.from_json(argv[0])
    ready_line = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what llama.cpp prints on standard output belongs in the log
    params = common_params(options)
    import xllamacpp  # noqa: PLC0415 - as above

    start = _log_size()
    try:
        # The constructor keeps the interpreter until the model is loaded: no handler of ours could
        # run, so the signals keep their default effect for as long.
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        reason = native_error(_log_since(start)) or str(error)
        sys.stderr.write(f"llama.cpp could not start with {options.model}: {reason}\n")
        sys.exit(_EXIT_CANNOT_LOAD)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    stopper = threading.Thread(target=_await_stop, name="stopper")
    stopper.start()
    url = str(server.listening_address)
    port = int(url.rpartition(":")[2])
    _ask(options, port, "GET", "/health", None)
    props = _ask(options, port, "GET", "/props", None)
    if options.preload:
        one_token = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        _ask(options, port, "POST", "/v1/chat/completions", json.dumps(one_token))
    ready = {
        "url": url,
        "pid": os.getpid(),
        "slots": int(props["total_slots"]),
        "context_per_slot": int(props["default_generation_settings"]["n_ctx"]),
    }
    ready_line.write(json.dumps(ready) + "\n")
    ready_line.flush()
    stopper.join()


if __name__ == "__main__":
    main(sys.argv[1:])
