"""genai-bench: its own OpenAI user, one request at a time a greenlet, as it runs under Locust."""

# mypy: disable-error-code="import-not-found, misc"
from __future__ import annotations

from typing import Any

from genai_bench.protocol import UserChatRequest, UserResponse
from genai_bench.user.openai_user import OpenAIUser
from locust.env import Environment

from benchmarks.client.runners.common import PROMPT, Seen, headers, options, run_gevent

given = options()


class _Sampler:
    """Stands for its tokenizer, which it asks where a server tells no usage."""

    def get_token_length(self, text: str, add_special_tokens: bool = False) -> int:  # noqa: ARG002
        return len(text.split())


class User(OpenAIUser):
    """The talker: what to ask comes from here, what it measured goes back."""

    host = given.url
    api_backend = "openai"
    request: UserChatRequest
    response: UserResponse

    def sample(self) -> UserChatRequest:
        return self.request

    def collect_metrics(self, user_response: UserResponse, endpoint: str) -> None:  # noqa: ARG002
        self.response = user_response


environment = Environment(user_classes=[User])
environment.sampler = _Sampler()  # type: ignore[attr-defined]


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1e9)


def _ask(user: Any, model: str, request_id: str, tokens: int, seen: Seen) -> None:
    user.headers = {**headers(request_id), "Content-Type": "application/json"}
    user.request = UserChatRequest(
        model=model,
        prompt=PROMPT,
        num_prefill_tokens=6,
        max_tokens=tokens,
        additional_request_params={},
    )
    user.chat()
    told = user.response
    if told.status_code != 200:
        raise RuntimeError(f"{told.status_code}: {told.error_message}")
    seen.sent_ns = _ns(told.start_time) or seen.sent_ns
    seen.first_ns = _ns(told.time_at_first_token)
    seen.end_ns = _ns(told.end_time)
    seen.tokens = told.tokens_received
    seen.ok = True


if __name__ == "__main__":
    run_gevent(lambda: User(environment), _ask)
