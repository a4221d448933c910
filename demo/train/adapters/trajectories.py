"""The teacher's runs of training captions, computed once: what students are to jump to the end of.

No artwork is needed: captions are made up as in training, of the concepts in focus, and the pictures are the teacher's.
Runs lie on disk in parts, each a function of its number, so that a killed stage goes on and a larger one adds to it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch

from mezzotint.atomic_file import atomic_path, write_text
from mezzotint.errors import MezzotintError
from mezzotint.families.source_hash import weights_sha256
from mezzotint.progress import Progress

from ..artwork.concepts import Concept, read_concepts
from ..captions import caption
from ..config import BACKGROUNDS, STYLES
from ..loop import step_seed
from .plans import Trajectories
from .teacher import Teacher, consistency_timesteps

_NAMES = ("said", "states", "ends")


@dataclass(frozen=True, eq=False)
class Runs:
    """N runs in FP16: what was said (N, tokens, width), states (N, P, 4, h, w) at `timesteps`, and ends (N, 4, h, w).

    `unsaid` (tokens, width) is what the text encoder says of no caption, `distilled_steps` as in the plan.
    """

    said: torch.Tensor
    states: torch.Tensor
    ends: torch.Tensor
    unsaid: torch.Tensor
    timesteps: tuple[int, ...]
    distilled_steps: int


def run_teacher(folder: Path, checkpoint: Path, plan: Trajectories, progress: Progress) -> Runs:
    """The runs of `plan`; those that are not in `folder` yet are made, by the checkpoint (a diffusers folder)."""
    claim(folder, {"teacher": weights_sha256(checkpoint), **plan.as_json()})
    teacher = Teacher.load(checkpoint)
    timesteps = consistency_timesteps(plan.steps, plan.distilled_steps)
    unsaid = teacher.say([""])
    parts = [folder / f"{index:05}.npz" for index in range(-(-plan.count // plan.part))]
    for index, part in enumerate(parts):
        progress("running the teacher", index, len(parts))
        if not part.exists():
            _write(part, _run(teacher, unsaid, plan, timesteps, index))
    progress("running the teacher", len(parts), len(parts))
    columns = zip(*map(_read, parts), strict=True)
    said, states, ends = (torch.cat(column)[: plan.count] for column in columns)
    return Runs(said, states, ends, unsaid[0].half(), timesteps, plan.distilled_steps)


def claim(folder: Path, job: dict[str, object]) -> None:
    """Make the folder and note in it what it is for. MezzotintError where it is for something else."""
    path, text = folder / "job.json", json.dumps(job, indent=1) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_text(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise MezzotintError(
            f"{folder} holds the work of another plan or teacher; choose another workspace, or remove that folder"
        )


def _run(
    teacher: Teacher, unsaid: torch.Tensor, plan: Trajectories, timesteps: Sequence[int], index: int
) -> tuple[torch.Tensor, ...]:
    seed = step_seed(plan.seed, index)
    captions = list(_captions(read_concepts(), Random(seed), plan.part))
    side = teacher.unet.config.sample_size
    noise = torch.randn(plan.part, 4, side, side, generator=torch.Generator().manual_seed(seed))
    said = teacher.say(captions)
    states, ends = teacher.run(said, unsaid.expand_as(said), noise, timesteps, plan.guidance)
    return said, states, ends


def _captions(concepts: Sequence[Concept], rng: Random, count: int) -> Iterator[str]:
    """Of concepts in focus, in either style, on any background; without keywords, which can mean several."""
    focus = [concept for concept in concepts if concept.group == "focus"]
    for _ in range(count):
        yield caption(rng.choice(focus), rng.choice(tuple(STYLES)), rng.choice(tuple(BACKGROUNDS)), {}, rng)


def _write(path: Path, tensors: Sequence[torch.Tensor]) -> None:
    arrays = {name: tensor.numpy().astype(np.float16) for name, tensor in zip(_NAMES, tensors, strict=True)}
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _read(path: Path) -> tuple[torch.Tensor, ...]:
    with np.load(path) as data:
        return tuple(torch.from_numpy(data[name]) for name in _NAMES)
