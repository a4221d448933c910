"""Folders of a checkpoint's parts that have rules of their own outside the families: of parts from elsewhere."""

from typing import Final

DENOISER_FOLDER: Final = "unet"
VAE_FOLDER: Final = "vae"
PARTS: Final = (DENOISER_FOLDER, VAE_FOLDER, "text_encoder", "text_encoder_2")
