"""Draws pictures from a bundle with numpy, Pillow, tokenizers and one inference engine; never PyTorch.

Contracts: a *denoiser* is `denoise(x, sigma) -> x0` (sampler.py); a *sampler* is a function of (denoise, x, sigmas)
(sampler.py); a *session* runs one graph on one engine with checked inputs (session.py, engine.py).
"""

from .bundle import Bundle
from .errors import CheckFailed, MezzotintError
from .text_to_image import Result, Step, TextToImage, Timings

__all__ = ["Bundle", "CheckFailed", "MezzotintError", "Result", "Step", "TextToImage", "Timings"]
