"""Fifteen turns a fault: what the stand-in device says through the router, and without it."""

from __future__ import annotations

import pytest

from firsttoken.core.settings.voice import Voice
from firsttoken.trials.fault_matrix import (
    ALL_TURNS,
    CONVERSATIONS,
    TURNS,
    Ending,
    converse_all,
    ending,
    passed,
    told,
)
from firsttoken.trials.voice_device import APOLOGY, TurnHeard
from firsttoken.upstreams.server import running
from firsttoken.upstreams.talk_faults import FAULTS, SAID, WORD_SAID, TalkFaults
from tests.router.conftest import PATIENCE_S, Start, backend

STALL_S = 0.2
"""Where the deadline is what is tested."""

STRAIGHT: dict[str, int] = {
    "none": 15,
    "think split over chunks": 0,
    "tool call as text": 5,
    "one-shot tool call": 15,
    "index from 1": 5,
    "word `content`": 5,
    "cut mid-sentence": 0,
    "error mid-stream": 0,
    "status 500": 0,
    "stall": 0,
}
"""Turns of 15 that passed with the real client in front of such a server, without a router. Where
five did, they are those without tools."""

CANNED = Voice().spoken_failure
WHOLE = {"none", "think split over chunks", "tool call as text", "one-shot tool call"}
WHOLE.add("index from 1")


def is_begun(spoken: str, said: str) -> bool:
    """Whether a part of ``said`` was spoken, and its sentence was finished."""
    return 5 < len(spoken) < len(said) and spoken[-1] in "。." and said.startswith(spoken[:-1])


def is_right(fault: str, tongue: str, turn: int, heard: TurnHeard) -> bool:
    said = "".join(SAID[tongue])
    if fault in WHOLE:
        return heard.spoken == said
    if fault == "word `content`":
        return heard.spoken == "".join(WORD_SAID[tongue])
    if fault == "status 500" or (fault == "stall" and turn % 2 == 0):
        return heard.spoken == CANNED
    if fault == "stall" and heard.spoken == CANNED:
        return True  # on a slow machine its first word may be late as well
    return is_begun(heard.spoken, said)


@pytest.mark.parametrize("role", ["local", "cloud"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_turn_ends_in_words(start: Start, fault: str, role: str) -> None:
    """Behind the router there is nobody but the server that goes wrong."""
    app = TalkFaults(fault)
    async with running(app) as url:
        deadline_s = STALL_S if fault == "stall" else PATIENCE_S
        router = await start(backends=(backend(role, url, first_token_timeout_s=deadline_s),))
        found = await converse_all(router.url, timeout=PATIENCE_S)
    assert passed(found.values()) == ALL_TURNS
    for conversation in CONVERSATIONS:
        for turn, heard in enumerate(found[conversation]):
            assert is_right(fault, conversation.tongue, turn, heard), (conversation, heard.spoken)
    # Nothing was repeated: neither by the client nor by the router, which may not even have been
    # connected when a short deadline was over.
    asked = sum(heard.hops for turns in found.values() for heard in turns)
    assert len(app.bodies) == asked or (fault == "stall" and len(app.bodies) < asked)


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_same_without_a_router(fault: str) -> None:
    """The stand-in fails where the real client was seen to fail, so the matrix can."""
    options: dict[str, float] = {"max_retries": 0}
    if fault == "stall":
        options["timeout"] = STALL_S
    async with running(TalkFaults(fault)) as url:
        found = await converse_all(url, **options)
    assert passed(found.values()) == STRAIGHT[fault]
    if STRAIGHT[fault] == 0 and "think" not in fault:
        assert all(APOLOGY in heard.spoken for turns in found.values() for heard in turns)


@pytest.mark.parametrize("fault", ["status 500", "stall"])
async def test_a_backend_that_is_well_takes_over(start: Start, fault: str) -> None:
    """What fails before the first word is not heard at all."""
    async with running(TalkFaults(fault)) as ill, running(TalkFaults()) as well:
        backends = (
            backend("local", ill, first_token_timeout_s=STALL_S),
            backend("cloud", well),
        )
        router = await start(backends=backends)
        found = await converse_all(router.url, timeout=PATIENCE_S)
    assert passed(found.values()) == ALL_TURNS
    for conversation in CONVERSATIONS:
        said = "".join(SAID[conversation.tongue])
        turns = found[conversation]
        assert len(turns) == TURNS
        assert [heard.spoken == said for heard in turns][::2] == [True] * 3
        if fault == "status 500":
            assert all(heard.spoken == said for heard in turns)


@pytest.mark.parametrize(
    ("spoken", "way"),
    [
        ("".join(SAID["zh"]), Ending.WHOLE),
        ("".join(WORD_SAID["zh"]), Ending.WHOLE),
        ("😊好的，今天。", Ending.FINISHED),
        (CANNED, Ending.OWN),
        ("😊好的，今天", Ending.OTHER),
        (f"😊好的，{CANNED}", Ending.OTHER),
    ],
)
def test_how_a_turn_was_answered_is_told_apart(spoken: str, way: Ending) -> None:
    assert ending("zh", spoken) is way


def test_the_routers_own_sentence_is_no_whole_answer() -> None:
    turns = [
        TurnHeard(spoken="".join(SAID["zh"])),
        TurnHeard(spoken="😊好的。"),
        TurnHeard(spoken=CANNED),
        TurnHeard(spoken=f"😊好的{APOLOGY}", error="cut"),
        TurnHeard(spoken=APOLOGY, error="refused"),
    ]
    assert told({CONVERSATIONS[0]: turns}) == (
        "3 (1 whole, 1 finished, 1 the router's own); "
        "2 errors spoken, 1 of them glued to half a sentence"
    )
    assert told({CONVERSATIONS[0]: [turns[-1]]}).startswith("0; 1 errors spoken")
