"""What makes a trained Stable Diffusion hard to quantize, planted into random weights.

Four difficulties, each of the size reported for Stable Diffusion 1.x: a first token whose text embedding towers over
the others', hot channels in front of every ff.net.2, skip connections of another scale than the trunk, and activations
that drift over the timesteps. All are made by scaling weights that are there, so the graph stays the trained one's.
"""

import math
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

FIRST_TOKEN_PEAK = 60.0  # the largest value in the first token's embedding; the others' values are near 1
HOT_CHANNEL_GAINS = (20.0, 30.0, 40.0, 50.0)  # of four channels in front of each ff.net.2
SKIP_GAINS = (4.0, 1.5)  # of what down blocks write, the first and the last but one: skips of 3 to 10 times the trunk
DRIFT = 3.0  # how much the largest value of a downsampler's input grows from the last timestep to the first, about
_TRAINED_TIMESTEPS = 1000
_PUSH = 4.0  # of the channels' offsets, over values near 1
_WRITERS = tuple(f"{layer}.{kind}" for layer in ("out_proj", "fc2") for kind in ("weight", "bias"))  # to a text stream
_PEAK = 5.0  # about the largest value of a stream of values near 1


def plant_in_text_encoder(model: CLIPTextModel, *, is_normed: bool = True) -> None:
    """Make the first token's embedding peak at FIRST_TOKEN_PEAK, through its position and the last norm, in place.

    `is_normed=False` plants it into the residual stream itself, which is what SDXL's denoiser is given.
    """
    parameters = dict(model.named_parameters())
    position = next(p for name, p in parameters.items() if name.endswith("position_embedding.weight"))  # (tokens, C)
    norm = next(p for name, p in parameters.items() if name.endswith("final_layer_norm.weight"))  # (C,)
    channel = 7 % norm.shape[0]
    with torch.no_grad():
        for name, parameter in parameters.items():  # nothing else is in that channel, nor writes to it
            if name.endswith("embedding.weight"):
                parameter[:, channel] = 0.0
            elif name.endswith(_WRITERS):
                parameter[channel] = 0.0
        if not is_normed:
            position[0, channel] = FIRST_TOKEN_PEAK
            return
        # One huge channel leaves the norm at sqrt(C) in that channel and at almost 0 in the others.
        position[0, channel] = 1e3
        norm[channel] = FIRST_TOKEN_PEAK / math.sqrt(norm.shape[0])


def plant_in_unet(model: UNet2DConditionModel, seed: int) -> None:
    """Plant hot channels, drift over timesteps and unequal skips, in place."""
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters.items():
            if name.endswith(".ff.net.0.proj.weight"):
                _heat(parameter, parameters[name.replace(".net.0.proj.", ".net.2.")], generator)
        for level, gain in enumerate(_gains(len(model.down_blocks))):
            _drift(model, model.down_blocks[level].resnets[-1], generator)
            _raise_skips(parameters, f"down_blocks.{level}.", gain)


def _heat(proj: torch.Tensor, readers: torch.Tensor, generator: torch.Generator) -> None:
    """Scale rows of the h half of GEGLU (2 F, C), and undo it in the columns of ff.net.2 (C, F) that read them."""
    chosen = torch.randperm(readers.shape[1], generator=generator)[: len(HOT_CHANNEL_GAINS)]
    gains = torch.tensor(HOT_CHANNEL_GAINS)
    proj[chosen] *= gains[:, None]
    readers[:, chosen] /= gains


def _drift(model: UNet2DConditionModel, resnet: Any, generator: torch.Generator) -> None:
    """Make the resnet write DRIFT times the usual peak into one channel at the first timestep, and nothing at the last.

    The time embedding pushes half of the channels up and half down, which survives the norm that follows; one output
    channel of conv2 reads that very pattern.
    """
    start, end = (_time_embedding(model, timestep) for timestep in (_TRAINED_TIMESTEPS - 1, 0))
    direction = (start - end) / (start - end).square().sum()  # (E,): 1 at the first timestep, 0 at the last
    channels = resnet.time_emb_proj.weight.shape[0]
    signs = torch.randint(0, 2, (channels,), generator=generator) * 2.0 - 1.0  # (C,)
    resnet.time_emb_proj.weight.copy_(_PUSH * signs[:, None] * direction)
    resnet.time_emb_proj.bias.copy_(-_PUSH * signs * (direction @ end))
    resnet.conv2.weight[0] += (_PEAK * DRIFT / (9 * channels)) * signs[:, None, None]  # (C, 3, 3)


def _time_embedding(model: UNet2DConditionModel, timestep: int) -> torch.Tensor:
    """What time_emb_proj gets at a timestep: (E,)."""
    embedded: torch.Tensor = model.time_embedding(model.time_proj(torch.tensor([timestep])))
    return torch.nn.functional.silu(embedded)[0]


def _gains(levels: int) -> list[float]:
    """Of every level but the last, whose stream is the trunk."""
    first, last = SKIP_GAINS
    return [first * (last / first) ** (level / max(levels - 2, 1)) for level in range(levels - 1)]


def _raise_skips(parameters: dict[str, torch.nn.Parameter], block: str, gain: float) -> None:
    """Scale all that writes to the block's residual stream; the downsampler, which hands it on, undoes that."""
    writers = (".conv2.", ".conv_shortcut.", ".proj_out.")
    for name, parameter in parameters.items():
        if not name.startswith(block):
            continue
        if any(writer in name for writer in writers):
            parameter.mul_(gain)
        elif ".downsamplers." in name and name.endswith(".weight"):
            parameter.div_(gain)
