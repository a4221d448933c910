"""A bundle for a GPU as a CPU engine computes it: every FP16 result rounded, every 8-bit code as it is.

It tells what the numbers of the bundle's graphs do to images where no GPU is at hand, and nothing about speed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mezzotint.bundle.bundle import Bundle, file_entry, write_manifest
from mezzotint.bundle.compiled_record import CompiledRecord
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import Compute
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.progress import Progress, silent
from mezzotint.quantize.graphs.graph_file import load_graph, save_graph
from mezzotint.quantize.passes.half_emulation import EMULATE_HALF

from .fidelity import Fidelity, compare_images


def make_stand_in(bundle: Bundle, folder: Path) -> Bundle:
    """A bundle in `folder` for ONNX Runtime's CPU engine whose graphs round as those of `bundle` do on a GPU."""
    for entry in bundle.own_files():
        (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / entry.path).write_bytes((bundle.path / entry.path).read_bytes())
    components = {name: _stand_in(bundle, name, folder) for name in bundle.manifest.components}
    manifest = replace(bundle.manifest, target=ONNXRUNTIME.name, components=components, profiles={})
    write_manifest(folder, manifest)
    return Bundle.open(folder)


def compare_stand_in(
    reference: Bundle, bundle: Bundle, prompts: Sequence[str], progress: Progress = silent
) -> Fidelity:
    """The images of the stand-in of `bundle` against those of the FP32 bundle `reference`, on the same engine."""
    with TemporaryDirectory(prefix="mezzotint-") as folder:
        stand_in = make_stand_in(bundle, Path(folder) / "bundle")
        return compare_images(reference, stand_in, prompts, backend=ONNXRUNTIME.name, progress=progress)


def fidelity_line(bundle: Bundle, denoiser: str, found: Fidelity) -> str:
    """A row of a Markdown table: the recipe, the denoiser's SQNR, and the PSNR of images."""
    parity = bundle.component(denoiser).parity
    sqnr = "-" if parity is None or parity.sqnr_db is None else f"{parity.sqnr_db:.1f} dB"
    low = float(np.percentile(found.psnr_db, 5))
    recipe = f"{bundle.manifest.recipe} for {bundle.manifest.target}"
    return f"| {recipe} | {sqnr} | {found.median_psnr_db:.1f} dB | {low:.1f} dB | {len(found.psnr_db)} |"


FIDELITY_HEADER = (
    "| bundle | denoiser SQNR | images, median PSNR | 5th percentile | images compared |",
    "|---|---|---|---|---|",
)


def compiled_lines(bundle: Bundle) -> list[str]:
    """Rows of a Markdown table: what the compiler made of each component; compute capabilities of equal facts are one.

    Layers and sizes are those of the last of them.
    """
    components = bundle.manifest.components.items()
    return [
        line
        for name, component in components
        for line in record_lines(f"{bundle.manifest.recipe} | {name} ({component.storage})", component.compiled)
    ]


def record_lines(what: str, records: Sequence[CompiledRecord]) -> list[str]:
    """Rows of that table for one graph, whose first two cells are `what`: one for all capabilities with equal facts."""
    alike: dict[str, list[CompiledRecord]] = {}
    for one in records:
        eight = f"{one.coverage:.1%} | {one.share:.1%}" if one.share else "- | -"
        fused = f"{one.fused_attentions} of {one.attentions}" if one.attentions else "-"
        alike.setdefault(f"{eight} | {fused}", []).append(one)
    lines = []
    for facts, ones in alike.items():
        where = ", ".join(one.compute_capability for one in ones)
        layers = _span(str(one.layers) for one in sorted(ones, key=lambda one: one.layers))
        sizes = _span(f"{one.engine_bytes / 1e6:.1f}" for one in sorted(ones, key=lambda one: one.engine_bytes))
        lines.append(f"| {what} | {where} | {layers} | {sizes} MB | {facts} |")
    return lines


def _span(ascending: Iterable[str]) -> str:
    words = list(ascending)
    return words[0] if words[0] == words[-1] else f"{words[0]} to {words[-1]}"


COMPILED_HEADER = (
    "| recipe | component | compute capability | layers | engine | 8-bit coverage | 8-bit share | attention fused |",
    "|---|---|---|---|---|---|---|---|",
)


def _stand_in(bundle: Bundle, name: str, folder: Path) -> Component:
    model = EMULATE_HALF(load_graph(bundle.graph_path(name))).model
    files = save_graph(model, folder / name)
    entries = tuple(file_entry(folder, f"{name}/{file}") for file in files)
    before = bundle.component(name)
    return replace(before, files=entries, compute=Compute.F32, compiled=(), engines=())
