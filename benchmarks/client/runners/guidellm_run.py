"""guidellm: its own HTTP backend for the traps, its own command under load."""

# mypy: disable-error-code="import-not-found, misc"
from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from guidellm.backends import Backend
from guidellm.schemas import GenerationRequest, RequestInfo
from guidellm.schemas.backends import OpenAIHTTPBackendArgs

from benchmarks.client.runners.common import PROMPT, RAMP_S, Seen, model_of, options, tell

given = options()


async def _trap(trap: str) -> dict[str, Any]:
    arguments = OpenAIHTTPBackendArgs(
        target=given.url, model=model_of(trap), http2=False, validate_backend=False
    )
    backend = Backend.create(arguments)
    await backend.process_startup()
    info = RequestInfo()
    seen = Seen(0)
    answer = None
    try:
        request = GenerationRequest(columns={"text_column": [PROMPT]})
        async for response, _ in backend.resolve(request, info):
            answer = response
        seen.ok = True
    except Exception as error:  # noqa: BLE001 - what it says of the reply: not a success
        print(f"{type(error).__name__}: {error}"[:300], file=sys.stderr)
    finally:
        await backend.process_shutdown()
    times = info.timings
    if times.request_start is not None:
        seen.sent_ns = _ns(times.request_start) or 0
        seen.first_ns = _ns(times.first_token_iteration)
        seen.text_ns = _ns(times.first_output_token_iteration)
        seen.end_ns = _ns(times.request_end)
    if answer is not None:
        seen.tokens = answer.output_metrics.text_tokens
    # Its stamps are of the wall clock: nothing of another process compares with them.
    return {**seen.told(trap=trap), "first_ns": None}


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1e9)


def _load() -> None:
    with tempfile.TemporaryDirectory() as directory:
        prompts = Path(directory) / "prompts.jsonl"
        prompts.write_text(
            "".join(json.dumps({"prompt": f"{PROMPT} {number}"}) + "\n" for number in range(20_000))
        )
        found = Path(directory) / "found.json"
        backend = f"kind=openai_http,target={given.url},model=truth,max_tokens={given.tokens}"
        command = [str(Path(sys.executable).with_name("guidellm")), "run"]
        command += ["--backend", f"{backend},http2=false"]
        command += ["--profile", f"kind=concurrent,streams={given.users}"]
        command += ["--constraint", f"kind=max_duration,seconds={RAMP_S + given.seconds:g}"]
        command += ["--data", f"kind=json_file,path={prompts}"]
        command += ["--output", f"kind=json,path={found}", "--disable-console"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(done.stderr[-500:])
        requests = json.loads(found.read_text())["benchmarks"][0]["requests"]["successful"]
    for request in requests:
        request_id = str(request["response_id"]).removeprefix("chatcmpl-")
        tell({"request_id": request_id, "ttft_ms": request["time_to_first_token_ms"], "ok": True})


async def _traps() -> None:
    names = given.traps.split(",")
    await _trap(names[0])
    for trap in names:
        tell(await _trap(trap))


if __name__ == "__main__":
    if given.mode == "traps":
        asyncio.run(_traps())
    else:
        _load()
