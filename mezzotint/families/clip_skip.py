"""Leaving out the last layers of a text encoder, as many fine-tuned checkpoints want it: diffusers' `clip_skip`.

A text encoder's graph has an output for each count of layers that can be left out: `clip_skip.1` is the final layer
norm of what the layer before the last says, and so on. The graphs of bundles that were made earlier lack them.
"""

from mezzotint.bundle.manifest import Component
from mezzotint.errors import MezzotintError

_LAST = "last_hidden_state"


def clip_skip_output(layers: int) -> str:
    """The graph output that leaves out the last `layers` layers; at least 1."""
    return f"clip_skip.{layers}"


def embeddings_output(text_encoder: Component, clip_skip: int) -> str:
    """The output that a call with `clip_skip` attends to; MezzotintError for one that the graph does not have."""
    if clip_skip == 0:
        return _LAST
    names = {spec.name for spec in text_encoder.outputs}
    if clip_skip_output(clip_skip) in names:
        return clip_skip_output(clip_skip)
    most = sum(name.startswith(clip_skip_output(0)[:-1]) for name in names)
    if most == 0:
        raise MezzotintError(
            f"clip_skip is {clip_skip}, but this bundle's text encoder has no outputs for it; export its diffusers "
            "checkpoint again with this version"
        )
    raise MezzotintError(f"clip_skip is {clip_skip}, expected 0 to {most}, the text encoder's layers")
