"""Command-line options that the servers share, and the frame of their main functions."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence

from firsttoken.core.errors import UserError
from firsttoken.core.words import ExitCode
from firsttoken.upstreams.connection import App
from firsttoken.upstreams.draws import Span
from firsttoken.upstreams.server import run


def number(name: str, text: str, low: float, high: float) -> float:
    """Read a number between ``low`` and ``high``.

    Raises:
        UserError: it is none; the message calls it ``name``.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UserError(f"{name} is {text!r}, expected a number from {low:g} to {high:g}")
    return value


def span(name: str, text: str, low: float, high: float) -> Span:
    """Read a range such as ``150:450``; one number alone is a range of no width.

    Raises:
        UserError: an end is no number between ``low`` and ``high``, or the ends are exchanged.
    """
    first, _, second = text.partition(":")
    result = Span(number(name, first, low, high), number(name, second or first, low, high))
    if result.low > result.high:
        raise UserError(f"{name} is {text!r}, expected LOW:HIGH with LOW not above HIGH")
    return result


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """Return a parser that has ``--port`` and ``--seed``."""
    result = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    result.add_argument("--port", default="0", help="port on 127.0.0.1; 0 (default) takes any")
    result.add_argument("--seed", type=int, default=0, help="seed of every draw (default 0)")
    return result


def serve(
    options: argparse.ArgumentParser,
    make: Callable[[argparse.Namespace], App],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse ``argv``, serve what ``make`` returns until a signal, return the exit code."""
    arguments = options.parse_args(argv)
    try:
        port = int(number("--port", arguments.port, 0, 65535))
        run(make(arguments), port)
    except UserError as error:
        print(f"firsttoken: {error}", file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.PASS
