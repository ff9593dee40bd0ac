"""Devices behind a full voice server: the conversations of :class:`Sessions`, with everything that
such a server sends around them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.personas import Persona
from firsttoken.core.voice_texts import (
    Message,
    ToolStep,
    VoiceTexts,
    as_arguments,
    called,
    tool_name,
)
from firsttoken.core.words import ANSWER_TOOL, EXIT_TOOL, MOST_HOPS, Outcome
from firsttoken.load.corpus import Corpus
from firsttoken.load.exchange import Exchange
from firsttoken.load.schedules.options import Switch, VoiceOptions, VoicePrompt, VoiceTools
from firsttoken.load.schedules.sessions import Sessions
from firsttoken.load.schedules.turn import Starts, Turn, Wait, Window
from firsttoken.wire.replies import ToolCall

FIRST_MINUTE = 9 * 60 + 58
"""What the clock in the prompts shows when a block begins: an hour ends early in it."""
CALL_TOKENS = 24
"""Longest reply where no speech is expected: a call by script, what was wanted."""
INTENT_MESSAGES = 4
"""Of the conversation, which the call that classifies is shown."""
MEMORY_TEMPERATURE = 0.2


@dataclass(slots=True)
class _Conversation:
    """What a device and its server know of the conversation."""

    session: int
    persona: Persona
    tools: list[Mapping[str, Any]]
    """In this server's order; without the one to answer through."""
    history: list[Message] = field(default_factory=list)
    """Never shortened: a conversation has few turns."""


@dataclass(slots=True)
class _Turning:
    """A turn under way, of one request or more."""

    turn: Turn
    """As :class:`Sessions` made it."""
    steps: list[ToolStep]
    """Uses of tools that are still to come, by script."""
    silent: bool
    intent: bool
    """Whether the request under way classifies what was said."""
    hop: int = 0
    added: list[Message] = field(default_factory=list)
    """What the tools of this turn have added to the conversation."""
    due_ns: int | None = None
    """When the next request of this turn is sent; None: one is under way."""

    @property
    def words(self) -> Message:
        return self.turn.messages[-1]


class Voice:
    """Devices in conversation as a voice server passes them on.

    When a device speaks, what it says, and whether it is interrupted is decided by ``sessions``,
    which must send no history of its own. Added here: the long system prompt, in which a clock
    ticks; tools, in an order that differs from device to device; an example conversation; further
    requests in the same turn; the history as such a server keeps it; the summary at the end.

    **Tools.** What the model calls is used. Where it calls nothing, the script says which kinds of
    utterances use tools: the reply then stands for the call, and the call as the script has it is
    put into the conversation. Either way a ``tool`` message follows, and the next request, one hop
    further, no longer offers the tool to answer through; after :data:`MOST_HOPS` of them none is
    offered. A silent tool (music) ends the turn: of the reply nothing is heard.

    **History.** A turn that failed leaves what was said, without an answer; so does a part of those
    that were interrupted: two user messages then follow each other. The rest keep as much of the
    answer as came.

    **Memory.** The summary of a conversation is begun the moment it ends, aside.
    """

    elastic = True

    def __init__(
        self,
        sessions: Sessions,
        corpus: Corpus,
        texts: VoiceTexts,
        *,
        options: VoiceOptions,
        seed: str,
    ) -> None:
        self._sessions = sessions
        self._texts = texts
        self._options = options
        self._seed = seed
        self._personas = {persona.system: persona for persona in corpus.personas}
        self._kinds = {utterance.text: utterance.kind for utterance in corpus.utterances}
        self._conversations: dict[int, _Conversation] = {}
        """By talker, as are the others."""
        self._turning: dict[int, _Turning] = {}
        self._asides: dict[int, Turn] = {}

    def next(self, user: int, now_ns: int, window: Window) -> Turn | Wait | None:
        """Return the next request of the device in the place of ``user``, once it is due.

        A turn that has begun is seen to its end, whatever the time.
        """
        under_way = self._turning.get(user)
        if under_way is not None and under_way.due_ns is not None:
            if now_ns < under_way.due_ns:
                return Wait(under_way.due_ns)
            return self._request(user, under_way, under_way.due_ns, window)
        aside = self._asides.pop(user, None)
        if aside is not None and not window.over(now_ns):
            return aside
        found = self._sessions.next(user, now_ns, window)
        if not isinstance(found, Turn):
            return found
        under_way = self._turning[user] = self._begin(user, found)
        return self._request(user, under_way, found.t_sched_ns, window)

    def done(self, user: int, turn: Turn, exchange: Exchange, now_ns: int) -> None:
        """Decide whether the turn goes on with another request, and else when the device speaks
        next."""
        if turn.aside:
            return
        under_way = self._turning[user]
        ended_ns = exchange.t_end_ns or now_ns
        if exchange.outcome == Outcome.SUCCESS:
            if under_way.intent:
                under_way.intent = False
                self._go_on(under_way, ended_ns)
                return
            if self._use_tool(user, under_way, exchange):
                if not under_way.silent:
                    self._go_on(under_way, ended_ns + self._tool_ns(turn))
                    return
                exchange.hush()
        self._end(user, under_way, exchange, now_ns)

    def owes(self, now_ns: int, window: Window) -> bool:
        """Whether a turn that has begun is not over."""
        return any(each.due_ns is not None for each in self._turning.values()) or (
            self._sessions.owes(now_ns, window)
        )

    def starts(self, window: Window) -> Starts | None:  # noqa: ARG002 - as Schedule has it
        """Nothing was planned: when a device speaks depends on what it hears."""
        return None

    def _begin(self, user: int, turn: Turn) -> _Turning:
        """Begin a turn, and the conversation with the first one."""
        known = self._conversations.get(user)
        if known is None or known.session != turn.session:
            persona = self._personas[turn.messages[0]["content"]]
            tools = [each for each in self._texts.tools if tool_name(each) != ANSWER_TOOL]
            self._draw("tools", turn.session).shuffle(tools)
            known = self._conversations[user] = _Conversation(turn.session, persona, tools)
        steps, silent = self._scripted(known, turn)
        return _Turning(turn, steps, silent, intent=self._options.tools is VoiceTools.INTENT)

    def _scripted(self, conversation: _Conversation, turn: Turn) -> tuple[list[ToolStep], bool]:
        """Return the tools that a turn uses by script, and whether nothing is said afterwards."""
        found = self._texts.tool_turns.get(self._kinds[turn.messages[-1]["content"]])
        if found is None or self._options.tools is not VoiceTools.FULL:
            return [], False
        if self._draw("tool", turn.session, turn.number).random() >= found.share:
            return [], False
        return list(found.steps(conversation.persona.lang)), found.silent

    def _request(self, user: int, under_way: _Turning, due_ns: int, window: Window) -> Turn:
        """Return the next request of a turn."""
        under_way.due_ns = None
        turn, conversation = under_way.turn, self._conversations[user]
        full = self._options.tools is VoiceTools.FULL and under_way.hop < MOST_HOPS
        last = not under_way.steps and not under_way.intent
        answers = full and under_way.hop == 0
        return Turn(
            t_sched_ns=due_ns,
            session=turn.session,
            number=turn.number,
            messages=self._messages(conversation, under_way, _clock(due_ns, window)),
            max_tokens=turn.max_tokens if last else min(turn.max_tokens, CALL_TOKENS),
            # The device speaks only what comes last.
            hang_up_after_ms=turn.hang_up_after_ms if last else None,
            keep_text=True,
            hop=under_way.hop,
            last=turn.last,
            tools=[*conversation.tools, *self._answer_tool(wanted=answers)] if full else (),
            temperature=self._options.temperature,
            as_sdk=True,
        )

    def _messages(
        self, conversation: _Conversation, under_way: _Turning, clock: str
    ) -> list[Message]:
        """Return the messages of the next request of a turn."""
        if under_way.intent:
            recent = [*conversation.history, under_way.words][-INTENT_MESSAGES:]
            said = "\n".join(f"{message['role']}: {message['content']}" for message in recent)
            return [
                {"role": "system", "content": self._texts.intent},
                {"role": "user", "content": said},
            ]
        persona = conversation.persona
        short = self._options.prompt is VoicePrompt.SHORT
        system = persona.system if short else self._texts.system(persona, clock)
        full = self._options.tools is VoiceTools.FULL
        return [
            {"role": "system", "content": system},
            *(self._texts.few_shot(persona) if full else ()),
            *conversation.history,
            under_way.words,
            *under_way.added,
        ]

    def _answer_tool(self, *, wanted: bool) -> list[Mapping[str, Any]]:
        return [each for each in self._texts.tools if wanted and tool_name(each) == ANSWER_TOOL]

    def _use_tool(self, user: int, under_way: _Turning, exchange: Exchange) -> bool:
        """Take the use of a tool into the conversation; return False where none is used."""
        if self._options.tools is not VoiceTools.FULL or under_way.hop >= MOST_HOPS:
            return False
        own = [call for call in exchange.tool_calls if call.name not in {ANSWER_TOOL, EXIT_TOOL}]
        if own:
            # What the model wants to do takes the place of what the script would have had it do.
            under_way.steps, under_way.silent = [], False
            call = own[0]
        elif under_way.steps:
            step = under_way.steps.pop(0)
            call = ToolCall("", step.name, as_arguments(step))
        else:
            return False
        turn, persona = under_way.turn, self._conversations[user].persona
        call_id = call.id or f"call_{turn.session}_{turn.number}_{under_way.hop}"
        result = self._texts.result(call.name, persona)
        under_way.added += called(call_id, call.name, call.arguments, result)
        return True

    @staticmethod
    def _go_on(under_way: _Turning, due_ns: int) -> None:
        under_way.hop += 1
        under_way.due_ns = due_ns

    def _end(self, user: int, under_way: _Turning, exchange: Exchange, now_ns: int) -> None:
        """End a turn; with the last one the conversation."""
        turn, conversation = under_way.turn, self._conversations[user]
        del self._turning[user]
        conversation.history += [under_way.words, *under_way.added]
        if exchange.text and self._is_kept(turn, exchange):
            conversation.history.append({"role": "assistant", "content": exchange.text})
        self._sessions.done(user, turn, exchange, now_ns)
        if turn.last and self._options.memory_jobs is Switch.ON:
            self._asides[user] = self._memory_job(conversation, turn, now_ns)

    def _is_kept(self, turn: Turn, exchange: Exchange) -> bool:
        if exchange.outcome == Outcome.CANCELLED:
            draw = self._draw("kept", turn.session, turn.number)
            return draw.random() < self._options.kept_share
        return exchange.outcome == Outcome.SUCCESS

    def _memory_job(self, conversation: _Conversation, turn: Turn, now_ns: int) -> Turn:
        return Turn(
            t_sched_ns=now_ns,
            session=turn.session,
            number=0,
            messages=self._texts.memory_job(conversation.persona, conversation.history),
            max_tokens=self._options.memory_tokens,
            temperature=MEMORY_TEMPERATURE,
            as_sdk=True,
            aside=True,
        )

    def _tool_ns(self, turn: Turn) -> int:
        draw = self._draw("tool takes", turn.session, turn.number, turn.hop)
        return int(draw.uniform(*self._options.tool_seconds) * NS_PER_S)

    def _draw(self, *what: object) -> random.Random:
        name = "/".join(map(str, what))
        return random.Random(f"{self._seed}/voice/{name}")  # noqa: S311 - not a secret


def _clock(t_ns: int, window: Window) -> str:
    """Return the time of day at ``t_ns``, such as ``09:58``: minutes of the block after the first
    one."""
    minute = FIRST_MINUTE + (t_ns - window.start_ns) // (60 * NS_PER_S)
    return f"{minute // 60 % 24:02}:{minute % 60:02}"
