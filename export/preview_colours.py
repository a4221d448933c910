"""What colours a checkpoint's latents stand for, learnt once at export, so that no later preview waits for it."""

from pathlib import Path

from mezzotint.bundle.bundle import Bundle, write_manifest
from mezzotint.bundle.manifest import Manifest
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of
from mezzotint.runtime import TextToImage
from mezzotint.runtime.images.preview import COLOURS_FILE, fit_colours

from .open_check import open_one_by_one


def store_colours(staging: Path, manifest: Manifest) -> None:
    """Learn them from the decoder of the sealed bundle in `staging`, and seal it again with their file."""
    (staging / COLOURS_FILE).unlink(missing_ok=True)  # of another decoder
    write_manifest(staging, manifest)
    bundle = Bundle.open(staging)
    family = family_of(bundle)
    if family.name_of(Role.IMAGE_DECODER) is None:
        return  # it denoises pixels, which are their own preview
    pipe = open_one_by_one(bundle, TextToImage)
    (staging / COLOURS_FILE).write_text(fit_colours(pipe.decode, pipe.geometry).to_json(), encoding="utf-8")
    write_manifest(staging, manifest)
