"""Turns a checkpoint into a bundle of ONNX graphs that agree with PyTorch.

The contract is `GraphSource` (graph_source.py): a PyTorch module with the graph inputs and outputs that it must have.
"""

from .export import export_checkpoint
from .files.origins import Origins
from .graphs.parity import ParityError
from .scheduler import Chosen, SamplerWarning

__all__ = ["Chosen", "Origins", "ParityError", "SamplerWarning", "export_checkpoint"]
