"""The guidance scale as an input of a UNet's graph: what the config says of it, and examples to trace with."""

from collections.abc import Mapping
from typing import Any, Final

import torch

from mezzotint.bundle.manifest import TensorSpec
from mezzotint.errors import MezzotintError
from mezzotint.families.guidance_embedding import LEAST_WIDTH, SCALE_INPUT, guidance_embedding

from ..graphs.graph_source import ExampleSize

SCALE_DIMS: Final = ("batch", None)
_EXAMPLES = (1.0, 8.5, 14.0)


def scale_spec(width: int) -> TensorSpec:
    """The input, of an embedding of that width."""
    return TensorSpec(SCALE_INPUT, "float32", ("batch_size", width))


def example_scales(size: ExampleSize, width: int) -> torch.Tensor:
    """(B, width): a scale for each row."""
    scales = [_EXAMPLES[row % len(_EXAMPLES)] for row in range(size.batch)]
    return torch.stack([torch.from_numpy(guidance_embedding(scale, width)) for scale in scales])


def check_width(unet: Mapping[str, Any], advice: str) -> None:
    """Raise MezzotintError, which ends in `advice`, for a config of a UNet that cannot be told the scale."""
    width = unet.get("time_cond_proj_dim")
    if isinstance(width, bool) or not isinstance(width, int) or width < LEAST_WIDTH:
        raise MezzotintError(
            f"unet/config.json has time_cond_proj_dim = {width!r:.40}, expected a whole number of at least "
            f"{LEAST_WIDTH}, the width that the guidance scale is told in; {advice}"
        )
