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


def adapter_lines(manifest: Manifest) -> Iterator[str]:
    """The adapters that were added to the weights, and those that calls may ask for."""
    for live in manifest.live:
        cut = "" if live.kept == 1.0 else f", {live.kept:.2%} of its energy kept"
        what = f"{', '.join(live.forms)}, rank {live.rank}{cut}, {live.file}, sha256 {live.sha256[:12]}"
        yield f"live adapter {live.name} ({what})"
    for one in manifest.fused:
        yield f"with {one.name} at scale {one.scale:g} ({', '.join(one.forms)}, sha256 {one.sha256[:12]})"


def word_lines(manifest: Manifest) -> Iterator[str]:
    """The words that textual inversion added."""
    for one in manifest.words:
        vectors = "1 vector" if one.vectors == 1 else f"{one.vectors} vectors"
        yield f"knows {one.word} ({vectors}, {one.file}, sha256 {one.sha256[:12]})"


def control_lines(manifest: Manifest) -> Iterator[str]:
    """The ControlNets and T2I-adapters that calls may ask for."""
    for one in manifest.controls:
        taken = f", {one.variant} weights" if one.variant else ""
        yield f"{one.kind.called} {one.name} ({one.source}{taken}, sha256 {one.sha256[:12]})"
