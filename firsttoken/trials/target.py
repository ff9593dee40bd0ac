"""Before a run: does the target answer, with which model, and does it take the key?"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import httpx

from firsttoken.core.clock import monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.settings import endpoint, keys
from firsttoken.core.words import EMULATED_HEADER, TIER_HEADER
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest, Dialect
from firsttoken.wire.events import Failure, is_token

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_MODEL_LISTS: dict[str, tuple[str, str, str]] = {
    "openai": ("/v1/models", "data", "id"),
    "ollama": ("/api/tags", "models", "name"),
    "ollama_generate": ("/api/tags", "models", "name"),
}
"""By dialect: path, key of the list, key of the name. DashScope native has no such list."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server to measure."""

    url: str
    """Without a trailing slash and without ``/v1``."""
    model: str
    dialect: str
    api_key_env: str | None = None
    emulated: bool = False
    is_router: bool = False
    """Whether it is our router, whose own records can be read."""


def normalise_url(url: str, dialect: str) -> str:
    """Return the base URL of a server, without a trailing slash or ``/v1``.

    Raises:
        UserError: it is no http or https URL, or it carries a user name, password or query.
    """
    try:
        return endpoint.resolve(url if "//" in url else f"http://{url}", dialect)[0]
    except ValueError as error:
        raise UserError(f"--target {error}") from error


def read_key(api_key_env: str | None) -> str | None:
    """Return the key in the named environment variable.

    Raises:
        UserError: the variable is not set, or what it holds cannot be a key.
    """
    if api_key_env is None:
        return None
    try:
        found = keys.find_one(api_key_env, None, os.environ)
    except ValueError as error:
        raise UserError(f"--api-key-env: {error}") from error
    if found is None:
        raise UserError(f"the environment variable {api_key_env} (--api-key-env) is not set")
    return found.values[0]


def _headers(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def _first_model(http: httpx.Client, dialect: str, url: str) -> str:
    """Ask the server which model it has."""
    if dialect not in _MODEL_LISTS:
        raise UserError(f"the {dialect} dialect has no list of models: name one with --model")
    path, list_key, name_key = _MODEL_LISTS[dialect]
    reply = http.get(path)
    if reply.status_code in {401, 403}:
        raise UserError(f"{url} refused the key (HTTP {reply.status_code}); see --api-key-env")
    try:
        return str(reply.json()[list_key][0][name_key])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(
            f"{url}{path} lists no model (HTTP {reply.status_code}); name one with --model"
        ) from error


def _check_first_token(
    http: httpx.Client, dialect: Dialect, target: Target, key: str | None
) -> Target:
    """Ask for one streamed token; return the target with what its headers say of it."""
    call = dialect.build_request(
        ChatRequest(
            model=target.model,
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            # One token may be half a character, which no server shows.
            max_tokens=8,
        ),
        key,
    )
    reader = dialect.reader()
    with http.stream("POST", call.path, content=call.body, headers=call.headers) as reply:
        if reply.status_code != httpx.codes.OK:
            said = dialect.read_error(reply.read()[:65536])
            hint = {401: "; see --api-key-env", 403: "; see --api-key-env", 404: "; see --model"}
            raise UserError(
                f"{target.url}{call.path} answered HTTP {reply.status_code} for model "
                f"{target.model!r}: {said or 'no reason given'}{hint.get(reply.status_code, '')}"
            )
        for chunk in reply.iter_raw():
            for event in reader.feed(chunk, monotonic_ns()):
                if isinstance(event, Failure):
                    raise UserError(f"{target.url} failed inside the stream: {event.message}")
                if is_token(event):
                    return replace(
                        target,
                        emulated=EMULATED_HEADER in reply.headers,
                        is_router=TIER_HEADER in reply.headers,
                    )
    raise UserError(
        f"{target.url}{call.path} streamed no token in the {dialect.name} dialect; see --dialect"
    )


def resolve(url: str, model: str | None, dialect: str, api_key_env: str | None) -> Target:
    """Check that ``url`` streams a token and return what to measure.

    Raises:
        UserError: no such server, wrong key, unknown model, another dialect.
    """
    url = normalise_url(url, dialect)
    key = read_key(api_key_env)
    speaker = dialects.get(dialect)
    try:
        with httpx.Client(base_url=url, timeout=_TIMEOUT, headers=_headers(key)) as http:
            target = Target(
                url=url,
                model=model or _first_model(http, dialect, url),
                dialect=dialect,
                api_key_env=api_key_env,
            )
            return _check_first_token(http, speaker, target, key)
    except httpx.ConnectError as error:
        raise UserError(f"no server answers at {url}: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UserError(
            f"{url} did not answer as expected: {error or type(error).__name__}"
        ) from error
