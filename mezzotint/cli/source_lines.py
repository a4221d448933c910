"""What a bundle's manifest says of a source that left a choice, in lines to read."""

from collections.abc import Iterator

from mezzotint.bundle.manifest import Source


def source_lines(source: Source) -> Iterator[str]:
    """What a single file was taken for, what the model predicts and who said so, and the preset."""
    if source.single_file is not None:
        averages = "the EMA weights" if source.single_file.weights == "ema" else "the plain weights"
        yield f"{source.name}: {source.single_file.structure}, {averages}"
    if source.prediction is not None:
        yield f"predicts {source.prediction.type}, as said by {source.prediction.said_by}"
    if source.preset is not None:
        yield f"preset {source.preset}"
