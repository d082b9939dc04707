"""What a request is refused with: a status, a code for machines, a sentence for people; never a trace of the code."""

from typing import Any

RELEASE_HEADER = "X-Navigator-Release"


class Refusal(Exception):
    """A request that is not answered; whoever serves HTTP turns it into `body` with `status`.

    Args:
        status: of HTTP, 400 and above.
        code: for machines, such as "picture_too_large".
        message: what was wrong, what is allowed, what to do; of what the client sent it repeats only short, safe pieces.
        param: the field of the request that it is about.
        retry_after_s: when to come back, for 429 and 503.

    Attributes:
        release: which release refused, where one was asked.
    """

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry_after_s: float | None = None
    ):
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after_s = status, code, param, retry_after_s
        self.release: str | None = None

    @property
    def body(self) -> dict[str, Any]:
        """As OpenAI's API words errors, so that its clients raise the right exception."""
        kind = (
            "server_error"
            if self.status >= 500
            else "rate_limit_error"
            if self.status == 429
            else "invalid_request_error"
        )
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After in whole seconds, at least 1, and the release that refused, where they are known."""
        wait = {} if self.retry_after_s is None else {"Retry-After": str(max(1, round(self.retry_after_s + 0.5)))}
        return wait if self.release is None else wait | {RELEASE_HEADER: self.release}
