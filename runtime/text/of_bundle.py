"""The tokenizers of a bundle, each for the text encoder that reads its ids."""

from mezzotint.bundle.bundle import Bundle
from mezzotint.families.family import Family, ReadConfig, TextStage

from .tokenizer import ClipTokenizer


def tokenizers_of(bundle: Bundle, family: Family) -> dict[str, ClipTokenizer]:
    """By their folders. Raises MezzotintError as `ClipTokenizer.load`."""
    return {
        stage.tokenizer: ClipTokenizer.load(bundle.path / stage.tokenizer, rows_of(stage, bundle.config))
        for stage in family.texts
    }


def rows_of(stage: TextStage, read: ReadConfig) -> int | None:
    """How many ids the stage's text encoder has a row for, by its config; None where it does not say."""
    size = read(f"{stage.component}/config.json").get("vocab_size")
    return size if type(size) is int else None
