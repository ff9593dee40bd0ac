"""Errors that a person can act on."""

from __future__ import annotations


class UserError(Exception):
    """Bad usage, settings or data.

    The message is one line: what was wrong, where, and what was expected. The command line
    prints it and ends with :attr:`firsttoken.core.words.ExitCode.USAGE`.
    """
