"""Trap server: replies in order that are easily measured wrongly, and the truth about each.

    python -m firsttoken.upstreams.trap
    curl -N $URL/v1/chat/completions -d '{"model": "trap:role_early:zh", ...}'
    curl -N $URL/trap/role_early/v1/chat/completions -d '{"model": "any", ...}'

The model names the trap and what is said (``en``, ``zh`` or ``mixed``, which is the default); so
does, for clients that cannot choose it, a path prefix, which wins. :data:`.traps.TRAPS` lists them.
``GET /truth?after=N`` says what was done to each request (:class:`.traps.Truth`); a row is there
before the client can see the end of its reply.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from firsttoken.core.clock import monotonic_ns
from firsttoken.core.words import REQUEST_ID_HEADER, Outcome
from firsttoken.upstreams import options, routes
from firsttoken.upstreams.faults import CREATED_UNIX_S, INTERFACES
from firsttoken.upstreams.ledger import Ledger
from firsttoken.upstreams.script import Counters, Headers, Request, Script
from firsttoken.upstreams.traps import FAILING, SPEECHES, TRAPS, Scene, Trap, Truth, possible
from firsttoken.upstreams.voices import Identity

MODEL_PREFIX = "trap:"
PATH_PREFIX = "/trap/"
DEFAULT_SPEECH = "mixed"
_DIALECTS = {"/api/chat": "ollama", "/api/generate": "ollama_generate"}


class TrapServer:
    """The app: see the module's description."""

    headers: Headers = ()

    def __init__(self) -> None:
        self.counters = Counters()
        self._ids = routes.RequestIds()
        self._ledger = Ledger()
        names = tuple(f"{MODEL_PREFIX}{name}" for name in TRAPS)
        self._routes: routes.Routes = {
            ("GET", "/v1/models"): routes.models(names, "firsttoken-trap"),
            ("GET", "/truth"): self._ledger.answer,
            ("GET", "/health"): routes.health,
            ("GET", "/state"): routes.state(self.counters),
        }

    def answer(self, request: Request) -> Script:
        """Return the script of one reply."""
        named = None
        if request.path.startswith(PATH_PREFIX):
            named, _, rest = request.path.removeprefix(PATH_PREFIX).partition("/")
            request.path = f"/{rest}"
        interface = INTERFACES.get(request.path)
        if interface is None or request.method != "POST":
            return routes.answer(self._routes, request)
        try:
            asked = interface.read(request)
        except ValueError as error:
            return routes.openai_error(400, str(error))
        if not asked.stream:
            return routes.openai_error(400, "stream: expected true, a trap is a stream")
        named = asked.model.removeprefix(MODEL_PREFIX) if named is None else named
        name, _, speech = named.partition(":")
        speech = speech or DEFAULT_SPEECH
        if name not in TRAPS or speech not in SPEECHES:
            return routes.openai_error(
                400,
                f"no such trap: {named[:50]}; expected one of {', '.join(TRAPS)}, "
                f"and :{' or :'.join(SPEECHES)} after it",
            )
        request_id = self._ids.of(request)
        voice = interface.voice(Identity(request_id, CREATED_UNIX_S), asked)
        dialect = _DIALECTS.get(request.path, "")
        if not possible(name, dialect):
            return routes.openai_error(400, f"{name}: the {dialect} dialect has no such thing")
        outcome = Outcome.ERROR if name in FAILING else Outcome.SUCCESS
        scene = Scene(
            voice=voice,
            truth=Truth(request_id, name, speech, request.received_ns, str(outcome)),
            speech=SPEECHES[speech],
            headers=((REQUEST_ID_HEADER, request_id),),
        )
        return self.counters.count(name, self._told(scene, TRAPS[name]))

    def _told(self, scene: Scene, trap: Trap) -> Script:
        """Play ``trap`` and keep the truth once, before its last bytes are on their way."""
        try:
            yield from trap(scene)
        except GeneratorExit:
            scene.truth.client_left = True
            raise
        finally:
            if scene.truth.ended_ns is None:
                scene.truth.ended_ns = monotonic_ns()
            self._ledger.keep(scene.truth)


def _make(_: argparse.Namespace) -> TrapServer:
    return TrapServer()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    return options.serve(
        options.parser("firsttoken.upstreams.trap", "Trap server for clients."), _make, argv
    )


if __name__ == "__main__":
    sys.exit(main())
