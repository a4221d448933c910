"""What each layer of a text encoder says, where its graph has an output for each: `hidden_states.0` and so on.

Number 0 is the embedding of the tokens, number i what layer i makes of it; the last layer's is `last_hidden_state`,
after a norm that the others do not have.
"""

from mezzotint.bundle.manifest import Component
from mezzotint.errors import MezzotintError

_PREFIX = "hidden_states."


def hidden_state_output(layer: int) -> str:
    """The graph output with what `layer` says; 0 is the embedding."""
    return f"{_PREFIX}{layer}"


def penultimate_output(text_encoder: Component, clip_skip: int) -> str:
    """What the layer before the last says, or `clip_skip` layers before that one: diffusers' `hidden_states[-2]`.

    Raises MezzotintError for a layer that the graph has no output for.
    """
    layers = sum(spec.name.startswith(_PREFIX) for spec in text_encoder.outputs)
    if layers == 0:
        raise MezzotintError(
            f"a text encoder of this bundle has no outputs {_PREFIX}N, one for each layer; export the checkpoint again"
        )
    if clip_skip >= layers:
        raise MezzotintError(f"clip_skip is {clip_skip}, expected 0 to {layers - 1}, a text encoder's layers but one")
    return hidden_state_output(layers - 1 - clip_skip)
