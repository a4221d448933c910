"""How much a case has to multiply, in what precision each kernel really did, and how much the machine could at most."""

import json
from collections import Counter
from pathlib import Path
from typing import cast

from mezzotint.atomic_file import write_text
from mezzotint.bundle.bundle import Bundle
from mezzotint.engines.lineup import choose_engine
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Guidance, Role
from mezzotint.families.lineup import family_of, geometry_of
from mezzotint.progress import Progress
from mezzotint.quantize import audit_bundle

from ..figures.results import RooflineRow
from ..machine.peaks import measure_peaks
from .task import Task

PARTS = {Role.TEXT_ENCODER: "text_encoder", Role.DENOISER: "unet_step", Role.IMAGE_DECODER: "vae_decoder"}
"""The part of an image that components of a role are timed with."""


def measure_roofline(task: Task, result: Path, progress: Progress) -> None:
    """Write what `read_roofline` reads. MezzotintError where the engine keeps no record of its kernels."""
    bundle = Bundle.open(task.case.source)
    family, workload = family_of(bundle), task.workload
    engine = choose_engine(bundle.manifest, task.case.backend).engine
    halves = 2 if family.guidance is Guidance.CFG and workload.guidance > 1.0 else 1
    latent = geometry_of(bundle).latent_shape(workload.height, workload.width)[1:]
    macs: dict[str, Counter[str]] = {part: Counter() for part in PARTS.values()}
    names = [name for name in bundle.manifest.components if family.role(name) in PARTS]
    for place, name in enumerate(names):
        role = family.role(name)
        batch = 1 if role is Role.IMAGE_DECODER else halves
        for kernel in audit_bundle(bundle, engine.name, name, batch, latent).kernels:
            if kernel.macs:
                macs[PARTS[role]][kernel.precision] += kernel.macs
        progress("roofline", place + 1, len(names))
    counted = {part: dict(sorted(counts.items())) for part, counts in macs.items() if counts}
    peaks = {name: round(rate, 2) for name, rate in measure_peaks(engine).items()}
    stored: RooflineRow = {"peaks_gmacs": peaks, "macs": counted}
    write_text(result, json.dumps(stored, indent=1) + "\n")


def read_roofline(path: Path) -> RooflineRow:
    """What a roofline task wrote."""
    try:
        return cast(RooflineRow, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise MezzotintError(f"{path} is not a benchmark's roofline ({error}); measure again with --fresh") from None
