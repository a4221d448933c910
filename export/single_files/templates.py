"""The configs and the tokenizers of the published models, which a single file does not hold.

templates/<name>.json has the files of a diffusers folder by their path: the index, the configs and the scheduler, every
key stated. Tokenizers are all CLIP's, and differ in what they pad with.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..files.json_file import write_object
from .clip_tables import write_tokenizer

_TOKENIZERS = "tokenizers"


def template_names() -> list[str]:
    """The models that there are configs of."""
    found = (files(__package__) / "templates").iterdir()
    return sorted(entry.name.removesuffix(".json") for entry in found if entry.name.endswith(".json"))


def read_template(name: str) -> dict[str, Any]:
    """The files of a model by their path, and under "tokenizers" what each tokenizer pads with."""
    text = (files(__package__) / "templates" / f"{name}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def write_template(name: str, folder: Path) -> None:
    """Write the diffusers folder of a model, without weights."""
    content = read_template(name)
    tokenizers = content.pop(_TOKENIZERS)
    for path, config in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_object(folder / path, config)
    for tokenizer, pad_token in tokenizers.items():
        write_tokenizer(folder / tokenizer, pad_token)
