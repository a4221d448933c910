"""`mezzotint export`: a checkpoint folder or hub id in, a bundle out."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir
import torch

from mezzotint.adapters.embedding import GivenEmbedding
from mezzotint.adapters.given import GivenAdapter, refuse_twice
from mezzotint.adapters.given_control import GivenControl, check_names
from mezzotint.atomic_folder import replace_folder
from mezzotint.bundle.bundle import (
    EXTERNAL_DATA_FILE,
    EXTERNAL_DATA_THRESHOLD_BYTES,
    GRAPH_FILE,
    Bundle,
    file_entry,
    write_manifest,
)
from mezzotint.bundle.card import CARD_NAME, read_licence, write_card
from mezzotint.bundle.manifest import MANIFEST_NAME, Component, Manifest
from mezzotint.bundle.weight_faults import check_no_pointers
from mezzotint.engines.heap import give_back_memory
from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import is_optimum_folder
from mezzotint.progress import Progress, silent

from .checkpoint import load_parts
from .checkpoint_folder import resolve_folder
from .controls import sources_with_controls
from .families.lineup import export_of
from .files.checkpoint_parts import CheckpointParts
from .files.json_file import copy_text, read_object, write_object
from .files.loaded_checkpoint import Checkpoint
from .files.origins import Origins
from .files.pipeline_index import read_index
from .find_parts import check_optimum_options, find_parts
from .graphs.graph_source import GraphSource
from .graphs.parity import check_finite, check_parity, reference_outputs
from .graphs.stored import IN_FLOAT32, Stored
from .graphs.to_onnx import to_onnx
from .hub_part import local_origins
from .open_check import check_opens, check_texts
from .optimum_folder import adopt_optimum
from .preview_colours import store_colours
from .scheduler import Chosen, defaults_of

_SCHEDULER = "scheduler/scheduler_config.json"
_NOTHING_CHOSEN = Chosen()
_ALL_ITS_OWN = Origins()
TOOLS = ("mezzotint", "torch", "diffusers", "transformers", "onnx", "onnx-ir", "onnxscript")


def export_checkpoint(
    model: str,
    output: Path,
    *,
    variant: str | None = None,
    origins: Origins = _ALL_ITS_OWN,
    chosen: Chosen = _NOTHING_CHOSEN,
    adapters: Sequence[GivenAdapter] = (),
    embeddings: Sequence[GivenEmbedding] = (),
    controls: Sequence[GivenControl] = (),
    overwrite: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Export `model` to a bundle at `output`: a diffusers folder, a hub id, a single file, or what Optimum exported.

    `variant` names the weights to take where a component has several, such as "fp16"; `origins` says which parts come
    from elsewhere, and what is to be taken of a single file; the manifest says what was taken. `chosen` is what the
    bundle is to run with where the checkpoint's files do not say it, such as the few steps of a distilled one.
    `adapters`, LoRA and its kin, are added to the weights in their order, and `embeddings` to the vocabulary; each of
    `controls` becomes a component, and the denoiser is told what they say, which Optimum's pipeline does not. Every
    graph is checked against PyTorch, and the bundle is opened and run, before it appears. Warns of samplers that the
    checkpoint rules out. Raises MezzotintError for unusable input and ParityError when a graph disagrees; `output` is
    then as it was.
    """
    folder = None if Path(model).is_file() else resolve_folder(model, variant)
    origins = local_origins(origins)
    refuse_twice(adapters)
    check_names(controls)
    with replace_folder(output, marker=MANIFEST_NAME, overwrite=overwrite) as staging:
        if folder is not None and is_optimum_folder(folder):
            check_optimum_options(
                folder,
                variant,
                origins,
                chosen,
                adapters=adapters,
                embeddings=embeddings,
                controls=controls,
            )
            manifest = _adopt(folder, staging, chosen, progress)
        else:
            progress("loading the checkpoint", 0, 5)
            with TemporaryDirectory(prefix="mezzotint-") as scratch:
                parts = find_parts(model, folder, variant, origins, chosen, Path(scratch))
                parts = replace(parts, adapters=tuple(adapters), embeddings=tuple(embeddings))
                parts = replace(parts, controls=tuple(controls))
                manifest = _export(parts, staging, chosen, progress)
        write_card(staging, manifest, {} if folder is None else read_licence(folder / CARD_NAME))
        write_manifest(staging, manifest)
        progress("opening the bundle", 0, 1)
        check_opens(staging)
        store_colours(staging, manifest)
        give_back_memory()
    return Bundle.open(output)


def _adopt(folder: Path, staging: Path, chosen: Chosen, progress: Progress) -> Manifest:
    check_no_pointers(folder.glob("*/*"))
    progress("copying Optimum's graphs", 0, 1)
    manifest = adopt_optimum(folder, staging)
    export = export_of(read_index(staging).family)
    configs = {name: read_object(staging / name / "config.json") for name in manifest.components}
    return replace(manifest, defaults=defaults_of(staging / _SCHEDULER, chosen, export.guidance_of(configs)))


def _export(parts: CheckpointParts, staging: Path, chosen: Chosen, progress: Progress) -> Manifest:
    checkpoint = load_parts(parts)
    checkpoint.index.warn_of_more()
    _write_texts(checkpoint, staging)
    export, names = export_of(checkpoint.family), list(checkpoint.family.components)
    defaults = defaults_of(staging / _SCHEDULER, chosen, export.guidance_of(checkpoint.configs))
    components: dict[str, Component] = {}
    progress(f"exporting {names[0]}", 1, len(names) + 1)
    for index, source in enumerate(sources_with_controls(export, checkpoint), start=1):
        later = {export.folder_of(name) for name in names[index:]}
        is_needed = export.folder_of(source.name) in later
        components[source.name] = export_component(source, staging, is_needed=is_needed)
        if index < len(names):
            progress(f"exporting {names[index]}", index + 1, len(names) + 1)
    return Manifest(
        family=checkpoint.family.name,
        source=checkpoint.source,
        replaced=checkpoint.replaced,
        fused=checkpoint.fused,
        words=checkpoint.words,
        controls=checkpoint.controls,
        recipe="fp32",
        target="portable",
        components=components,
        defaults=defaults,
        versions={tool: importlib.metadata.version(tool) for tool in TOOLS},
    )


def export_component(source: GraphSource, staging: Path, *, is_needed: bool, stored: Stored = IN_FLOAT32) -> Component:
    """Write one graph and check it; `is_needed` says whether a later one is of the same weights."""
    folder = staging / source.name
    expected = reference_outputs(source)  # first, as it says what is wrong with a module in seconds
    check_finite(source, expected)
    model, float32_weights = stored.rewrite(to_onnx(source))
    names = _save(model, folder)
    _drop_weights(model)
    del model
    write_object(folder / "config.json", source.config)
    component = Component(
        files=tuple(file_entry(staging, f"{source.name}/{name}") for name in names),
        storage=stored.storage,
        compute=stored.compute,
        inputs=source.inputs,
        outputs=source.outputs,
        float32_weights=float32_weights,
    )
    if not is_needed:
        _free(source)
    parity = check_parity(source, expected, folder / GRAPH_FILE, component, stored.floor_db)
    give_back_memory()
    return replace(component, parity=parity)


def _drop_weights(model: ir.Model) -> None:
    """onnxscript's rules remember the last graph that they looked at; it must not keep the checkpoint in memory."""
    for value in model.graph.initializers.values():
        value.const_value = None


def _free(source: GraphSource) -> None:
    """Give back the memory of weights that no later source needs: an engine is about to load its own copy of them.

    They are emptied where they are, since others than the module hold the same parameters.
    """
    for parameter in source.module.parameters():
        parameter.data = torch.empty(0)
    give_back_memory()  # the exporter's program is a cycle that holds them too


def _save(model: ir.Model, folder: Path) -> list[str]:
    """Write the graph; the names of its files, the graph first."""
    folder.mkdir(parents=True)
    weights = [value.const_value for value in model.graph.initializers.values() if value.const_value is not None]
    if sum(weight.nbytes for weight in weights) <= EXTERNAL_DATA_THRESHOLD_BYTES:
        ir.save(model, folder / GRAPH_FILE)
        return [GRAPH_FILE]
    ir.save(model, folder / GRAPH_FILE, external_data=EXTERNAL_DATA_FILE)
    return [GRAPH_FILE, EXTERNAL_DATA_FILE]


def _write_texts(checkpoint: Checkpoint, staging: Path) -> None:
    """The pipeline index, the scheduler's config and the tokenizers, as a reader without diffusers needs them."""
    write_object(staging / "model_index.json", checkpoint.index.of_bundle(checkpoint.pipeline_class))
    tokenizers = [stage.tokenizer for stage in checkpoint.family.texts]
    for name in ("scheduler", *tokenizers):
        files = sorted(path for path in (checkpoint.folder / name).glob("*") if path.suffix in (".json", ".txt"))
        if not files:
            raise MezzotintError(f"{checkpoint.folder} has no {name} folder; expected a whole diffusers checkpoint")
        (staging / name).mkdir()
        for path in files:
            copy_text(path, staging / name / path.name)
    write_object(staging / "scheduler" / "scheduler_config.json", checkpoint.scheduler_config)
    checkpoint.write_words(checkpoint.family, staging)
    check_texts(checkpoint.family, staging, checkpoint.configs)
