"""What speaks against a backend, and what only against one request of a talking device."""

from __future__ import annotations

from typing import Any

import pytest

from router import attempt
from router.health.breaker import BreakerRules
from tests.router.conftest import Start
from tests.router.scripted import Script
from tests.router.simulation import sim_backend, world
from tests.router.upstream import delta
from tests.router.virtual_time import run
from tests.router.voice.scenes import frame, frames, stream, talk

DEVICE: dict[str, Any] = {
    "before": [{"role": "system", "content": "<speaker_recognition>\nA small owl. 小猫头鹰"}]
}
ONE_IS_ENOUGH = BreakerRules(failures=1, least_attempts=1)


@pytest.mark.parametrize(("seconds", "blamed"), [("15", True), ("300", True), ("6", False)])
def test_silence_counts_where_there_was_time_for_a_word(seconds: str, blamed: bool) -> None:
    """A device that waits 15 s leaves each of three backends 4.5 s: not all that the settings give
    them, and yet enough to tell that they are dead. 6 s are not."""

    async def told() -> None:
        backends = [
            sim_backend("local", first_token_timeout_s=5.0),
            sim_backend("cloud", first_token_timeout_s=10.0),
            sim_backend("backup", first_token_timeout_s=10.0),
        ]
        dead = Script(first_s=1000.0)
        scripts = {backend.name: dead for backend in backends}
        async with world(scripts, *backends) as made:
            await made.ask(says={"x-stainless-read-timeout": seconds}, **DEVICE)
            found = made.serving.monitor.report()
        assert {name: each["failures"] for name, each in found.items()} == dict.fromkeys(
            scripts, int(blamed)
        )

    run(told())


async def test_who_has_nothing_to_say_stays_in_use(start: Start) -> None:
    """One persona's odd prompt must not take a backend from everybody."""
    router = await start(local=frames(delta("😊")), breaker=ONE_IS_ENOUGH)
    for count in (1, 2, 3):
        assert (await stream(router.url, talk())).text == "far"
        assert len(router.local.calls) == count
    assert router.router is not None
    assert not router.router.serving.monitor.blocked


async def test_a_model_may_think_at_length(start: Start) -> None:
    thought = frame({"reasoning_content": "嗯" * 2000})
    router = await start(local=frames(*[thought] * 60, delta("好的。")))
    assert 60 * len(thought) > attempt.HELD_BYTES
    found = await stream(router.url, talk())
    assert found.text == "好的。"
    (decision,) = await router.settled(1)
    assert (decision["backend"], decision["attempts"]) == ("local", 1)


async def test_but_not_for_ever(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "WHOLE_REPLY_BYTES", 5000)
    router = await start(local=frames(frame({"reasoning_content": "嗯" * 2000}), delta("好的。")))
    assert (await stream(router.url, talk())).text == "far"
