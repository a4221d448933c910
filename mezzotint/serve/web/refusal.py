"""Why a request is not done, as HTTP says it: a status, a sentence, and a word for programs."""

from collections.abc import Mapping

from mezzotint.errors import MezzotintError

from ..jobs.refusals import HasEnded, QueueFull, Stopping
from ..models.registry import UnknownModel


class Refusal(MezzotintError):  # noqa: N818 -- it says what happened
    """`code` is a word for programs, `param` the field that is at fault."""

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        *,
        headers: Mapping[str, str] | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        self.headers = dict(headers or {})
        self.param = param


def refusal_of(error: MezzotintError) -> Refusal:
    """Any error of the user's doing as HTTP has it."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, QueueFull):
        retry = {"Retry-After": str(max(1, round(error.retry_s)))}
        return Refusal(429, "rate_limit_exceeded", str(error), headers=retry)
    if isinstance(error, Stopping):
        return Refusal(503, "stopping", str(error), headers={"Retry-After": "30"})
    if isinstance(error, UnknownModel):
        return Refusal(404, "model_not_found", str(error), param="model")
    if isinstance(error, HasEnded):
        return Refusal(409, "job_has_ended", str(error))
    return Refusal(422, "invalid_request", str(error), param=error.what)
