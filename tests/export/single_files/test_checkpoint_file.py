"""A checkpoint in one file exports to the graphs of its folder, to the last byte."""

from pathlib import Path

from mezzotint.bundle.bundle import Bundle, sha256_of
from mezzotint.export import Origins, export_checkpoint


def graphs(bundle: Bundle) -> dict[str, str]:
    """The hashes of a bundle's graphs and of the configs beside them."""
    files = [entry for component in bundle.manifest.components.values() for entry in component.files]
    configs = [f"{name}/config.json" for name in bundle.manifest.components]
    return {entry.path: entry.sha256 for entry in files} | {path: sha256_of(bundle.path / path) for path in configs}


def test_the_graphs_are_those_of_the_folder(
    tiny_file: Path, tiny_checkpoint: Path, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    bundle = export_checkpoint(str(tiny_file), tmp_path / "bundle", origins=Origins(config=tiny_checkpoint))
    assert graphs(bundle) == graphs(tiny_bundle)
    source = bundle.manifest.source
    assert (source.name, source.sha256) == ("tiny.safetensors", sha256_of(tiny_file))
    assert source.single_file is not None
    assert (source.single_file.structure, source.single_file.weights) == ("checkpoint", "plain")
    assert (bundle.path / "tokenizer" / "vocab.json").read_bytes() == (
        tiny_checkpoint / "tokenizer" / "vocab.json"
    ).read_bytes()
