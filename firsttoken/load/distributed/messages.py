"""What master and workers say to each other, beside what Locust's own two say.

Each message is a dictionary that msgpack can carry. No key and no secret is in any of them: a plan
names the variable that holds a key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from firsttoken.core.errors import UserError

HELLO = "firsttoken_hello"
"""Worker: here I am; repeated each second until PLAN or REFUSED comes. ``host``, ``boot_id``,
``schema_version``."""
PLAN = "firsttoken_plan"
"""Master: ``plan`` (JSON), ``index`` and ``of`` (the share), ``name``, ``boot_id``, ``token``."""
REFUSED = "firsttoken_refused"
"""Master: this worker cannot join, for ``reason``."""
PING = "firsttoken_ping"
"""Master: ``sent``, its clock. The worker answers with PONG at once."""
PONG = "firsttoken_pong"
"""Worker: ``sent`` as it came, and ``here``, its own clock."""
READY = "firsttoken_ready"
"""Worker: all talkers wait for ``block``."""
BEGIN = "firsttoken_begin"
"""Master: ``block`` begins at ``start_ns`` by the worker's clock."""
ROWS = "firsttoken_rows"
"""Worker: ``count`` rows were flushed; ``data`` holds them, or None where they are in the run
folder already."""
RESULT = "firsttoken_result"
"""Worker: ``result`` (a BlockResult) and ``ttft_ms`` of a block that has ended."""
FAILED = "firsttoken_failed"
"""Worker: it gives up, for ``reason``."""
END = "firsttoken_end"
"""Master: the run is over."""
ENDED = "firsttoken_ended"
"""Worker: it has stopped, all rows were sent before this."""
BYE = "firsttoken_bye"
"""Master: ENDED was received."""

FROM_WORKER = (HELLO, PONG, READY, ROWS, RESULT, FAILED, ENDED)
FROM_MASTER = (PLAN, REFUSED, PING, BEGIN, END, BYE)

_MARK = ".generators"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Data = dict[str, Any]


def boot_id() -> str:
    """Return what tells one boot of one machine from every other; the processes that share it
    share the monotonic clock too. Empty where it cannot be read."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def write_token(run_dir: Path, token: str) -> None:
    """Leave a token in the run folder, by which workers find that they share it.

    Raises:
        UserError: the folder cannot be written.
    """
    path = run_dir / _MARK
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(token, encoding="ascii")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def shares_folder(run_dir: Path, token: str) -> bool:
    """Whether ``run_dir`` is, on this machine, the folder that the master wrote ``token`` to."""
    try:
        return (run_dir / _MARK).read_text(encoding="ascii") == token
    except (OSError, UnicodeDecodeError):
        return False


def remove_token(run_dir: Path) -> None:
    """Take the token out of the run folder."""
    (run_dir / _MARK).unlink(missing_ok=True)


class Offset(NamedTuple):
    """What to add to a worker's stamps to bring them to the clock of the run."""

    offset_ns: int = 0
    error_ns: int = 0
    """At most so much is the offset off: half the round trip that it rests on."""


SAME_CLOCK = Offset()


class Trip(NamedTuple):
    """One question of the time and its answer, ns."""

    sent_ns: int
    """By the master's clock."""
    there_ns: int
    """By the worker's clock, in between."""
    back_ns: int
    """By the master's clock."""


def offset_of(trips: list[Trip]) -> Offset:
    """Return the offset from the quickest of several trips.

    The answer was given at some moment of the trip: taking its middle errs by half of it at most
    (Cristian, Probabilistic clock synchronization, 1989).

    Raises:
        ValueError: there is no trip.
    """
    sent_ns, there_ns, back_ns = min(trips, key=lambda trip: trip.back_ns - trip.sent_ns)
    return Offset((sent_ns + back_ns) // 2 - there_ns, (back_ns - sent_ns + 1) // 2)
