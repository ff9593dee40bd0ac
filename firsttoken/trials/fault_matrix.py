"""What a person hears when a model server goes wrong: 15 turns a fault, with and without a router.

The device is a stand-in behind the official client (:mod:`firsttoken.trials.voice_device`), the
server one that goes wrong on purpose (:mod:`firsttoken.upstreams.talk_faults`).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from firsttoken.core.settings.voice import Voice
from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.progress import Progress
from firsttoken.trials.servers import start_router
from firsttoken.trials.voice_device import APOLOGY, Device, Kind, Provider, TurnHeard
from firsttoken.upstreams.server import running
from firsttoken.upstreams.talk_faults import FAULTS, SAID, WORD_SAID, TalkFaults

TURNS = 5
READ_S = 2.0
"""The device's own patience."""
DEADLINE_S = 1
"""For how long the router waits for a first word, or for the next one."""
OWN_SENTENCE = Voice().spoken_failure
"""What the router says where nobody answers."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Five turns of one device."""

    kind: Kind
    tools: bool
    """Whether the device offers tools, or none."""
    tongue: str
    """``zh`` or ``en``."""


CONVERSATIONS = (
    Conversation(Kind.OPENAI, tools=True, tongue="zh"),
    Conversation(Kind.OLLAMA, tools=True, tongue="en"),
    Conversation(Kind.OPENAI, tools=False, tongue="zh"),
)

ALL_TURNS = TURNS * len(CONVERSATIONS)

UTTERANCES: dict[str, tuple[str, ...]] = {
    "zh": (
        "今天出门好吗？",
        "那去哪里玩呢？",
        "要带什么东西？",
        "几点回来合适？",
        "听起来真不错！",
    ),
    "en": (
        "Shall we go out today?",
        "Where could we go?",
        "What should I bring along?",
        "When will we be back?",
        "That sounds lovely!",
    ),
}


def provider(kind: Kind, url: str, read_s: float = READ_S) -> Provider:
    """Return the settings for a server at ``url``, as a person would write them: one of the two
    kinds with a slash at the end."""
    if kind is Kind.OLLAMA:
        return Provider(kind, f"{url}/", "ollama", "auto")
    timeout = {"connect": 2.0, "read": read_s, "write": 5.0, "pool": 2.0}
    more = {"max_tokens": 300, "temperature": 0.7}
    return Provider(kind, f"{url}/v1", "any-key", "auto", timeout, more)


def converse(url: str, conversation: Conversation, **options: Any) -> list[TurnHeard]:
    """Hold one conversation; return what was heard in each turn. ``options`` are the client's."""
    device = Device(provider(conversation.kind, url), tools=conversation.tools, **options)
    try:
        return [device.say(text) for text in UTTERANCES[conversation.tongue][:TURNS]]
    finally:
        device.close()


async def converse_all(url: str, **options: Any) -> dict[Conversation, list[TurnHeard]]:
    """Hold all conversations at once."""
    talking = (asyncio.to_thread(converse, url, each, **options) for each in CONVERSATIONS)
    return dict(zip(CONVERSATIONS, await asyncio.gather(*talking), strict=True))


def passed(found: Iterable[Sequence[TurnHeard]]) -> int:
    """Return how many turns ended in words, and nothing but words."""
    return sum(heard.passed for turns in found for heard in turns)


ROLES: dict[str, tuple[bool, bool]] = {
    "the local model": (True, False),
    "a cloud": (False, True),
    "the local model, with a cloud that is well": (True, True),
}
"""Who goes wrong behind the router; whether there are a local model and a cloud."""


def settings(role: str, ill: str, well: str) -> dict[str, Any]:
    """Return the settings of a router for one of :data:`ROLES`."""
    near, far = ROLES[role]
    server = {"model": "talker", "dialect": "openai", "timeout": DEADLINE_S}
    remote = {"name": "cloud", "endpoint": well if near else ill, **server}
    routing: dict[str, Any] = {"remote_models": [remote] if far else []}
    if near:
        routing["local_model"] = {"endpoint": ill, **server}
    return {
        "llm_routing": routing,
        "hedging": {"enable": False},
        "confidence": {"tokens": 0},
    }


class Ending(StrEnum):
    """How a turn that passed was answered."""

    WHOLE = "whole"
    FINISHED = "finished"
    """The beginning of the answer, its last sentence ended by the router."""
    OWN = "the router's own"
    """The router's own sentence: nobody answered."""
    OTHER = "something else"


def ending(tongue: str, spoken: str) -> Ending:
    """Return how a turn in ``tongue`` was answered that ended in the words ``spoken``."""
    whole = ["".join(said[tongue]) for said in (SAID, WORD_SAID)]
    if spoken in whole:
        return Ending.WHOLE
    if spoken == OWN_SENTENCE:
        return Ending.OWN
    begun = any(text.startswith(spoken[:-1]) for text in whole)
    return Ending.FINISHED if begun and spoken[-1] in "。." else Ending.OTHER


def told(found: dict[Conversation, list[TurnHeard]]) -> str:
    """Return how many turns passed and how, and what else was heard."""
    turns = [heard for each in found.values() for heard in each]
    apologies = sum(APOLOGY in heard.spoken for heard in turns)
    glued = sum(APOLOGY in heard.spoken and heard.spoken != APOLOGY for heard in turns)
    endings = Counter(
        ending(conversation.tongue, heard.spoken)
        for conversation, each in found.items()
        for heard in each
        if heard.passed
    )
    ways = ", ".join(f"{endings[way]} {way}" for way in Ending if endings[way])
    cell = f"{passed(found.values())} ({ways})" if ways else "0"
    if not apologies:
        return cell
    return f"{cell}; {apologies} errors spoken, {glued} of them glued to half a sentence"


async def _through_router(role: str, fault: str, folder: Path) -> str:
    async with running(TalkFaults(fault)) as ill, running(TalkFaults()) as well:
        path = folder / "router.yaml"
        path.write_text(json.dumps(settings(role, ill, well)), encoding="utf-8")
        with ExitStack() as stack:
            router = await asyncio.to_thread(start_router, stack, path, folder / "router.log")
            return told(await converse_all(router.url))


async def _straight(fault: str) -> str:
    async with running(TalkFaults(fault)) as url:
        return told(await converse_all(url, max_retries=0, timeout=float(DEADLINE_S)))


def fault_matrix(progress: Progress) -> str:
    """Run all faults with and without a router, each a process of its own with the settings as
    they come; return the page."""
    rows = []
    with TemporaryDirectory(prefix="firsttoken-matrix-") as folder:
        for fault in FAULTS:
            with progress.doing(f"fault matrix: {fault}"):
                cells = [asyncio.run(_straight(fault))]
                cells += [asyncio.run(_through_router(role, fault, Path(folder))) for role in ROLES]
            rows.append((fault, *cells))
    header = ("fault", "without the router", *(f"router; ill is {role}" for role in ROLES))
    modes = ", ".join(
        f"{each.kind} {'with tools' if each.tools else 'without tools'} ({each.tongue})"
        for each in CONVERSATIONS
    )
    return (
        f"{ALL_TURNS} turns each: {TURNS} turns of {len(CONVERSATIONS)} conversations ({modes}), "
        "by the official openai client at the version that xiaozhi-esp32-server installs, read as "
        "that server reads a stream. A turn passes where a person hears words, and nothing but "
        "words: no thinking, no markup, no sentence of error. That is less than an answer, so each "
        "cell says in brackets how many of the turns that passed were answered *whole*, how many "
        "are the beginning of an answer whose last sentence the router *finished*, and how many "
        f"are *the router's own* sentence (“{OWN_SENTENCE}”), for nobody answered. With a cloud "
        "that is well, what fails before the first word is answered whole; what breaks off after "
        "it is finished, for text of two models is never mixed, until such failures have opened "
        "the local model's circuit and the cloud has the rest.\n\n"
        f"Without the router the client ran with `max_retries=0` and a timeout of {DEADLINE_S} s, "
        f"the router's own deadline; with it as it comes (two retries, read timeout {READ_S:g} s "
        "for the type openai).\n\n" + markdown_table(header, rows)
    )
