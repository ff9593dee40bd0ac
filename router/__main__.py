"""``python -m router``: the router as a child process of ours."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from firsttoken.core.child import die_with_parent
from firsttoken.core.errors import UserError
from firsttoken.core.settings import load
from firsttoken.core.words import ExitCode
from router.config import from_settings
from router.server import run


def main() -> int:
    """Serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="router", description="The firsttoken router.")
    parser.add_argument("--config", type=Path, action="append", help="settings file")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on; 0: any free one")
    parser.add_argument("--ready-json", action="store_true", help="print a line when ready")
    arguments = parser.parse_args()
    try:
        serve(arguments.config, arguments.host, arguments.port, ready_json=arguments.ready_json)
    except UserError as error:
        print(f"firsttoken: {error}", file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.PASS


def serve(
    paths: list[Path] | None, host: str | None, port: int | None, *, ready_json: bool
) -> None:
    """Load the settings and serve until SIGTERM; ``host`` and ``port`` go before the settings.

    Raises:
        UserError: the settings are wrong, or the address cannot be listened on.
    """
    die_with_parent()
    settings = load(paths)
    for warning in settings.warnings:
        print(f"firsttoken: warning: {warning}", file=sys.stderr)
    run(
        from_settings(settings),
        settings.server.host if host is None else host,
        settings.server.port if port is None else port,
        ready_json=ready_json,
    )


if __name__ == "__main__":
    sys.exit(main())
