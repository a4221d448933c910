"""How much one request may ask for, and how much of a request is read at all."""

from dataclasses import dataclass

from ..fields.bounds import bounded


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """Every new size compiles graphs and fills the cache: an open field would let anybody stop the service."""

    json_megabytes: int = bounded(32, least=1, about="Largest JSON body; beyond: 413.")
    form_megabytes: int = bounded(64, least=1, about="Largest multipart body; beyond: 413.")
    body_s: float = bounded(120.0, least=1, about="How long a body may take to come; then 408.")
    least_scale: float = bounded(0.5, least=0.0, about="Smallest side, in native sides of the model.")
    most_scale: float = bounded(2.0, least=0.1, about="Largest side, in native sides of the model.")
    steps: int = bounded(150, least=1, about="Most steps of an image.")
    images: int = bounded(16, least=1, most=64, about="Most images of a job.")
    upload_pixels: int = bounded(4096 * 4096, least=1, about="Most pixels of an image that is sent.")
    prompt_characters: int = bounded(8000, least=1, about="Longest prompt.")
    requests_per_minute: int = bounded(60, least=1, about="Jobs a minute of one key, where keys are used; then 429.")
    streams: int = bounded(16, least=1, about="Event streams of one key, or of all without keys; then 429.")
    wait_s: float = bounded(
        600.0, least=1, about="How long a request waits for its images; then 504, and a job's name."
    )
