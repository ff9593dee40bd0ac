"""What the contract tests send and read: a voice server's bodies, and streams chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import orjson

from firsttoken.trials.voice_device import DIRECT, FEW_SHOT, SYSTEM, TOOLS
from tests.router.conftest import NO_CERTIFICATES
from tests.router.upstream import DONE, FINISH, ROLE, Call, Script

Body = dict[str, Any]

INTENT_PROMPT = (
    "你是一个意图识别助手。请只回答 JSON，例如 "
    '{"function_call": {"name": "continue_chat"}}，退出时用 handle_exit_intent。'
)
SUMMARY_PROMPT = "你是时空记忆编织者。把下面的对话整理成一份 JSON 记忆。"
GOODBYE = "请你以“时间过得真快”未来头，和我说一句有感情的道别。"
NO_MORE_TOOLS = "[系统提示] 已达到最大工具调用次数限制，请直接回答。"


def talk(text: str = "今天出门好吗？", *, tools: bool = True, **more: Any) -> Body:
    """Return the body of a chat turn."""
    example = FEW_SHOT if tools else ()
    messages = [
        {"role": "system", "content": SYSTEM},
        *example,
        {"role": "user", "content": text},
    ]
    offered = {"tools": [*TOOLS, DIRECT]} if tools else {}
    return {"model": "auto", "messages": messages, "stream": True} | offered | more


def after_tool() -> Body:
    """Return the body of the turn that follows a tool's answer."""
    body = talk("杭州天气怎么样？")
    body["messages"] += [
        {"role": "assistant", "content": "", "tool_calls": [_called("call_9")]},
        {"role": "tool", "tool_call_id": "call_9", "content": "晴，二十六度"},
    ]
    body["tools"] = list(TOOLS)
    return body


def _called(number: str, arguments: str = '{"city": "杭州"}') -> Body:
    function = {"name": "get_weather", "arguments": arguments}
    return {"id": number, "index": 0, "type": "function", "function": function}


def beside(prompt: str, text: str, **more: Any) -> Body:
    """Return the body of a call that is no turn."""
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": text}]
    return {"model": "auto", "messages": messages, "stream": True} | more


CALLS: dict[str, Body] = {
    "chat": talk(),
    "chat without tools": talk(tools=False),
    "after_tool": after_tool(),
    "depth limit": talk(NO_MORE_TOOLS, tools=False),
    "goodbye": talk(GOODBYE),
    "intent": beside(INTENT_PROMPT, "用户: 放首歌"),
    "summary": beside(SUMMARY_PROMPT, "用户: 你好", max_tokens=2000, temperature=0.2),
}
"""One body of each class of call."""

HEARD = tuple(name for name in CALLS if name not in {"intent", "summary"})
"""Those whose answer a person hears."""


@dataclass
class Stream:
    """One streamed reply, as bytes and as the official client reads it."""

    status: int
    headers: httpx.Headers
    raw: bytes
    chunks: list[Body] = field(default_factory=list)

    @property
    def deltas(self) -> list[Body]:
        """Of all chunks with a choice."""
        return [chunk["choices"][0]["delta"] for chunk in self.chunks if chunk["choices"]]

    @property
    def text(self) -> str:
        return "".join(delta.get("content") or "" for delta in self.deltas)

    def calls(self) -> list[Body]:
        """Return the tool calls, joined, after checking the rules of every fragment."""
        calls: list[Body] = []
        for delta in self.deltas:
            for fragment in delta.get("tool_calls") or ():
                assert fragment["function"] is not None
                number = fragment["index"]
                if number == len(calls):
                    assert fragment["id"]
                    assert fragment["function"]["name"]
                    calls.append({"id": fragment["id"], "name": fragment["function"]["name"]})
                    calls[-1]["arguments"] = ""
                else:
                    assert number == len(calls) - 1, "indexes are contiguous and begin at 0"
                    assert not fragment["function"].get("name"), "a name comes once"
                    assert not fragment.get("id")
                calls[number]["arguments"] += fragment["function"].get("arguments") or ""
        assert len({call["id"] for call in calls}) == len(calls)
        for call in calls:
            assert isinstance(orjson.loads(call["arguments"]), dict)
        return calls

    @property
    def is_whole(self) -> bool:
        """Whether it ended as the dialect has it, with one finish reason and no error."""
        reasons = [
            chunk["choices"][0]["finish_reason"] for chunk in self.chunks if chunk["choices"]
        ]
        return (
            self.raw.endswith(b"data: [DONE]\n\n")
            and self.raw.count(b"[DONE]") == 1
            and b'"error"' not in self.raw
            and reasons[-1] in {"stop", "tool_calls", "length"}
            and set(reasons[:-1]) <= {None}
        )


async def stream(url: str, body: Body, **headers: str) -> Stream:
    """Ask for a stream with bare HTTP, to see every byte."""
    async with httpx.AsyncClient(base_url=url, timeout=20, verify=NO_CERTIFICATES) as http:
        reply = await http.post("/v1/chat/completions", json=body, headers=headers)
    found = Stream(reply.status_code, reply.headers, reply.content)
    frames = (line.removeprefix(b"data: ") for line in reply.content.split(b"\n\n"))
    if reply.status_code == 200:
        found.chunks = [orjson.loads(frame) for frame in frames if frame.startswith(b"{")]
    return found


def quick() -> dict[str, Any]:
    """Return what spares a client reading the world's certificates: longer than a test."""
    return {"http_client": openai.DefaultHttpxClient(verify=NO_CERTIFICATES)}


def frame(delta: Body) -> bytes:
    """Return one frame of an upstream's stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"


def called(index: int, number: str, name: str, arguments: str) -> bytes:
    """Return a frame with a fragment of a tool call; empty ``number`` and ``name``: a later one."""
    function: Body = {"arguments": arguments}
    fragment: Body = {"index": index, "function": function}
    if name:
        function["name"] = name
        fragment |= {"id": number, "type": "function"}
    return frame({"tool_calls": [fragment]})


def frames(*pieces: bytes) -> Script:
    """Answer with these frames and a proper end."""

    async def script(call: Call) -> None:
        await call.head()
        for piece in (ROLE, *pieces, FINISH, DONE):
            await call.chunk(piece)
        await call.last_chunk()

    return script
