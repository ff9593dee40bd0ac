"""``python -m router``: the router as a child process of ours."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from firsttoken.core.child import die_with_parent
from firsttoken.core.errors import UserError
from firsttoken.core.settings import Settings, load
from firsttoken.core.words import ExitCode
from firsttoken.engines import options
from firsttoken.engines.supervisor import EngineSupervisor
from router.app import Router
from router.config import RouterConfig, from_settings
from router.server import check_audit, check_keys, run

_log = logging.getLogger("firsttoken")


def main() -> int:
    """Serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="router", description="The firsttoken router.")
    parser.add_argument("--config", type=Path, action="append", help="settings file")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on; 0: any free one")
    parser.add_argument("--engine", action="store_true", help="start the embedded engine too")
    parser.add_argument("--ready-json", action="store_true", help="print a line when ready")
    told = parser.parse_args()
    try:
        serve(told.config, told.host, told.port, engine=told.engine, ready_json=told.ready_json)
    except UserError as error:
        print(f"firsttoken: {error}", file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.PASS


def serve(
    paths: list[Path] | None,
    host: str | None,
    port: int | None,
    *,
    engine: bool = False,
    ready_json: bool = False,
) -> None:
    """Load the settings and serve until SIGTERM; ``host`` and ``port`` go before the settings.

    With ``engine`` the embedded engine is started first, and is the local backend whatever the
    settings say of its address.

    Raises:
        UserError: the settings are wrong, the engine does not start, or the address cannot be
            listened on.
    """
    die_with_parent()
    logging.basicConfig(format="firsttoken: %(message)s", level=logging.INFO)
    settings = load(paths)
    with ExitStack() as stack:
        supervisor = _started(settings, stack) if engine else None

        address = settings.server.host if host is None else host

        def read() -> RouterConfig:
            config = from_settings(load(paths, overrides=_local_is(supervisor)), supervisor)
            check_keys(config, address)  # a reload must not open the router either
            check_audit(config)
            return config

        for warning in settings.warnings:
            print(f"firsttoken: warning: {warning}", file=sys.stderr)
        run(
            Router(read(), read),
            address,
            settings.server.port if port is None else port,
            ready_json=ready_json,
        )


def _started(settings: Settings, stack: ExitStack) -> EngineSupervisor:
    """Start the embedded engine; it is stopped with ``stack``."""
    checked = options.check(options.from_settings(settings))
    for warning in checked.warnings:
        _log.warning("warning: %s", warning)
    engine = EngineSupervisor(checked.options, on_event=_log.warning)
    engine.start()
    stack.callback(engine.stop)
    return engine


def _local_is(engine: EngineSupervisor | None) -> dict[str, Any]:
    """Return the settings that make ``engine`` the local backend."""
    if engine is None:
        return {}
    return {
        "llm_routing.local_model.endpoint": engine.url,
        "llm_routing.local_model.model": engine.options.model_name,
        "llm_routing.local_model.dialect": "openai",
        "llm_routing.local_model.slots": engine.slots,
        "health_check.local_model.endpoint": f"{engine.url}/v1/models",
    }


if __name__ == "__main__":
    sys.exit(main())
