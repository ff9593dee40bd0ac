"""Which schedule a plan asks for."""

from __future__ import annotations

from dataclasses import replace

from firsttoken.core.personas import Persona
from firsttoken.core.trace import read_trace
from firsttoken.core.voice_texts import VoiceTexts, read_voice_texts
from firsttoken.load.corpus import Corpus
from firsttoken.load.plan import Block, RunPlan, Scenario
from firsttoken.load.prompts import Prompts
from firsttoken.load.schedules.burst import Burst
from firsttoken.load.schedules.closed import ClosedLoop
from firsttoken.load.schedules.open_loop import OpenLoop
from firsttoken.load.schedules.options import VoiceLanguage
from firsttoken.load.schedules.replay import Replay
from firsttoken.load.schedules.sessions import Sessions
from firsttoken.load.schedules.turn import WHOLE, Schedule, Share
from firsttoken.load.schedules.voice import Voice
from firsttoken.load.script import Script


class Schedules:
    """Makes the schedules of a plan's blocks. What takes long is prepared here, once.

    Args:
        plan: what to run.
        corpus: what is said.
        share: the talkers and planned starts that are driven from here.

    Raises:
        UserError: the trace that shall be replayed, or a text of the voice server, cannot be read.
    """

    def __init__(self, plan: RunPlan, corpus: Corpus, share: Share = WHOLE) -> None:
        self._plan = plan
        self._share = share
        self._voice: VoiceTexts | None = None
        if plan.scenario is Scenario.VOICE:
            self._voice = read_voice_texts(corpus.folder)
            corpus = replace(corpus, personas=_speaking(self._voice, plan.voice.language))
        self._corpus = corpus
        self._script = Script(corpus, plan.steps, plan.seed, plan.repeat_share)
        self._traced = None
        if plan.scenario is Scenario.REPLAY and plan.replay is not None:
            trace = read_trace(plan.replay.file)
            prompts = Prompts(corpus, plan.seed, max(trace.prompt_tokens))
            self._traced = (trace, prompts, plan.replay)

    def of(self, block: Block) -> Schedule:
        """Return the schedule of one block."""
        plan, script, step = self._plan, self._script, block.step
        tokens = (plan.min_tokens, plan.max_tokens)
        if self._traced is not None:
            return Replay(*self._traced, seconds=block.steady_seconds, share=self._share)
        if self._voice is not None:
            return self._talking(block, self._voice)
        match plan.scenario:
            case Scenario.OPEN_LOOP:
                spans = (block.warmup_seconds, block.steady_seconds)
                return OpenLoop(
                    script,
                    step,
                    spans,
                    tokens,
                    options=plan.open_loop,
                    seed=plan.seed,
                    share=self._share,
                )
            case Scenario.SESSIONS | Scenario.SOAK:
                return Sessions(
                    script, step, block.users, *tokens, options=plan.sessions, seed=plan.seed
                )
            case Scenario.BURST:
                return Burst(script, step, block.users, *tokens, options=plan.burst, seed=plan.seed)
            case _:
                return ClosedLoop(script, step, block.users, *tokens)

    def _talking(self, block: Block, texts: VoiceTexts) -> Voice:
        """Return the schedule of devices behind a voice server, which keeps the history itself."""
        plan, step = self._plan, block.step
        sessions = Sessions(
            self._script,
            step,
            block.users,
            plan.min_tokens,
            plan.max_tokens,
            options=plan.sessions.model_copy(update={"history": False}),
            seed=plan.seed,
        )
        return Voice(sessions, self._corpus, texts, options=plan.voice, seed=f"{plan.seed}/{step}")


def _speaking(texts: VoiceTexts, language: VoiceLanguage) -> tuple[Persona, ...]:
    """Return the personas that speak ``language``."""
    return tuple(
        persona
        for persona in texts.personas
        if language is VoiceLanguage.ALL or persona.lang == language.value
    )
