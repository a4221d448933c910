"""`mezzotint embedding`: words that textual inversion learned, into a bundle's text encoders and tokenizers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mezzotint.adapters.embedding import Embedding, GivenEmbedding, read_embedding
from mezzotint.arrays import FloatArray
from mezzotint.atomic_folder import replace_folder
from mezzotint.bundle.bundle import Bundle, file_entry, write_manifest
from mezzotint.bundle.card import CARD_NAME, read_licence, write_card
from mezzotint.bundle.live import SCALE_INPUT
from mezzotint.bundle.manifest import MANIFEST_NAME, Component, LearnedWord
from mezzotint.engines.heap import give_back_memory
from mezzotint.errors import MezzotintError
from mezzotint.families.family import TextStage
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress, silent
from mezzotint.runtime.text.learned_words import add_words, free_ids

from ..graphs.graph_file import load_graph, save_graph
from .copies import copy_but
from .given_bundle import GivenBundle
from .relower import relowered

_TABLE = "embeddings.token_embedding.weight"


def add_embeddings(
    source: Path,
    embeddings: Sequence[GivenEmbedding],
    output: Path,
    *,
    base: Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Teach the bundle at `source` the words of `embeddings`, into a new one at `output`.

    The text encoders' tables get a row for each vector, and the tokenizers a token; nothing else changes. A quantized
    bundle needs `base`, the FP32 bundle that it was made from. Raises MezzotintError for vectors that do not fit and
    words that there are already; `output` is then as it was.
    """
    given = GivenBundle.open(source, base)
    stages = family_of(given.bundle).texts
    if not stages:
        raise MezzotintError(f"{source} reads no text, so it learns no words")
    _check(given, stages)
    learned = [read_embedding(one) for one in embeddings]
    words = [word for one in learned for word in one.words]
    for stage in stages:
        free_ids(given.bundle.path / stage.tokenizer, words)  # or refuses, before anything is written
    with replace_folder(output, marker=MANIFEST_NAME, overwrite=overwrite) as staging:
        copy_but(given.bundle, tuple(stage.component for stage in stages), staging)
        components: dict[str, Component] = {}
        for index, stage in enumerate(stages):
            progress(f"adding words to {stage.component}", index, len(stages))
            ids = add_words(staging / stage.tokenizer, words)
            rows = _Rows(stage.component, ids, [*_vectors(given, learned, stage, len(stages))])
            components[stage.component] = _write(given, rows, staging)
        _seal(given.bundle, components, learned, staging)
    return Bundle.open(output)


@dataclass(frozen=True)
class _Rows:
    """New rows of a text encoder's table, one for each id."""

    component: str
    ids: range
    rows: Sequence[FloatArray]


def _check(given: GivenBundle, stages: Sequence[TextStage]) -> None:
    for stage in stages:
        if any(spec.name == SCALE_INPUT for spec in given.bundle.component(stage.component).inputs):
            raise MezzotintError(
                f"{given.bundle.path} has live adapters in {stage.component}; add the words to the bundle that it was "
                "made from"
            )


def _vectors(given: GivenBundle, learned: Sequence[Embedding], stage: TextStage, encoders: int) -> Sequence[FloatArray]:
    table = _table(load_graph(given.floats.graph_path(stage.component)).graph, stage.component)
    assert table.shape is not None  # an initializer has one
    width = int(table.shape.numpy()[1])
    return [row for one in learned for row in one.of(stage.component, width, encoders)]


def _table(graph: ir.Graph, component: str) -> ir.Value:
    found = next((value for name, value in graph.initializers.items() if name.endswith(_TABLE)), None)
    if found is None:
        raise MezzotintError(
            f"{component} has no weight called {_TABLE}, which words would be added to; export it with Mezzotint"
        )
    return found


def _write(given: GivenBundle, new: _Rows, staging: Path) -> Component:
    """The graph with more rows, as the bundle has it, and the size of its vocabulary in the config."""
    name, bundle = new.component, given.bundle
    model = load_graph(given.floats.graph_path(name))
    table = _table(model.graph, name)
    assert table.const_value is not None  # an initializer has one
    before = table.const_value.numpy()
    size = max(len(before), new.ids.stop)
    rows = np.concatenate([before, np.zeros((size - len(before), before.shape[1]), before.dtype)])
    rows[new.ids.start : new.ids.stop] = np.stack(new.rows)
    table.const_value, table.shape = ir.tensor(rows, name=table.name), ir.Shape(rows.shape)
    files = save_graph(relowered(bundle, name, model), staging / name)
    del model
    give_back_memory()
    config = staging / name / "config.json"
    text = json.dumps({**bundle.config(f"{name}/config.json"), "vocab_size": size}, indent=2, sort_keys=True)
    config.write_text(text + "\n", encoding="utf-8")
    entries = tuple(file_entry(staging, f"{name}/{file}") for file in files)
    return replace(bundle.component(name), files=entries, compiled=(), engines=())


def _seal(bundle: Bundle, components: Mapping[str, Component], learned: Sequence[Embedding], staging: Path) -> None:
    before = bundle.manifest
    words = tuple(
        LearnedWord(word=one.word, vectors=one.count, file=one.path.name, sha256=one.sha256) for one in learned
    )
    manifest = replace(
        before, components={**before.components, **components}, words=(*before.words, *words), profiles={}
    )
    write_card(staging, manifest, read_licence(bundle.path / CARD_NAME))
    write_manifest(staging, manifest)
