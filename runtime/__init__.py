"""Generates images from a bundle with numpy, Pillow, tokenizers and one inference engine; never PyTorch.

Contracts: a *denoiser* is `denoise(x, sigma) -> x0` (sampler.py); a *sampler* is a function of (denoise, x, schedule)
(sampler.py); a *session* runs one graph on one engine with checked inputs (session.py, engine.py).
"""

from mezzotint.bundle.bundle import Bundle
from mezzotint.errors import Cancelled, CheckFailed, MezzotintError

from .calibration_range import OutsideCalibrationWarning
from .control import Control
from .control_use import ControlUse
from .hand_over import HandOver
from .image_to_image import ImageToImage
from .images.canny import canny
from .inpaint import Inpaint
from .metadata import Origin, read_origin, read_settings
from .refine import Refine
from .result import Result, Step, Timings
from .settings import Options, Settings
from .text_to_image import TextToImage

__all__ = [
    "Bundle",
    "Cancelled",
    "CheckFailed",
    "Control",
    "ControlUse",
    "HandOver",
    "ImageToImage",
    "Inpaint",
    "MezzotintError",
    "Options",
    "Origin",
    "OutsideCalibrationWarning",
    "Refine",
    "Result",
    "Settings",
    "Step",
    "TextToImage",
    "Timings",
    "canny",
    "read_origin",
    "read_settings",
]
