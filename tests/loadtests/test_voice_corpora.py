"""The texts of the voice scenario: shape, length, and the marks that a router knows them by."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from firsttoken.core.errors import UserError
from firsttoken.core.personas import read_lines
from firsttoken.core.voice_texts import read_voice_texts, tool_name
from firsttoken.core.words import ANSWER_TOOL, EXIT_TOOL, CallClass
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.speech.calls import classify, few_shot_end, is_voice

CORPORA = Path(__file__).resolve().parents[2] / "loadtests" / "corpora"
TEXTS = read_voice_texts(CORPORA)
SAID = {"role": "user", "content": "今天过得怎么样"}


def tokens(text: str) -> float:
    """Estimate Qwen tokens: measured on these files, a Chinese character takes 0.72 of one, a digit
    one, and four and a half of other characters one."""
    han = len(re.findall(r"[\u3000-\u9fff\uff00-\uffef]", text))
    digits = len(re.findall(r"[0-9]", text))
    return 0.72 * han + digits + (len(text) - han - digits) / 4.5


def test_five_personas_in_two_languages() -> None:
    assert [persona.lang for persona in TEXTS.personas].count("zh") == 3
    assert [persona.lang for persona in TEXTS.personas].count("en") == 2
    assert len({persona.id for persona in TEXTS.personas}) == 5
    for persona in TEXTS.personas:
        assert 120 < tokens(persona.system) < 260


@pytest.mark.parametrize("persona", TEXTS.personas, ids=lambda persona: persona.id)
def test_the_system_prompt_is_as_long_as_a_voice_server_s(persona: object) -> None:
    (found,) = [each for each in TEXTS.personas if each is persona]
    system = TEXTS.system(found, "10:32")
    assert "{{" not in system
    assert 1700 < tokens(system) < 2200
    assert 1400 < tokens(system[: system.index("Current time: 10:32")]) < 1850
    assert system.count("10:32") == 1
    assert is_voice(ChatRequest("m", [{"role": "system", "content": system}, SAID], stream=True))


def test_twelve_tools_of_the_length_of_a_voice_server_s() -> None:
    names = [tool_name(tool) for tool in TEXTS.tools]
    assert len(set(names)) == 12
    assert {ANSWER_TOOL, EXIT_TOOL, "get_weather", "play_music"} <= set(names)
    written = json.dumps(TEXTS.tools, ensure_ascii=False)
    assert 1100 < tokens(written) < 1800
    for tool in TEXTS.tools:
        parameters = tool["function"]["parameters"]
        assert set(parameters["required"]) <= set(parameters["properties"])
    for turn in TEXTS.tool_turns.values():
        for lang in ("zh", "en"):
            assert {step.name for step in turn.steps(lang)} <= set(names)


def test_what_tools_answer_agrees_with_the_prompt_and_is_said_once() -> None:
    for persona in TEXTS.personas:
        found, news = TEXTS.result("web_search", persona), TEXTS.result("get_news", persona)
        assert not set(found.splitlines()) & set(news.splitlines())
        lunar, system = TEXTS.result("get_lunar", persona), TEXTS.system(persona, "10:32")
        day = "2026年3月12日" if persona.lang == "zh" else "2026-03-12"
        assert day in lunar
        assert "Today: 2026-03-12" in system


def test_lines_without_a_language_are_read_where_none_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"text": "a"}\n', encoding="utf-8")
    assert list(read_lines(path, ("text",))) == [{"text": "a"}]
    with pytest.raises(UserError, match="'lang' must be a text"):
        list(read_lines(path, ("text", "lang")))


def test_the_example_conversation_is_known_by_its_shape() -> None:
    for persona in TEXTS.personas:
        shown = TEXTS.few_shot(persona)
        assert len(shown) == 7
        assert few_shot_end([{"role": "system", "content": "x"}, *shown, SAID]) == 8


def test_the_prompts_beside_the_chat_bear_their_marks() -> None:
    job = TEXTS.memory_job(TEXTS.personas[0], [SAID, {"role": "assistant", "content": "挺好"}])
    assert classify(ChatRequest("m", job, stream=True)) is CallClass.SUMMARY
    assert "{{" not in job[0]["content"]
    assert job[1]["content"] == "user: 今天过得怎么样\nassistant: 挺好"
    intent = [{"role": "system", "content": TEXTS.intent}, SAID]
    assert classify(ChatRequest("m", intent, stream=True)) is CallClass.INTENT


def test_no_text_holds_a_word_that_a_voice_server_takes_for_a_failure() -> None:
    for path in CORPORA.glob("voice_*"):
        text = path.read_text(encoding="utf-8")
        assert not [word for word in ("异常", "错误", "502") if word in text], path.name
