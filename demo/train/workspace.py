"""Where the recipe's stages leave what they made. A stage whose result is there is done: results appear whole.

The folder belongs to one recipe, whose description lies in it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from mezzotint.atomic_file import write_text
from mezzotint.errors import MezzotintError

from .config import Package, Recipe


@dataclass(frozen=True)
class Workspace:
    """Paths below one folder."""

    root: Path

    def package(self, package: Package) -> Path:
        """The unpacked files of an npm package."""
        return self.root / "artwork" / package.folder

    @property
    def pictures(self) -> Path:
        """All rendered icons with their transparency."""
        return self.root / "pictures.npz"

    @property
    def keywords(self) -> Path:
        """Other words for each concept."""
        return self.root / "keywords.json"

    @property
    def tokenizer(self) -> Path:
        """A folder as transformers has it."""
        return self.root / "tokenizer"

    @property
    def autoencoder(self) -> Path:
        """A folder as diffusers has it."""
        return self.root / "autoencoder"

    @property
    def latents(self) -> Path:
        """Every picture on every background, encoded."""
        return self.root / "latents.npz"

    @property
    def averaged(self) -> Path:
        """The averaged weights of text encoder and UNet, after the last step."""
        return self.root / "averaged.pt"

    @property
    def checkpoint(self) -> Path:
        """The finished model: a folder as diffusers has it."""
        return self.root / "checkpoint"

    def state(self, what: str) -> Path:
        """Where an unfinished training goes on from."""
        return self.root / f"{what}.state.pt"

    def losses(self, what: str) -> Path:
        """A line of losses for every few steps."""
        return self.root / f"{what}.csv"

    def claim(self, recipe: Recipe) -> None:
        """Make the folder and note the recipe in it. MezzotintError where it holds the work of another recipe."""
        path = self.root / "recipe.json"
        self.root.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_text(path, json.dumps(recipe.as_json(), indent=1) + "\n")
        elif json.loads(path.read_text(encoding="utf-8")) != recipe.as_json():
            raise MezzotintError(f"{self.root} holds the work of another recipe; choose another folder, or remove it")
