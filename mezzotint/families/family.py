"""The contract of a family: everything that the library has to know of an architecture, told without PyTorch.

Others ask a bundle's family for a component by its role and for what a graph is fed; no other file spells the name of a
component, or of a graph's input.

    prompt  --tokenizers and text encoders-->  EncodedText  --condition-->  Condition
    sample, timestep, Condition  --denoiser_feeds-->  feeds  --the denoiser's graph-->  its first output

Adding one costs a file here with a `Family` value and a line in `lineup.FAMILIES`, the same in export/families and in
quantize/rules, and a test; docs/adding-a-family.md shows all of it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import Component
from mezzotint.errors import MezzotintError

from .condition import Condition
from .micro_conditioning import NOTHING_SAID, MicroConditioning


class Role(StrEnum):
    """What a component is there for. Of the last three a bundle has one each at most."""

    TEXT_ENCODER = "text_encoder"  # token ids to what the denoiser attends to
    CONTROL = "control"  # what a denoiser is given, and an image, to what is added inside the denoiser
    T2I_ADAPTER = "t2i_adapter"  # an image to what is added inside the denoiser, the same in every step
    DENOISER = "denoiser"  # a noisy sample and the time to what is to be taken from it
    IMAGE_DECODER = "image_decoder"  # latents to pixels in [-1, 1]; a family without one denoises pixels
    IMAGE_ENCODER = "image_encoder"  # pixels in [-1, 1] to their latents, or to a distribution of those


class Guidance(StrEnum):
    """How the guidance scale acts."""

    CFG = "cfg"  # classifier-free: two predictions, of the prompt and of the negative prompt, are mixed
    EMBEDDED = "embedded"  # the denoiser is told the scale, in its condition
    NONE = "none"  # not at all


@dataclass(frozen=True)
class Part:
    """A folder of a diffusers checkpoint: the library that loads it, and the classes it may be, the usual one first."""

    library: str  # its module's name, which tells how its weight files are called
    classes: tuple[str, ...]
    has_weights: bool = True


@dataclass(frozen=True)
class EncodedText:
    """What one text encoder makes of a prompt: a vector a token, and one of the whole text where it gives one."""

    tokens: FloatArray  # (tokens, width); several windows of tokens follow each other
    pooled: FloatArray | None = None  # (width,), of the first window

    def zeros(self) -> "EncodedText":
        """One of the same shapes that says nothing."""
        return EncodedText(np.zeros_like(self.tokens), None if self.pooled is None else np.zeros_like(self.pooled))


@dataclass(frozen=True)
class TextStage:
    """A tokenizer and the text encoder that reads its ids.

    `tokens` names the output with a vector for each token, (B, tokens, width), when the last so many layers are left
    out (diffusers' `clip_skip`); MezzotintError where the graph has none. `pooled` is the one with a vector for the
    whole text, (B, width).
    """

    component: str
    tokenizer: str  # a folder of the bundle
    tokens: Callable[[Component, int], str]
    pooled: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a call asks for besides its text: size in pixels, the guidance scale, and what it says of the image.

    `is_negative` where it goes with a negative prompt.
    """

    height: int
    width: int
    guidance: float
    micro: MicroConditioning = NOTHING_SAID
    is_negative: bool = False


ReadConfig = Callable[[str], Mapping[str, Any]]
"""A JSON file of the bundle by its path there, such as "unet/config.json"; MezzotintError when it cannot be read."""

MakeCondition = Callable[[Sequence[EncodedText], Wanted, Component], Condition]
"""What the text stages made of one prompt, in their order, what the call asks for, and the denoiser's component, whose
specs say what it wants to be told: the condition of one row. MezzotintError for what does not fit."""

DenoiserFeeds = Callable[[FloatArray, float, Condition, Component], dict[str, Array]]
"""The denoiser's inputs by name for a sample (B, C, h, w) as the model sees it, the timestep, a condition of B rows,
and the component, whose specs say which dtype and shape each has. MezzotintError where a spec cannot hold a value."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """`components` are all that a whole bundle has, in the order in which a call runs them.

    `classes` are the `_class_name`s in model_index.json that it covers, the usual one first, each with the class that a
    bundle's index names instead. `checkpoint` has the folders that a checkpoint of it consists of besides "scheduler".
    Of both, the names in `optional` may be absent, as `without` makes them. A negative prompt of None is the empty
    text, or no text at all where `none_is_zeros`. `symbol_sizes` has the sizes of the denoiser's symbolic dims besides
    batch_size, height and width. `options` are the settings of a run that not every family takes, `index_options` the
    keys of model_index.json that say how to run it. `begins_at` is the part of the schedule, in [0, 1), that another
    model has done when a checkpoint's own takes over, 0 for one that begins with noise. `own_guidance` is the scale of
    a run where nobody chose one, if it is not the product's. `scale_input` is the denoiser's input that tells a
    checkpoint the guidance scale, where the family has some that were distilled so. With `strength_keeps_steps` a run
    from an image makes all steps, closer to each other. `is_controllable`: ControlNets and T2I-adapters lead it.
    """

    name: str
    classes: Mapping[str, str]
    components: Mapping[str, Role]
    checkpoint: Mapping[str, Part]
    texts: tuple[TextStage, ...]
    condition: MakeCondition
    denoiser_feeds: DenoiserFeeds
    geometry: Callable[[ReadConfig], Geometry]
    guidance: Guidance = Guidance.CFG
    none_is_zeros: Callable[[ReadConfig], bool] = lambda _read: False
    symbol_sizes: Callable[[ReadConfig], Mapping[str, int]] = lambda _read: {}
    begins_at: Callable[[ReadConfig], float] = lambda _read: 0.0
    optional: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    index_options: tuple[str, ...] = ()
    own_guidance: float | None = None
    scale_input: str | None = None
    strength_keeps_steps: bool = False
    is_controllable: bool = False

    def controlled_by(self, controls: Mapping[str, Role]) -> "Family":
        """The family of a bundle with those components as well, which lead the denoiser and stand behind it.

        MezzotintError for a family that has none.
        """
        if not controls:
            return self
        if not self.is_controllable:
            got, expected = next(iter(controls)), "no ControlNet and no T2I-adapter"
            raise MezzotintError(what=f"the family {self.name}", got=got, expected=expected, advice="leave it away")
        entries, place = list(self.components.items()), list(self.components).index(self.denoiser) + 1
        return replace(self, components=dict([*entries[:place], *controls.items(), *entries[place:]]))

    def without(self, absent: Collection[str]) -> "Family":
        """The family of a checkpoint or a bundle that lacks `absent`; what is not optional stays."""
        left_out = self.optional.intersection(absent)
        if not left_out:
            return self
        return replace(
            self,
            components={name: role for name, role in self.components.items() if name not in left_out},
            checkpoint={name: part for name, part in self.checkpoint.items() if name not in left_out},
            texts=tuple(stage for stage in self.texts if stage.component not in left_out),
        )

    def hearing(self, denoiser: Component) -> "Family":
        """The family of a bundle with that denoiser: guidance is embedded where it is told the scale."""
        if all(spec.name != self.scale_input for spec in denoiser.inputs):
            return self
        return replace(self, guidance=Guidance.EMBEDDED)

    def role(self, component: str) -> Role:
        """What the component of that name is there for; MezzotintError lists those that there are."""
        role = self.components.get(component)
        if role is None:
            raise MezzotintError(f"{self.name} has no component {component!r:.60}; it has {', '.join(self.components)}")
        return role

    def names(self, role: Role) -> tuple[str, ...]:
        """The components of a role, in the order in which a call runs them."""
        return tuple(name for name, own in self.components.items() if own is role)

    def name_of(self, role: Role) -> str | None:
        """The only component of a role, or None where the family has none."""
        return next(iter(self.names(role)), None)

    @property
    def weighted_parts(self) -> dict[str, Part]:
        """The folders of a checkpoint that hold weights."""
        return {name: part for name, part in self.checkpoint.items() if part.has_weights}

    @property
    def denoiser(self) -> str:
        """The denoiser's name: every family has one."""
        return self.names(Role.DENOISER)[0]
