"""Text encoder and UNet, untrained: built as Stable Diffusion 1.x is, and set up for training on a CPU."""

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from .config import PipelineTraining, Recipe

_LATENT_CHANNELS = 4


def build_text_encoder(recipe: Recipe) -> Any:
    """An untrained transformers.CLIPTextModel; begin and end of text are the vocabulary's last two ids."""
    training, end = recipe.pipeline, recipe.vocabulary - 1
    config = CLIPTextConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=training.text_width,
        intermediate_size=4 * training.text_width,
        projection_dim=training.text_width,
        num_hidden_layers=training.text_layers,
        num_attention_heads=training.heads,
        max_position_embeddings=recipe.tokens,
        hidden_act="quick_gelu",
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
        attn_implementation="eager",
    )
    return CLIPTextModel(config)


def build_unet(training: PipelineTraining, latent_side: int) -> Any:
    """An untrained diffusers.UNet2DConditionModel. It begins as the zero function: no residual branch adds anything.

    Attention is the plain product: of a training step on a CPU, the fused kernel's backward pass took a quarter.
    """
    attending = len(training.unet_channels) - 1
    model = UNet2DConditionModel(
        sample_size=latent_side,
        in_channels=_LATENT_CHANNELS,
        out_channels=_LATENT_CHANNELS,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * attending),
        up_block_types=(*("CrossAttnUpBlock2D",) * attending, "UpBlock2D"),
        block_out_channels=training.unet_channels,
        layers_per_block=1,
        cross_attention_dim=training.text_width,
        attention_head_dim=training.heads,
        norm_num_groups=training.unet_groups,
    )
    model.set_attn_processor(AttnProcessor())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.rsplit(".", 1)[0].endswith(("conv_out", "conv2", "proj_out")):
                parameter.zero_()
    return model.to(memory_format=torch.channels_last)


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon trains it: no embeddings, and not the layers where latents and timesteps enter and leave."""
    at_the_edge = name.startswith(("unet.conv_in", "unet.conv_out", "unet.time_embedding"))
    return parameter.ndim > 1 and not at_the_edge and "embedding" not in name.split(".")[-2]
