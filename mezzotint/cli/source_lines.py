"""What a bundle's manifest says of where its weights are from, beyond the name of the source, in lines to read."""

from collections.abc import Iterator

from mezzotint.bundle.manifest import Manifest, Source


def source_lines(source: Source) -> Iterator[str]:
    """What a single file was taken for, what the model predicts and who said so, and the preset."""
    if source.single_file is not None:
        averages = "the EMA weights" if source.single_file.weights == "ema" else "the plain weights"
        yield f"{source.name}: {source.single_file.structure}, {averages}"
    if source.prediction is not None:
        yield f"predicts {source.prediction.type}, as said by {source.prediction.said_by}"
    if source.preset is not None:
        yield f"preset {source.preset}"


def fused_lines(manifest: Manifest) -> Iterator[str]:
    """The adapters that were added to the weights."""
    for one in manifest.fused:
        yield f"with {one.name} at scale {one.scale:g} ({', '.join(one.forms)}, sha256 {one.sha256[:12]})"
