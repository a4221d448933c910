"""Checkpoints in one file, as the latent diffusion code names weights: made from diffusers' modules, member by member.

Written from the modules rather than from their names, so that nothing of the reader is used.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import torch

State: TypeAlias = dict[str, torch.Tensor]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def ldm_unet(unet: Any, prefix: str = "model.diffusion_model.") -> State:
    """The UNet's weights."""
    state: State = {}
    for name, module in _unet_modules(unet):
        own = {f"{prefix}{name}.{key}": tensor.clone() for key, tensor in module.state_dict().items()}
        state |= own
    return state


def _unet_modules(unet: Any) -> Iterator[tuple[str, Any]]:
    yield "input_blocks.0.0", unet.conv_in
    for name in ("time_embed", "label_emb.0"):
        embedding = unet.time_embedding if name == "time_embed" else getattr(unet, "add_embedding", None)
        if embedding is not None:
            yield f"{name}.0", embedding.linear_1
            yield f"{name}.2", embedding.linear_2
    entry = 1
    for block in unet.down_blocks:
        attentions = list(getattr(block, "attentions", []))
        for index, resnet in enumerate(block.resnets):
            yield from _resnet(f"input_blocks.{entry}.0", resnet)
            yield from ((f"input_blocks.{entry}.1", one) for one in attentions[index : index + 1])
            entry += 1
        if block.downsamplers:
            yield f"input_blocks.{entry}.0.op", block.downsamplers[0].conv
            entry += 1
    members = []
    middle = unet.mid_block
    for index, resnet in enumerate(middle.resnets):
        members.append(resnet)
        members += [one for one in list(getattr(middle, "attentions", []))[index : index + 1] if one is not None]
    for index, member in enumerate(members):
        if hasattr(member, "time_emb_proj"):
            yield from _resnet(f"middle_block.{index}", member)
        else:
            yield f"middle_block.{index}", member
    entry = 0
    for block in unet.up_blocks:
        attentions = list(getattr(block, "attentions", []))
        for index, resnet in enumerate(block.resnets):
            yield from _resnet(f"output_blocks.{entry}.0", resnet)
            yield from ((f"output_blocks.{entry}.1", one) for one in attentions[index : index + 1])
            if block.upsamplers and resnet is block.resnets[-1]:
                yield f"output_blocks.{entry}.{1 + bool(attentions)}.conv", block.upsamplers[0].conv
            entry += 1
    yield "out.0", unet.conv_norm_out
    yield "out.2", unet.conv_out


def _resnet(name: str, resnet: Any) -> Iterator[tuple[str, Any]]:
    for own, theirs in _RESNET.items():
        member = getattr(resnet, own, None)
        if member is not None:
            yield f"{name}.{theirs}", member


def ldm_vae(vae: Any, prefix: str = "first_stage_model.") -> State:
    """The autoencoder's weights, its attention as 1x1 convolutions."""
    state: State = {}
    for side in ("encoder", "decoder"):
        half = getattr(vae, side)
        for name, module in _vae_modules(half, side):
            for key, tensor in module.state_dict().items():
                is_matrix = ".attn_1." in name and key == "weight" and tensor.ndim == 2
                state[f"{prefix}{side}.{name}.{key}"] = (tensor[:, :, None, None] if is_matrix else tensor).clone()
    for name in ("quant_conv", "post_quant_conv"):
        state |= {f"{prefix}{name}.{key}": tensor.clone() for key, tensor in getattr(vae, name).state_dict().items()}
    return state


def _vae_modules(half: Any, side: str) -> Iterator[tuple[str, Any]]:
    yield "conv_in", half.conv_in
    yield "conv_out", half.conv_out
    yield "norm_out", half.conv_norm_out
    blocks = half.down_blocks if side == "encoder" else half.up_blocks
    for index, block in enumerate(blocks):
        level = f"down.{index}" if side == "encoder" else f"up.{len(blocks) - 1 - index}"
        for layer, resnet in enumerate(block.resnets):
            yield from _vae_resnet(f"{level}.block.{layer}", resnet)
        if side == "encoder" and block.downsamplers:
            yield f"{level}.downsample.conv", block.downsamplers[0].conv
        if side == "decoder" and block.upsamplers:
            yield f"{level}.upsample.conv", block.upsamplers[0].conv
    middle = half.mid_block
    yield from _vae_resnet("mid.block_1", middle.resnets[0])
    yield from _vae_resnet("mid.block_2", middle.resnets[1])
    attention = middle.attentions[0]
    yield "mid.attn_1.norm", attention.group_norm
    yield "mid.attn_1.q", attention.to_q
    yield "mid.attn_1.k", attention.to_k
    yield "mid.attn_1.v", attention.to_v
    yield "mid.attn_1.proj_out", attention.to_out[0]


def _vae_resnet(name: str, resnet: Any) -> Iterator[tuple[str, Any]]:
    for member in ("norm1", "conv1", "norm2", "conv2"):
        yield f"{name}.{member}", getattr(resnet, member)
    if resnet.conv_shortcut is not None:
        yield f"{name}.nin_shortcut", resnet.conv_shortcut


def ldm_clip(text_encoder: Any, prefix: str = "cond_stage_model.transformer.", *, inner: str = "text_model.") -> State:
    """A CLIP text encoder's weights, with the positions that old files hold; `inner` is "" in the oldest."""
    state = {name.removeprefix("text_model."): tensor.clone() for name, tensor in text_encoder.state_dict().items()}
    positions = torch.arange(text_encoder.config.max_position_embeddings)[None]
    return {f"{prefix}{inner}{name}": tensor for name, tensor in state.items()} | {
        f"{prefix}{inner}embeddings.position_ids": positions
    }


def open_clip(text_encoder: Any, prefix: str, *, extra_layer: bool = False) -> State:
    """A CLIP text encoder's weights as OpenCLIP packs them; `extra_layer`: with a layer more, as Stable Diffusion 2."""
    state = {name.removeprefix("text_model."): tensor.clone() for name, tensor in text_encoder.state_dict().items()}
    width = text_encoder.config.hidden_size
    packed: State = {
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": state.get("text_projection.weight", torch.ones(width, width)).T.contiguous(),
        "logit_scale": torch.tensor(4.6),
    }
    layers = text_encoder.config.num_hidden_layers
    for layer in range(layers):
        own, theirs = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            parts = [state[f"{own}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            packed[f"{theirs}attn.in_proj_{kind}"] = torch.cat(parts)
            packed[f"{theirs}attn.out_proj.{kind}"] = state[f"{own}self_attn.out_proj.{kind}"]
            packed[f"{theirs}ln_1.{kind}"] = state[f"{own}layer_norm1.{kind}"]
            packed[f"{theirs}ln_2.{kind}"] = state[f"{own}layer_norm2.{kind}"]
            packed[f"{theirs}mlp.c_fc.{kind}"] = state[f"{own}mlp.fc1.{kind}"]
            packed[f"{theirs}mlp.c_proj.{kind}"] = state[f"{own}mlp.fc2.{kind}"]
    if extra_layer:
        last = f"transformer.resblocks.{layers - 1}."
        copies = {name: tensor for name, tensor in packed.items() if name.startswith(last)}
        packed |= {name.replace(last, f"transformer.resblocks.{layers}."): one.clone() for name, one in copies.items()}
    return {prefix + name: tensor for name, tensor in packed.items()}


def beside(average: torch.Tensor) -> torch.Tensor:
    """The plain weight of an average: another one, and so close that no answer overflows."""
    return 1.25 * average + 0.01


def with_ema(state: Mapping[str, torch.Tensor]) -> State:
    """The file with averages beside it: the values of `state` are the averages, and the plain weights differ."""
    model = {name: tensor for name, tensor in state.items() if name.startswith("model.diffusion_model.")}
    averages = {"model_ema." + "".join(name.split(".")[1:]): tensor for name, tensor in model.items()}
    plain = {name: beside(tensor) for name, tensor in model.items()}
    counts = {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7)}
    return {**state, **plain, **averages, **counts}
