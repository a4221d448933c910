"""`python -m demo.sdxl_style -o DIR`: the embedded model in the shape of Stable Diffusion XL, without training.

It generates the embedded model's images, so that figures of fidelity of a Stable Diffusion XL bundle can be had from a
trained model that is small. What Stable Diffusion XL has besides is there and says nothing:

* A second text encoder of random weights; what the UNet would hear of it meets zeros.
* Numbers for the image's size; the last layer of what embeds them is zero.
* Text is taken from the layer before the last, which has no norm after it. So the first text encoder gets two layers
  more. The first writes the norm of what the embedded one ended with into the residual stream, at 2^16 times the
  stream's own scale, which is all that differs from the embedded model: 16 bits below. The second does nothing.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from mezzotint.atomic_folder import replace_folder
from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT

_EMBEDDED: Final = Path(__file__).parent / "checkpoint"
_MARKER: Final = "model_index.json"
_SHRINK, _GROW = 2.0**-6, 2.0**10  # of the stream, and of the text in it: powers of two, which round nothing
_SECOND_WIDTH, _POOLED, _EACH = 64, 64, 32
_SEED: Final = 0


def write_sdxl_style(output: Path, *, overwrite: bool = False) -> None:
    """Write a diffusers folder at `output`; the same versions of torch give the same bytes.

    Raises MezzotintError when `output` exists and `overwrite` is not set.
    """
    with replace_folder(output, marker=_MARKER, overwrite=overwrite) as staging, torch.no_grad():
        first = CLIPTextModel.from_pretrained(_EMBEDDED / "text_encoder").float()
        _with_norm_inside(first).save_pretrained(staging / "text_encoder")
        unet = UNet2DConditionModel.from_pretrained(_EMBEDDED / "unet").float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            _second_text_encoder(first.config).save_pretrained(staging / "text_encoder_2")
            _deaf_to_more(unet).save_pretrained(staging / "unet")
        for name in ("vae", "scheduler", "tokenizer"):
            shutil.copytree(_EMBEDDED / name, staging / name)
        shutil.copytree(_EMBEDDED / "tokenizer", staging / "tokenizer_2")
        _write_json(staging / _MARKER, _index())


def _with_norm_inside(embedded: Any) -> Any:
    """A text encoder whose layer before the last says `_GROW` times what the last one of `embedded` does, normed."""
    config = CLIPTextConfig.from_dict(
        {
            **embedded.config.to_dict(),
            "num_hidden_layers": embedded.config.num_hidden_layers + 2,
            "layer_norm_eps": embedded.config.layer_norm_eps * _SHRINK**2,
        }
    )
    made = CLIPTextModel(config)
    inner = made.text_model
    made.load_state_dict(embedded.state_dict(), strict=False)
    for table in (inner.embeddings.token_embedding, inner.embeddings.position_embedding):
        table.weight.mul_(_SHRINK)
    for layer in inner.encoder.layers:
        for linear in (layer.self_attn.out_proj, layer.mlp.fc2):
            linear.weight.mul_(_SHRINK)
            linear.bias.mul_(_SHRINK)
    for layer in inner.encoder.layers[-2:]:
        for linear in (layer.self_attn.out_proj, layer.mlp.fc1, layer.mlp.fc2):
            linear.weight.zero_()
            linear.bias.zero_()
    norming, width = inner.encoder.layers[-2], config.hidden_size
    norming.layer_norm2.load_state_dict(embedded.text_model.final_layer_norm.state_dict())
    identity = torch.eye(width)
    # gelu(x) - gelu(-x) = x
    norming.mlp.fc1.weight[: 2 * width] = torch.cat([identity, -identity])
    norming.mlp.fc2.weight[:, : 2 * width] = torch.cat([identity, -identity], dim=1) * _GROW
    return made


def _second_text_encoder(first: Any) -> Any:
    config = CLIPTextConfig(
        vocab_size=first.vocab_size,
        max_position_embeddings=first.max_position_embeddings,
        hidden_size=_SECOND_WIDTH,
        intermediate_size=4 * _SECOND_WIDTH,
        projection_dim=_POOLED,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_act="gelu",
        bos_token_id=first.bos_token_id,
        eos_token_id=first.eos_token_id,
        pad_token_id=first.pad_token_id,
    )
    return CLIPTextModelWithProjection(config)


def _deaf_to_more(embedded: Any) -> Any:
    """The UNet with inputs for a second text encoder and for sizes, which it does not hear."""
    width = embedded.config.cross_attention_dim
    config = {
        **embedded.config,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": _EACH,
        "projection_class_embeddings_input_dim": 6 * _EACH + _POOLED,
        "cross_attention_dim": width + _SECOND_WIDTH,
    }
    made = UNet2DConditionModel.from_config(config)
    weights = made.state_dict()
    for name, weight in embedded.state_dict().items():
        if name.endswith((".attn2.to_k.weight", ".attn2.to_v.weight")):
            weights[name].zero_()
            weights[name][:, :width] = weight / _GROW
        else:
            weights[name].copy_(weight)
    made.add_embedding.linear_2.weight.zero_()
    made.add_embedding.linear_2.bias.zero_()
    return made


def _index() -> dict[str, Any]:
    own = json.loads((_EMBEDDED / _MARKER).read_text(encoding="utf-8"))
    kept = {name: own[name] for name in ("scheduler", "text_encoder", "tokenizer", "unet", "vae")}
    return {
        "_class_name": "StableDiffusionXLPipeline",
        "add_watermarker": False,
        "force_zeros_for_empty_prompt": False,  # it was trained on the empty text
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": own["tokenizer"],
        **kept,
    }


def _write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """The command line; exit code 2 with one sentence when the output is there already."""
    parser = argparse.ArgumentParser(prog="python -m demo.sdxl_style", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    with exit_with_a_sentence():
        write_sdxl_style(options.output, overwrite=options.overwrite)
    STDOUT.print(f"{options.output}: the embedded model in the shape of Stable Diffusion XL", markup=False)


if __name__ == "__main__":
    main()
