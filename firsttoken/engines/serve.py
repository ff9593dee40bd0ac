"""The process behind ``firsttoken engine``: a supervised engine until a signal comes."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from firsttoken.core.child import die_with_parent
from firsttoken.core.words import ExitCode
from firsttoken.engines.options import Checked
from firsttoken.engines.supervisor import EngineSupervisor

_MIB = 1 << 20


def _say(line: str) -> None:
    print(f"firsttoken: {line}", file=sys.stderr, flush=True)


def _new_log() -> Path:
    handle, name = tempfile.mkstemp(prefix="firsttoken-engine-", suffix=".log")
    os.close(handle)
    return Path(name)


def ready_line(engine: EngineSupervisor, checked: Checked) -> str:
    """Return the ready line: ``url``, ``pid`` of the engine's process (a restart changes it),
    ``supervisor_pid``, ``slots``, ``context_per_slot``, ``model``, ``threads``,
    ``memory_estimate_bytes`` and ``log``."""
    return json.dumps(
        {
            "url": engine.url,
            "pid": engine.pid,
            "supervisor_pid": os.getpid(),
            "slots": engine.slots,
            "context_per_slot": engine.context_per_slot,
            "model": engine.options.model_name,
            "threads": engine.options.threads,
            "memory_estimate_bytes": checked.need.total,
            "log": str(engine.log),
        },
        ensure_ascii=False,
    )


def summary(engine: EngineSupervisor, checked: Checked) -> str:
    """Return what a person wants to know of the engine that now serves."""
    need = checked.need
    options = engine.options
    return f"""\
llama.cpp serves {options.model_name} at {engine.url}/v1
  {engine.slots} slots of {engine.context_per_slot} tokens, {options.threads} threads
  memory at most about {need.total // _MIB:,} MiB: \
{need.weights // _MIB:,} weights, {need.kv_cache // _MIB:,} KV cache, \
{need.prompt_cache // _MIB:,} prompt cache
  log {engine.log}
Ctrl-C stops it."""


def serve(checked: Checked, log: Path | None, json_output: bool) -> None:
    """Run the engine until SIGINT or SIGTERM; tell of it on standard output, of restarts and
    warnings on standard error.

    Raises:
        UserError: it cannot start.
        SystemExit: with 1, after one line, where it died too often to be restarted again.
    """
    die_with_parent()
    for warning in checked.warnings:
        _say(f"warning: {warning}")
    path = _new_log() if log is None else log
    engine = EngineSupervisor(checked.options, log=path, on_event=_say)
    stop_signals = (signal.SIGINT, signal.SIGTERM)
    for number in stop_signals:
        signal.signal(number, signal.default_int_handler)
    try:
        engine.start()
        told = ready_line(engine, checked) if json_output else summary(engine, checked)
        print(told, flush=True)
        engine.wait()
    except KeyboardInterrupt:
        return
    finally:
        # A second Ctrl-C must not cut the stopping short and leave the engine behind.
        for number in stop_signals:
            signal.signal(number, signal.SIG_IGN)
        engine.stop()
        if log is None and path.stat().st_size == 0:
            path.unlink()
    if engine.failure is not None:
        _say(str(engine.failure))
        sys.exit(ExitCode.FAIL)
