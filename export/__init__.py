"""Turns a checkpoint into a bundle of ONNX graphs that agree with PyTorch.

The contract is `GraphSource` (graph_source.py): a PyTorch module with the graph inputs and outputs that it must have.
"""

from .export import export_checkpoint
from .files.origins import Origins
from .graphs.parity import ParityError
from .latent_space import LatentSpaceWarning
from .scheduler import Chosen, SamplerWarning
from .swap_vae import swap_vae

__all__ = [
    "Chosen",
    "LatentSpaceWarning",
    "Origins",
    "ParityError",
    "SamplerWarning",
    "export_checkpoint",
    "swap_vae",
]
