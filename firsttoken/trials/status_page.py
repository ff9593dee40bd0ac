"""``firsttoken status`` as a person sees it: one screen, the same on a terminal and in a pipe."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from firsttoken.core.catalogue import CircuitState
from firsttoken.core.errors import UserError
from firsttoken.core.slo import Slo
from firsttoken.trials.status import StatusReader
from firsttoken.trials.status_snapshot import ActionStatus, BackendStatus, Snapshot

WIDTH = 100
"""Columns at most."""

EVERY_S = 2.0

MISSING = "–"

_GOOD, _BAD, _DIM = "green", "bold red", "dim"


def render(found: Snapshot, slo: Slo) -> RenderableType:
    """Return the screen; what misses a target of ``slo`` says so in a word, not by colour alone."""
    return Group(
        _head(found), "", _backends(found), "", _first_tokens(found, slo), "", _rest(found, slo)
    )


def as_text(found: Snapshot, slo: Slo) -> str:
    """Return the screen as plain lines without trailing spaces."""
    console = Console(width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(render(found, slo))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def as_json(found: Snapshot) -> str:
    """Return the snapshot as one line of JSON."""
    return json.dumps(asdict(found), ensure_ascii=False)


def show(reader: StatusReader, slo: Slo, *, json_output: bool = False) -> None:
    """Print the state once.

    Raises:
        UserError: see :meth:`StatusReader.read`.
    """
    found = reader.read()
    console = Console(highlight=False, markup=False)
    if json_output or not console.is_terminal:
        print(as_json(found) if json_output else as_text(found, slo))
    else:
        console.print(render(found, slo), width=min(console.width, WIDTH))


def watch(
    reader: StatusReader,
    slo: Slo,
    *,
    json_output: bool = False,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Show the state every :data:`EVERY_S` seconds until interrupted: in place on a terminal, as
    one block after the other elsewhere, as one line after the other with ``json_output``.

    A router that stops answering is said to, and asked again.

    Raises:
        UserError: it does not answer the first time.
    """
    console = Console(highlight=False, markup=False)
    found: Snapshot | UserError = reader.read()
    if json_output or not console.is_terminal:
        while True:
            print(_line(found) if json_output else _block(found, slo), flush=True)
            wait(EVERY_S)
            found = _again(reader)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            page = Text(str(found)) if isinstance(found, UserError) else render(found, slo)
            live.update(_narrow(page, console.width), refresh=True)
            wait(EVERY_S)
            found = _again(reader)


def _again(reader: StatusReader) -> Snapshot | UserError:
    try:
        return reader.read()
    except UserError as error:
        return error


def _line(found: Snapshot | UserError) -> str:
    if isinstance(found, UserError):
        return json.dumps({"error": str(found)}, ensure_ascii=False)
    return as_json(found)


def _block(found: Snapshot | UserError, slo: Slo) -> str:
    return f"{found if isinstance(found, UserError) else as_text(found, slo)}\n"


def _narrow(page: RenderableType, columns: int) -> RenderableType:
    """Return the page with room beside it for the ``^C`` that a terminal writes at the end of the
    last line; in the next line it would spoil the counting of lines."""
    frame = Table.grid()
    frame.add_column(max_width=min(columns - 2, WIDTH))
    frame.add_row(page)
    return frame


def _head(found: Snapshot) -> Text:
    at = datetime.fromtimestamp(found.unix_s, tz=UTC).astimezone()
    return Text.assemble(
        ("firsttoken", "bold"),
        f" {_clean(found.version)} at {found.url}   ",
        ("ready", _GOOD) if found.ready else ("not ready", _BAD),
        "   mode ",
        (_clean(found.mode), "" if found.mode in {"normal", "local_only"} else "yellow"),
        (f"   {at:%H:%M:%S}", _DIM),
    )


def _table(*columns: str, right: frozenset[str] = frozenset()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style=_DIM)
    for name in columns:
        # Names may be cut where there is no room; figures never are.
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name not in {"backend", "model"},
            overflow="ellipsis",
        )
    return table


def _backends(found: Snapshot) -> Table:
    table = _table("backend", "tier", "model", "state", "circuit", "in flight")
    for each in found.backends:
        table.add_row(
            _clean(each.name),
            each.tier,
            _clean(each.model),
            Text("up", _GOOD) if each.up else Text("down", _BAD),
            Text(
                each.circuit.replace("_", " "),
                "" if each.circuit == CircuitState.CLOSED else _BAD,
            ),
            _load(each),
        )
    return table


def _load(backend: BackendStatus) -> str:
    text = str(backend.in_flight)
    if backend.slots is not None:
        text += f" of {backend.slots}"
    return f"{text}, {backend.waiting} wait" if backend.waiting else text


def _first_tokens(found: Snapshot, slo: Slo) -> RenderableType:
    span = _span(found.window_s)
    if not found.first_tokens:
        return Text(f"first token   nothing streamed in the last {span}")
    title = f"first token, last {span}"
    table = _table(title, "n", "p50", "p95", "", right=frozenset({"n", "p50", "p95"}))
    for each in found.first_tokens:
        verdict = Text()
        if each.tier == "all":
            met = each.p95_ms <= slo.ttft_p95_ms
            words = f"p95 {'within' if met else 'over'} {slo.ttft_p95_ms:g} ms"
            verdict = Text(words, _GOOD if met else _BAD)
        table.add_row(each.tier, f"{each.n}", _ms(each.p50_ms), _ms(each.p95_ms), verdict)
    return table


def _rest(found: Snapshot, slo: Slo) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style=_DIM, no_wrap=True)
    table.add_column()
    table.add_row("requests", _requests(found, slo))
    share = found.local_share
    table.add_row("local share", MISSING if share is None else f"{_percent(share)} in 5 min")
    table.add_row("memory", _memory(found, slo))
    if found.conversations:
        table.add_row("conversations", f"{_counts(found.conversations)} (since the start)")
    if found.ratings:
        table.add_row("ratings", _ratings(found.ratings))
    for number, action in enumerate(found.actions):
        table.add_row("" if number else "actions", _action(action, found.unix_s))
    if not found.actions:
        table.add_row("actions", "none")
    if found.load_test is not None:
        table.add_row("load test", Text(f"{_clean(found.load_test)} runs", "yellow"))
    return table


def _requests(found: Snapshot, slo: Slo) -> Text:
    text = Text(f"{found.requests} in {_span(found.window_s)}")
    judged = found.requests - found.cancelled
    if found.failed:
        share = found.failed / judged
        words = f", {found.failed} failed ({_percent(share, 1)}: {_counts(found.error_types)})"
        text.append(words, _BAD if share >= slo.error_rate else "")
    elif found.requests:
        text.append(", none failed")
    if found.cancelled:
        text.append(f", {found.cancelled} cancelled")
    return text


def _memory(found: Snapshot, slo: Slo) -> Text:
    parts = Text()
    used, limit = found.memory_unreclaimable, found.memory_limit
    if used is not None and limit:
        share = used / limit
        over = share >= slo.memory_share
        words = f"engine {_bytes(used)} of {_bytes(limit)} ({_percent(share)})"
        parts.append(
            f"{words}, over {_percent(slo.memory_share)}" if over else words, _BAD if over else ""
        )
    else:
        parts.append(f"engine {MISSING}")
    if found.router_memory is not None:
        parts.append(f", router {_bytes(found.router_memory)}")
    return parts


def _ratings(ratings: Mapping[str, int]) -> str:
    n = sum(ratings.values())
    mean = sum(int(stars) * count for stars, count in ratings.items()) / n
    return f"{mean:.1f} of 5 from {n} {'rating' if n == 1 else 'ratings'} (since the start)"


def _action(action: ActionStatus, unix_s: float) -> str:
    when = ""
    if action.last_unix_s is not None:
        when = f" {_span(max(0.0, unix_s - action.last_unix_s))} ago"
    return f"{action.action}{when}: {_counts(action.results)}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {_clean(name).replace('_', ' ')}" for name, count in counts.items())


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _span(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{math.floor(seconds / length)} {unit}"
    return f"{seconds:.0f} s"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _clean(text: str) -> str:
    """Return text of the server without what a terminal would take for a command."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _percent(share: float, digits: int = 0) -> str:
    return f"{share * 100:.{digits}f} %"
