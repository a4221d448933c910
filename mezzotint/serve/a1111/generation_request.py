"""What `POST /sdapi/v1/txt2img` and `img2img` take: every field optional, with their defaults; others left aside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..fields.bounds import bounded


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """Fields of type Any are those that clients send in several types, or as null; see fields.py."""

    prompt: str = bounded("", about="What to generate; brackets are weights.")
    negative_prompt: str = bounded("", about="What the image should not show.")
    seed: Any = bounded(-1, about="-1 is a random one.")
    sampler_name: str | None = bounded(None, about="The sampler; it may end in a schedule.")
    sampler_index: str | None = bounded(None, about="The same, where sampler_name is not there.")
    scheduler: str | None = bounded(None, about="The schedule.")
    steps: int = bounded(50, least=1, most=1000, about="Denoising steps.")
    cfg_scale: float = bounded(7.0, least=-1000, most=1000, about="Guidance scale.")
    width: int | None = bounded(None, least=1, most=16384, about="In pixels; null: the model's own.")
    height: int | None = bounded(None, least=1, most=16384, about="In pixels; null: the model's own.")
    batch_size: int = bounded(1, least=1, most=64, about="Images at a time.")
    n_iter: int = bounded(1, least=1, most=64, about="So many times.")
    send_images: bool = bounded(True, about="Whether the answer has the images.")
    eta: float | None = bounded(None, about="Noise that the steps of DDIM add.")
    denoising_strength: float | None = bounded(0.75, least=0, most=1, about="Part of the steps, from an image.")
    init_images: tuple[str, ...] | None = bounded(None, longest=16, about="Images to start from, in base64.")
    resize_mode: int = bounded(0, least=0, most=3, about="0 stretch, 1 crop, 2 fill.")
    mask: str | None = bounded(None, about="White is generated.")
    mask_blur: int | None = bounded(None, least=0, most=256, about="Softens the mask's edge; null: 4.")
    mask_blur_x: int = bounded(4, least=0, most=256, about="The same, across.")
    mask_blur_y: int = bounded(4, least=0, most=256, about="The same, down.")
    inpainting_mask_invert: Any = bounded(0, about="1: black is generated.")
    inpainting_fill: int = bounded(0, least=0, most=3, about="0 the colours around, 1 the image's own.")
    inpaint_full_res: Any = bounded(True, about="Generate the part around the mask alone, at full size.")
    inpaint_full_res_padding: int = bounded(0, least=0, most=1024, about="Pixels around the mask.")
    include_init_images: bool = bounded(False, about="Whether the answer repeats the images.")
    override_settings: Any = bounded(None, about="Options for this request; sd_model_checkpoint chooses the model.")
    force_task_id: str | None = bounded(None, longest=200, about="The client's own name of the job.")


# By name, the values that leave the image as it is. Any other value of these would change it, and is refused.
NEUTRAL: Final[Mapping[str, tuple[object, ...]]] = {
    "subseed_strength": (0, None),
    "seed_resize_from_h": (-1, 0, None),
    "seed_resize_from_w": (-1, 0, None),
    "restore_faces": (False, None),
    "tiling": (False, None),
    "s_churn": (0, None),
    "s_tmin": (0, None),
    "s_noise": (1, None),
    "s_min_uncond": (0, None),
    "enable_hr": (False, None),
    "refiner_checkpoint": (None, "", "None"),
    "refiner_switch_at": (None, 0, 1, 0.8),
    "script_name": (None, "", "None"),
    "firstphase_width": (0, None),
    "firstphase_height": (0, None),
    "initial_noise_multiplier": (1, None),
    "image_cfg_scale": (None, 1.5, 0),
    "latent_mask": (None,),
    "comments": (None, {}),
}
# The same of override_settings.
NEUTRAL_SETTINGS: Final[Mapping[str, tuple[object, ...]]] = {
    "sd_vae": ("Automatic", "None", "", None),
    "eta_noise_seed_delta": (0, None),
    "ddim_discretize": ("uniform", None),
    "img2img_fix_steps": (False, None),
    "sd_hypernetwork": ("None", "", None),
    "inpainting_mask_weight": (1, None),
    "initial_noise_multiplier": (1, None),
    "comma_padding_backtrack": (20, None),
    "forge_additional_modules": ([], None),
    "face_restoration_model": ("CodeFormer", "GFPGAN", "None", None),
    "use_old_emphasis_implementation": (False, None),
    "enable_emphasis": (True, None),
    "upcast_attn": (False, None),
}
