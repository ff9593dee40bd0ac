"""The engine under test: one at a time, always on the same port."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from firsttoken.core.settings import Settings
from firsttoken.engines import options as engine_options
from firsttoken.engines.options import EngineOptions
from firsttoken.engines.supervisor import EngineSupervisor, reserve_port
from firsttoken.trials.tuning.candidates import Candidate


class Engines:
    """Starts a candidate's engine where another's was, and stops it at the end."""

    def __init__(self, settings: Settings, log_dir: Path, notes: list[str]) -> None:
        self._settings = settings
        self._log_dir = log_dir
        self._notes = notes
        self._holder = reserve_port("127.0.0.1", 0)
        self._engine: EngineSupervisor | None = None
        self.port = int(self._holder.getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        self._holder.close()

    @property
    def url(self) -> str:
        """The address of every candidate."""
        return f"http://127.0.0.1:{self.port}"

    def options(self, candidate: Candidate) -> EngineOptions:
        """Return the engine's options for a candidate, checked.

        Raises:
            UserError: it cannot work on this machine, for want of memory most of all.
        """
        wanted = engine_options.from_settings(
            self._settings, slots=candidate.slots, threads=candidate.threads, port=self.port
        )
        return engine_options.check(wanted).options

    def start(self, candidate: Candidate) -> EngineSupervisor:
        """Replace the engine by one with the settings of a candidate; return it when ready."""
        self.stop()
        engine = EngineSupervisor(
            self.options(candidate),
            log=self._log_dir / f"engine-{candidate.name}.log",
            on_event=self._notes.append,
        )
        engine.start()
        self._engine = engine
        return engine

    def stop(self) -> None:
        """Stop the engine, if there is one."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.stop()

    def pids(self) -> list[int]:
        """Return the process of the engine, if there is one."""
        engine = self._engine
        return [] if engine is None or engine.pid is None else [engine.pid]
