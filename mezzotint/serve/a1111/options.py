"""Options that a client sets for the requests after it: of its key alone, so that clients do not fight over them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mezzotint.errors import MezzotintError

from ..models.model import Model
from ..models.registry import Registry
from .generation_request import NEUTRAL_SETTINGS
from .neutral import refuse_what_changes_the_image


@dataclass(frozen=True, kw_only=True)
class OwnOptions:
    """A model's name, None for the server's default, and CLIP skip as that interface counts it."""

    model: str | None = None
    clip_layers: int = 1


@dataclass
class Options:
    """By key's name."""

    by_owner: dict[str, OwnOptions] = field(default_factory=dict)

    def of(self, owner: str) -> OwnOptions:
        """Of an owner."""
        return self.by_owner.get(owner, OwnOptions())

    def set(self, owner: str, given: Mapping[str, Any], registry: Registry) -> Model | None:
        """Take what can be set, and leave aside what cannot change an image; the model, where one was chosen.

        Raises MezzotintError and UnknownModel as a request with the same settings would.
        """
        refuse_what_changes_the_image(given, NEUTRAL_SETTINGS, "")
        options = self.of(owner)
        name = given.get("sd_model_checkpoint")
        model = None
        if name is not None:
            if not isinstance(name, str):
                raise MezzotintError(what="sd_model_checkpoint", got=name, expected="a model's title, name or hash")
            model = registry.find(name)
            options = replace(options, model=model.name)
        if "CLIP_stop_at_last_layers" in given:
            options = replace(options, clip_layers=clip_layers(given["CLIP_stop_at_last_layers"]))
        self.by_owner[owner] = options
        return model

    def shown(self, owner: str, registry: Registry) -> dict[str, Any]:
        """What clients read, and may send back as it is."""
        options = self.of(owner)
        model = registry.find(options.model)
        return {
            "sd_model_checkpoint": model.title,
            "sd_checkpoint_hash": model.bundle.manifest.source.sha256,
            "samples_format": "png",
            "CLIP_stop_at_last_layers": options.clip_layers,
            "sd_vae": "Automatic",
            "eta_noise_seed_delta": 0,
            "img2img_fix_steps": False,
            "sd_hypernetwork": "None",
            "live_previews_enable": True,
            "samples_save": False,
        }


def clip_layers(given: object) -> int:
    """That interface counts the last layer: 1 leaves none out."""
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or given not in range(1, 65):
        raise MezzotintError(what="CLIP_stop_at_last_layers", got=given, expected="1 to 64")
    return int(given)  # type: ignore[call-overload,no-any-return]  # a number, as was looked at
