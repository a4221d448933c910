"""A bundle of five small files, for tests that spoil it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mezzotint.bundle.bundle import file_entry, write_manifest
from mezzotint.bundle.manifest import MANIFEST_NAME, Component, FileEntry, Manifest, Parity, Source, TensorSpec
from mezzotint.bundle.precision import Compute, Storage

__all__ = ["FILES", "make_bundle", "with_component", "with_file"]

FILES = {
    "unet/model.onnx": b"a graph",
    "unet/model.onnx_data": bytes(range(256)) * 8,
    "unet/config.json": b'{"sample_size": 8}',
    "tokenizer/vocab.json": b"{}",
    "model_index.json": b"{}",
}


def make_bundle(folder: Path) -> Path:
    """A bundle of five small files, of which two are a component's."""
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    component = Component(
        files=tuple(file_entry(folder, f"unet/{name}") for name in ("model.onnx", "model.onnx_data")),
        storage=Storage.FLOAT32,
        compute=Compute.F32,
        inputs=(TensorSpec("x", "float32", ("n",)),),
        outputs=(),
        parity=Parity("PyTorch FP32", 40, identical=False),  # an integer where a float is meant
    )
    manifest = Manifest("stable-diffusion", Source("small", "00" * 32), "fp32", "portable", {"unet": component})
    write_manifest(folder, manifest)
    return folder


def change_manifest(folder: Path, change: Callable[[Manifest], Manifest]) -> None:
    path = folder / MANIFEST_NAME
    path.write_text(change(Manifest.read(path)).to_json(), encoding="utf-8")


def with_component(folder: Path, component: Component) -> None:
    change_manifest(folder, lambda manifest: replace(manifest, components={"unet": component}))


def with_file(folder: Path, entry: FileEntry) -> None:
    change_manifest(folder, lambda manifest: replace(manifest, files=(*manifest.files, entry)))
