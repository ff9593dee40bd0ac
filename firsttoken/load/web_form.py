"""Locust's web form, looked at before a run begins: what is wrong is said in the form itself."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING

from firsttoken.core.errors import UserError

Check = Callable[[Namespace, str | None, Sequence[Any]], object]
"""Told options, host and user classes as they would be; raises UserError for what cannot run."""


def guard(environment: Environment, options: Namespace, check: Check) -> None:
    """Have ``check`` look at every form that would start a run."""
    web_ui = environment.web_ui
    if web_ui is None or web_ui.app is None:
        return
    pages = Blueprint("firsttoken_form", __name__)

    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def refusal() -> Response | None:
        try:
            _from_this_page()
            if getattr(environment.runner, "state", "") not in {STATE_RUNNING, STATE_SPAWNING}:
                check(*_asked(environment, options))
        except UserError as error:
            return jsonify({"success": False, "message": str(error), "host": environment.host})
        return None

    @pages.before_app_request
    def before() -> Response | None:
        found: Response | None = refusal() if request.endpoint == "locust.swarm" else None
        return found

    web_ui.app.register_blueprint(pages)


def _from_this_page() -> None:
    """Refuse a form that another site has the person's browser send: it could name a server of its
    own, and the key would go there.

    Raises:
        UserError: it is one.
    """
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise UserError(f"a page of {origin} may not start a run here")


def _asked(environment: Environment, options: Namespace) -> tuple[Namespace, str | None, list[Any]]:
    """Return options, host and classes as the form would make them.

    Raises:
        UserError: a number is none, or no scenario was chosen.
    """
    asked = Namespace(**vars(options))
    for name, value in request.form.items():
        known = getattr(options, name, None)
        if isinstance(known, float | int) and not isinstance(known, bool):
            try:
                setattr(asked, name, type(known)(value))
            except ValueError as error:
                raise UserError(f"{name} is {value!r}, expected a number") from error
        elif isinstance(known, str):
            setattr(asked, name, value)
    classes: dict[str, Any] = environment.available_user_classes or {}
    named = request.form.getlist("user_classes")
    chosen = [each for name, each in classes.items() if name in named] or list(classes.values())
    if len(chosen) == len(classes) > 1:
        # What the form comes with: nobody has chosen yet.
        raise UserError("choose one scenario, or some: all of them are chosen")
    return asked, request.form.get("host") or environment.host, chosen
