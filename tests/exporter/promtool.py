"""Prometheus' own tool, where it is installed."""

from __future__ import annotations

import shutil
import subprocess


def promtool(*arguments: str, text: str = "") -> tuple[int, str]:
    """Run it with ``text`` as its input; return its exit code and all that it said."""
    program = shutil.which("promtool")
    assert program is not None, "promtool is missing: apt-get install prometheus"
    done = subprocess.run(
        [program, *arguments],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
