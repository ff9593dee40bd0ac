"""``voice``: what a talking device gets that a chat window does not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict

from firsttoken.core.settings.kinds import FilePath, Patterns, Section

NEVER_SPOKEN = ("异常", "错误", "502")
"""Words by which xiaozhi-esp32-server's own tester knows an answer that failed."""


def _speakable(text: str) -> str:
    found = next((word for word in NEVER_SPOKEN if word in text), None)
    if found is not None:
        raise ValueError(
            f"holds {found!r}, which xiaozhi-esp32-server takes for a failed answer; "
            "expected a sentence without " + ", ".join(NEVER_SPOKEN)
        )
    if text and not any(character.isalnum() for character in text):
        raise ValueError('has nothing to be spoken; expected a sentence, or "" for an error status')
    return text


Sentence = Annotated[str, Field(max_length=200), AfterValidator(_speakable)]


class Prefix(Section):
    """``voice.prefix``: what keeps the beginning of a prompt the same from turn to turn, so that a
    local engine finds it in its cache.

    ``sort_tools`` puts tools into one order. ``clock`` says what becomes of a time of day in the
    system prompt: ``keep``, ``round`` (down to ten minutes), ``move`` (into the user's message that
    it belongs to). ``sticky_slots`` sends a conversation to the slot of the engine that knows it.
    ``warm`` has the system prompts that were seen last read again after the engine was restarted,
    and those in ``warm_files`` (request bodies in JSON) when the router starts.
    """

    sort_tools: bool = True
    clock: Literal["keep", "round", "move"] = "move"
    sticky_slots: bool = True
    warm: bool = True
    warm_files: Annotated[tuple[FilePath, ...], Strict(strict=False), Field(max_length=20)] = ()


class Compact(Section):
    """``voice.compact``: a shorter prompt for local backends: without tools, without the example
    conversation at its beginning, without what the patterns of ``remove`` find in the system
    prompt."""

    enable: bool = False
    drop_tools: bool = True
    drop_few_shot: bool = True
    remove: Patterns = ()


class Voice(Section):
    """``voice``: talking devices, such as those of xiaozhi-esp32-server.

    ``clients`` says whose requests are served this way: ``auto`` (those that a talking device's
    server sends, by the marks in their bodies), ``all``, ``none``. All switches hold for them
    alone. ``spoken_failure`` is said, with status 200, where no backend answers before the first
    word; empty: an error status. ``strip_thinking`` to ``unwrap_direct_answer`` mend the reply,
    ``repair_messages`` and ``disable_thinking`` the request. ``background`` keeps summaries
    of a conversation, which hold all of it, from those who talk: they go to a remote backend first
    where one can be used; only otherwise they wait at the local one until nobody talks.
    """

    clients: Literal["auto", "all", "none"] = "auto"
    spoken_failure: Sentence = "我刚刚走神了，请再说一遍。"
    strip_thinking: bool = True
    read_tool_text: bool = True
    number_tools: bool = True
    restream_arguments: bool = True
    guard_content_word: bool = True
    unwrap_direct_answer: bool = True
    repair_messages: bool = True
    disable_thinking: bool = True
    prefix: Prefix = Prefix()
    compact: Compact = Compact()
    background: bool = True
