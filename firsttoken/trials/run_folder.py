"""A new run folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from firsttoken.core.errors import UserError


def new_run_id(scenario: str, now: datetime | None = None) -> str:
    """Return ``<UTC>-<scenario>``, such as ``20260131T235959Z-steps``."""
    return f"{(now or datetime.now(UTC)):%Y%m%dT%H%M%SZ}-{scenario}"


def create(out: Path | None, run_id: str) -> Path:
    """Create the run's folder: ``out`` itself, or ``runs/<run_id>`` where none is named.

    Raises:
        UserError: it cannot be written, or it holds a run or other files already.
    """
    run_dir = out or Path("runs") / run_id
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if any(run_dir.iterdir()):
            raise UserError(f"{run_dir} is not empty; name a new folder with --out")
        probe = run_dir / ".write-test"
        # A full disk lets a file be created and refuses its content.
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write the run to {run_dir}: {error.strerror or error}") from error
    return run_dir
