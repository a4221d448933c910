"""The images that candidates are compared with: the model's own settings, on its FP32 graphs where these are at hand.

They are made once, and kept: of a large model they take as long as the search.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.atomic_file import atomic_path
from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress, silent

from .prompts import Prompt

Make = Callable[[Prompt], FloatArray]
"""The reference's image (H, W, 3) in [0, 1] of a prompt."""


@dataclass
class Yardstick:
    """Reference images; `folder` is None where nothing can be kept. `open_maker` loads what makes them."""

    folder: Path | None
    open_maker: Callable[[], AbstractContextManager[Make]]
    images: dict[Prompt, FloatArray] = field(default_factory=dict)

    def prepare(self, prompts: Sequence[Prompt], progress: Progress = silent) -> None:
        """Have the images of `prompts` at hand; what makes them is loaded for those that are not there, and freed."""
        for prompt in prompts:
            kept = self._kept(prompt)
            if kept is not None:
                self.images[prompt] = kept
        missing = [prompt for prompt in prompts if prompt not in self.images]
        if not missing:
            return
        with self.open_maker() as make:
            for place, prompt in enumerate(missing):
                progress("images to compare with", place, len(missing))
                self.images[prompt] = make(prompt)
                self._keep(prompt)

    def _kept(self, prompt: Prompt) -> FloatArray | None:
        path = self._path(prompt)
        try:
            image: FloatArray | None = None if path is None else np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # none yet, or damaged
            return None
        return image

    def _keep(self, prompt: Prompt) -> None:
        path = self._path(prompt)
        if path is None:
            return
        try:
            with atomic_path(path) as partial, partial.open("wb") as file:
                np.save(file, self.images[prompt])
        except OSError as error:
            raise MezzotintError(
                f"{path} cannot be written ({error.strerror}); make room, or name another XDG_CACHE_HOME"
            ) from error

    def _path(self, prompt: Prompt) -> Path | None:
        return None if self.folder is None else self.folder / f"reference-{prompt_key(prompt)}.npy"


def prompt_key(prompt: Prompt) -> str:
    """A prompt and its seed, in a few letters."""
    text, seed = prompt
    return f"{hashlib.sha256(text.encode()).hexdigest()[:12]}-{seed}"
