"""`python -m demo.synthetic sd15 -o DIR`: a checkpoint of Stable Diffusion 1.5's shape, with seeded random weights.

It is for speed, memory and tests of the code. It generates nothing, and its fidelity figures say nothing of a trained
model, except that a quantizer which fails on it is not ready for one: random weights alone have no outliers, so those
that make Stable Diffusion hard are planted (see `demo/outliers.py`). Weights are drawn into their file, so that those
of SDXL need no memory of their size.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import transformers

from mezzotint.atomic_folder import replace_folder
from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT

from .mapped_weights import draw_into, without_numbers
from .outliers import plant_in_text_encoder, plant_in_unet
from .shapes import SHAPES, Config, Shape

_TOKENIZER = Path(__file__).parent / "checkpoint" / "tokenizer"
_TEXT_ENCODERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
_SEEDS = {"": 0, "text_encoder": 0, "unet": 1, "outliers": 2, "vae": 3, "text_encoder_2": 4}  # added to the seed
_CARD = "README.md"


def write_checkpoint(shape: Shape, output: Path, *, seed: int = 0, plant: bool = True, overwrite: bool = False) -> None:
    """Write a diffusers folder at `output`; the same arguments and versions of torch give the same bytes.

    `plant=False` leaves the outliers out. Raises MezzotintError when `output` exists and `overwrite` is not set.
    """
    marker = "config.json" if shape.pipeline is None else "model_index.json"
    with replace_folder(output, marker=marker, overwrite=overwrite) as staging:
        for folder, (kind, config) in shape.configs.items():
            module = _write_component(kind, config, staging / folder, seed + _SEEDS[folder])
            if plant and folder in _TEXT_ENCODERS:
                plant_in_text_encoder(module, is_normed=shape.is_normed)
            elif plant and folder == "unet":
                plant_in_unet(module, seed + _SEEDS["outliers"])
        if shape.scheduler is not None:
            _write_pipeline(shape, shape.scheduler, staging)
        (staging / _CARD).write_text(_MODEL_CARD, encoding="utf-8")


def _write_component(kind: str, config: Config, folder: Path, seed: int) -> Any:
    """The module, whose weights are those of the file in `folder`."""
    folder.mkdir(exist_ok=True)
    with without_numbers() as layers:
        if hasattr(diffusers, kind):
            module = getattr(diffusers, kind)(**config).eval()
            module.save_config(folder)
            name = "diffusion_pytorch_model.safetensors"
        else:
            model = getattr(transformers, kind)
            module = model(model.config_class(**config, architectures=[kind])).eval()
            module.config.save_pretrained(folder)
            name = "model.safetensors"
    draw_into(module, layers, folder / name, seed)
    return module


def _write_pipeline(shape: Shape, scheduler: Config, staging: Path) -> None:
    """All that is no weights: tokenizers, the scheduler, and the index."""
    index: dict[str, Any] = {"_class_name": shape.pipeline, **(shape.options or {})}
    for folder, (kind, config) in shape.configs.items():
        index[folder] = ["diffusers" if hasattr(diffusers, kind) else "transformers", kind]
        tokenizer = _TEXT_ENCODERS.get(folder)
        if tokenizer is not None:
            _write_tokenizer(staging / tokenizer, config["max_position_embeddings"])
            index[tokenizer] = ["transformers", "CLIPTokenizer"]
    index["scheduler"] = ["diffusers", scheduler["_class_name"]]
    (staging / "scheduler").mkdir()
    _write_json(staging / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(staging / "model_index.json", index)


def _write_tokenizer(folder: Path, tokens: int) -> None:
    shutil.copytree(_TOKENIZER, folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    _write_json(path, {**config, "model_max_length": tokens})


def _write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


_MODEL_CARD = """# A synthetic checkpoint

Random weights in the shape of Stable Diffusion, with planted outliers. Its images are noise. Use it to measure
speed and memory; figures of fidelity on it test the code and say nothing of a trained model.
"""


def main() -> None:
    """The command line; exit code 2 with one sentence when the output is there already."""
    parser = argparse.ArgumentParser(prog="python -m demo.synthetic", description=__doc__)
    parser.add_argument("shape", choices=tuple(SHAPES))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-outliers", action="store_true", help="plain random weights")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    with exit_with_a_sentence():
        write_checkpoint(
            SHAPES[options.shape],
            options.output,
            seed=options.seed,
            plant=not options.no_outliers,
            overwrite=options.overwrite,
        )
    STDOUT.print(f"{options.output}: random weights in the shape {options.shape}", markup=False)


if __name__ == "__main__":
    main()
