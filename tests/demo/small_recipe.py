"""A recipe of seconds: made-up icons of 16 concepts in both styles, small networks, a few steps. No network access."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from demo.train.artwork.concepts import Concept
from demo.train.config import KEYWORDS, STYLES, AutoencoderTraining, Phase, PipelineTraining, Recipe
from demo.train.stages import run_stages
from demo.train.workspace import Workspace

COLOURS = {"red": "#d02020", "green": "#20a040", "blue": "#2040d0", "pink": "#f080c0"}
SHAPES = {
    "ball": '<circle cx="16" cy="16" r="12"/>',
    "brick": '<rect x="2" y="9" width="28" height="14"/>',
    "mountain": '<path d="M2 28 16 4l14 24z"/>',
    "ring": '<path fill-rule="evenodd" d="M16 2a14 14 0 1 0 .1 0zm0 7a7 7 0 1 1-.1 0z"/>',
}
CONCEPTS = tuple(
    Concept(f"{colour}-{shape}", f"{colour} {shape}", "focus" if index % 2 else "rest")
    for index, (colour, shape) in enumerate((colour, shape) for colour in COLOURS for shape in SHAPES)
)
RECIPE = Recipe(
    side_pixels=32,
    icon_pixels=28,
    vocabulary=600,
    tokens=32,
    autoencoder=AutoencoderTraining(channels=(32, 32), steps=6, batch=4, warm_up_steps=2),
    pipeline=PipelineTraining(
        unet_channels=(32, 32),
        unet_groups=8,
        heads=4,
        text_width=32,
        text_layers=1,
        phases=(Phase(2, 1e-3, 1e-3, 1.0, 1.0), Phase(4, 1e-3, 0.0, 2.0, 0.4)),
        batch=4,
        warm_up_steps=2,
    ),
    log_every_steps=2,
    save_every_s=0.0,
)


def icon_set(outlined: bool) -> dict[str, object]:
    """An icons.json with a shape of each colour; `outlined` tells one style from the other."""
    pen = ' stroke="#000" stroke-width="2"' if outlined else ""
    icons = {
        f"{colour}-{shape}": {"body": f'<g fill="{value}"{pen}>{body}</g>'}
        for colour, value in COLOURS.items()
        for shape, body in SHAPES.items()
    }
    return {"prefix": "made-up", "icons": icons, "width": 32, "height": 32}


def write_artwork(workspace: Workspace) -> None:
    """What the stage `fetch` leaves, made up."""
    for package, outlined in zip(STYLES.values(), (False, True), strict=True):
        folder = workspace.package(package)
        folder.mkdir(parents=True)
        (folder / "icons.json").write_text(json.dumps(icon_set(outlined)))
        (folder / "package.json").write_text(json.dumps({"name": package.name, "license": package.licence}))
    folder = workspace.package(KEYWORDS)
    (folder / "dist").mkdir(parents=True)
    words = {"1": ["red_ball", "toy", "Round Thing", "red ball"], "2": ["blue_ring", "jewel"], "3": ["not_ours", "x-y"]}
    (folder / "dist" / "emoji-en-US.json").write_text(json.dumps(words))
    (folder / "package.json").write_text(json.dumps({"name": KEYWORDS.name}))
    (folder / "LICENSE").write_text("MIT")


def run(root: Path, until: str = "assemble") -> Workspace:
    """All stages up to `until`, from whatever lies in `root` already."""
    workspace = Workspace(root)
    if not root.exists():
        write_artwork(workspace)
    with on_one_thread():
        run_stages(workspace, RECIPE, CONCEPTS, until)
    return workspace


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Trainings that are compared to the bit: with another number of threads PyTorch adds up in another order.

    How many it takes may change while others use the same cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
