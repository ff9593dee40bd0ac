"""What a talking device's server sends around what was said: prompts, tools, examples, results.

All of it is data in ``loadtests/corpora/voice_*``, of the shape and length that a full voice server
sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from firsttoken.core.errors import UserError
from firsttoken.core.personas import Persona, read_personas

Message = dict[str, Any]
_Shape = TypeVar("_Shape")
_DONE = "true"
"""What a tool answers of which no result is written down."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Context(_Strict):
    """What a voice server knows of where a device stands."""

    language: str
    device: str
    date: str
    weekday: str
    lunar: str
    place: str
    weather: str
    others: str
    memory: str


class _Contexts(_Strict):
    emoji: str
    zh: _Context
    en: _Context


class _FewShot(_Strict):
    zh: tuple[Message, ...] = Field(min_length=1)
    en: tuple[Message, ...] = Field(min_length=1)


class _Function(_Strict):
    name: str = Field(min_length=1)
    description: str
    parameters: dict[str, Any]


class _Tool(_Strict):
    type: Literal["function"]
    function: _Function


class ToolStep(_Strict):
    """One use of a tool."""

    name: str
    arguments: dict[str, Any]


class ToolTurn(_Strict):
    """What a device does about one kind of utterance, where the model calls no tool by itself."""

    share: float = Field(ge=0, le=1)
    """Of the utterances of this kind."""
    silent: bool = False
    """Whether nothing is said about it afterwards, as when music begins."""
    zh: tuple[ToolStep, ...] = Field(min_length=1)
    en: tuple[ToolStep, ...] = Field(min_length=1)

    def steps(self, lang: str) -> tuple[ToolStep, ...]:
        """Return what is used, one tool after the other, in a conversation in ``lang``."""
        return self.en if lang == "en" else self.zh


class _ToolTurns(_Strict):
    turns: dict[str, ToolTurn]
    """By kind of utterance."""
    results: dict[str, dict[str, str]]
    """By name of the tool, by language."""


@dataclass(frozen=True, slots=True)
class VoiceTexts:
    """The texts of a voice server; see :func:`read_voice_texts`."""

    personas: tuple[Persona, ...]
    tools: tuple[Mapping[str, Any], ...]
    """In the shape of OpenAI tools; :data:`~firsttoken.core.words.ANSWER_TOOL` is among them."""
    tool_turns: Mapping[str, ToolTurn]
    """By kind of utterance."""
    intent: str
    """System prompt of the call that classifies what is wanted."""
    _prompt: str
    _memory: str
    _context: Mapping[str, Mapping[str, str]]
    _emoji: str
    _few_shot: Mapping[str, Sequence[Message]]
    _results: Mapping[str, Mapping[str, str]]

    def system(self, persona: Persona, clock: str) -> str:
        """Return the system prompt of a conversation at ``clock``, such as ``09:58``."""
        values = {
            "persona": persona.system,
            "emoji": self._emoji,
            **self._context[_of(persona)],
            "clock": clock,
        }
        return _filled(self._prompt, values)

    def few_shot(self, persona: Persona) -> list[Message]:
        """Return the example conversation that follows the system prompt."""
        return list(self._few_shot[_of(persona)])

    def memory_job(self, persona: Persona, history: Sequence[Message]) -> list[Message]:
        """Return the messages of a memory summary of a conversation that has ended."""
        context = self._context[_of(persona)]
        said = "\n".join(
            f"{message['role']}: {message['content']}"
            for message in history
            if message["role"] in {"user", "assistant"} and message["content"]
        )
        return [
            {"role": "system", "content": _filled(self._memory, context)},
            {"role": "user", "content": said},
        ]

    def result(self, name: str, persona: Persona) -> str:
        """Return what the tool of this name answers."""
        return self._results.get(name, {}).get(_of(persona), _DONE)


def read_voice_texts(folder: Path) -> VoiceTexts:
    """Read ``voice_*`` of ``folder``.

    Raises:
        UserError: a file is missing, or is not what it should be.
    """
    contexts = _json(folder / "voice_context.json", TypeAdapter(_Contexts))
    tools = _json(folder / "voice_tools.json", TypeAdapter(tuple[_Tool, ...]))
    few_shot = _json(folder / "voice_few_shot.json", TypeAdapter(_FewShot))
    turns = _json(folder / "voice_tool_turns.json", TypeAdapter(_ToolTurns))
    return VoiceTexts(
        personas=read_personas(folder / "voice_personas.jsonl"),
        tools=tuple(tool.model_dump() for tool in tools),
        tool_turns=turns.turns,
        intent=_text(folder / "voice_intent.txt"),
        _prompt=_text(folder / "voice_prompt.txt"),
        _memory=_text(folder / "voice_memory.txt"),
        _context={"zh": contexts.zh.model_dump(), "en": contexts.en.model_dump()},
        _emoji=contexts.emoji,
        _few_shot={"zh": few_shot.zh, "en": few_shot.en},
        _results=turns.results,
    )


def tool_name(tool: Mapping[str, Any]) -> str:
    """Return the name of a tool in OpenAI's shape."""
    return str(tool["function"]["name"])


def called(call_id: str, name: str, arguments: str, result: str) -> list[Message]:
    """Return what is added to a conversation by the use of a tool: the assistant's call and the
    tool's answer, as the voice server writes them, an ``index`` within the call included."""
    call = {
        "index": 0,
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]


def as_arguments(step: ToolStep) -> str:
    """Return the arguments of a step as a model writes them."""
    return json.dumps(step.arguments, ensure_ascii=False)


def _of(persona: Persona) -> str:
    return "en" if persona.lang == "en" else "zh"


def _filled(template: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return template.strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _json(path: Path, shape: TypeAdapter[_Shape]) -> _Shape:
    try:
        return shape.validate_json(_text(path))
    except ValidationError as error:
        raise UserError(f"{path} is not what it should be: {error}") from error
