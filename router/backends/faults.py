"""Why an attempt failed, and whether another backend may do better."""

from __future__ import annotations

from dataclasses import dataclass

from firsttoken.core.words import OUTCOME_OF, ErrorType, Outcome


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure of one attempt."""

    error_type: ErrorType
    message: str
    status: int | None = None
    """The HTTP status the backend answered with, if it answered."""
    retry_after: str | None = None
    """The backend's ``Retry-After``."""
    of_our_queue: bool = False
    """Whether the backend was not asked: the router's own queue before it was full, or the prompt
    is known not to fit. That is no fault of it."""
    hurried: bool = False
    """Whether the backend had less time than the settings give it, because whoever asked gives up
    sooner, which is no fault of it either."""
    unspeakable: bool = False
    """Whether the reply was whole, and only has nothing that a talking device could say: that is
    the prompt's fault as likely as the model's, and no reason to keep others from it."""

    @property
    def outcome(self) -> Outcome:
        """The outcome that this failure gives an attempt, and a request it was the last of."""
        return OUTCOME_OF.get(self.error_type, Outcome.ERROR)

    @property
    def is_final(self) -> bool:
        """Whether no other backend is asked: the request itself was refused as malformed.

        A prompt that is too long is a matter of the backend, and so is a wrong key or an unknown
        model, since both come from the settings; for these the next one is asked.
        """
        return self.error_type is ErrorType.HTTP_4XX and self.status in _REQUEST_AT_FAULT


_REQUEST_AT_FAULT = {400, 422}


def client_status(fault: Fault) -> int:
    """Return the status a client gets when this was the last failure of its request."""
    if fault.is_final:
        return fault.status or 400
    return _CLIENT_STATUS.get(fault.error_type, 502)


_CLIENT_STATUS = {
    ErrorType.FIRST_TOKEN_TIMEOUT: 504,
    ErrorType.TOTAL_TIMEOUT: 504,
    ErrorType.RATE_LIMITED: 429,
    ErrorType.OVERLOADED: 503,
    ErrorType.CONTEXT_OVERFLOW: 400,
}
