"""What the UNet of a Stable Diffusion bundle attends to."""

from collections.abc import Sequence

from mezzotint.arrays import Array
from mezzotint.runtime import Settings, TextToImage


def embeddings(pipe: TextToImage, prompts: Sequence[str], syntax: str = "plain", *, clip_skip: int = 0) -> Array:
    """(B, tokens, width) of the prompts."""
    options = {"prompt_syntax": syntax, "clip_skip": clip_skip}
    settings = [Settings(prompt, guidance=1.0, **options) for prompt in prompts]  # type: ignore[arg-type]  # of two types
    return pipe.conditions(settings).positive.arrays["encoder_hidden_states"]
