"""`python -m demo.train.gallery -o FOLDER`: the training pictures as a gallery that `mezzotint benchmark` can look up.

With `--weights FOLDER` a benchmark of the embedded model then says how many pictures show what the prompt asks for.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mezzotint.benchmarks.metrics.gallery import Gallery, write_gallery
from mezzotint.cli.epilogue import exit_with_a_sentence
from mezzotint.cli.terminal import STDOUT
from mezzotint.errors import MezzotintError
from mezzotint.runtime.text.prompts import read_prompts

from .captions import parse_caption
from .config import BACKGROUNDS
from .pictures import Pictures, load_pictures
from .workspace import Workspace

_PROMPTS = Path(__file__).parents[1] / "prompts"
_FILE = "gallery.npz"


def gallery_of(pictures: Pictures, prompts: Iterable[str] = ()) -> Gallery:
    """All pictures of focus and rest, labelled by their concepts' icons, and what each of the prompts asks for.

    MezzotintError for a prompt that is no caption of one of these concepts.
    """
    backgrounds = tuple(BACKGROUNDS)
    kept = pictures.of_groups("focus", "rest")
    icons = {pictures.concepts[index].name: pictures.concepts[index].icon for index in kept}
    judged: dict[str, tuple[str, int]] = {}
    for prompt in prompts:
        _, name, background = parse_caption(prompt)
        if name not in icons or background not in BACKGROUNDS:
            raise MezzotintError(f"the prompt {prompt!r} asks for {name!r} on {background}, which no picture shows")
        judged[prompt] = (icons[name], backgrounds.index(background))
    return Gallery(
        pictures.rgba[kept],
        tuple(pictures.concepts[index].icon for index in kept),
        np.array(list(BACKGROUNDS.values()), dtype=np.float32) / np.float32(255.0),
        judged,
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.train.gallery", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write gallery.npz to")
    parser.add_argument("--training", type=Path, default=Path("training"), help="folder that demo.train worked in")
    parser.add_argument("--prompts", type=Path, nargs="+", default=sorted(_PROMPTS.glob("*.txt")), help="prompt files")
    options = parser.parse_args()
    with exit_with_a_sentence():
        prompts = [prompt for path in options.prompts for prompt in read_prompts(path)]
        gallery = gallery_of(load_pictures(Workspace(options.training).pictures), prompts)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / _FILE
    write_gallery(gallery, path)
    STDOUT.print(f"{path}: {len(gallery.labels)} pictures, {len(gallery.prompts)} prompts", markup=False)


if __name__ == "__main__":
    main()
