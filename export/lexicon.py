"""Words of textual inversion into a checkpoint: rows for its text encoders' tables, and tokens for its tokenizers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mezzotint.adapters.embedding import Embedding, GivenEmbedding, read_embedding
from mezzotint.bundle.manifest import LearnedWord
from mezzotint.families.family import Family
from mezzotint.runtime.text.learned_words import add_words, free_ids


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Embeddings that a checkpoint is to learn, and by text encoder the ids of their words."""

    embeddings: tuple[Embedding, ...] = ()
    ids: Mapping[str, range]

    @property
    def words(self) -> list[str]:
        """One for each vector."""
        return [word for one in self.embeddings for word in one.words]

    @property
    def records(self) -> tuple[LearnedWord, ...]:
        """What the manifest says of them."""
        return tuple(
            LearnedWord(word=one.word, vectors=one.count, file=one.path.name, sha256=one.sha256)
            for one in self.embeddings
        )

    @classmethod
    def of(cls, given: Sequence[GivenEmbedding], family: Family, folder: Path) -> "Lexicon":
        """For a checkpoint whose tokenizers lie in `folder`; MezzotintError for a word that there is already."""
        embeddings = tuple(read_embedding(one) for one in given)
        words = [word for one in embeddings for word in one.words]
        stages = family.texts if words else ()
        return cls(
            embeddings=embeddings,
            ids={stage.component: free_ids(folder / stage.tokenizer, words) for stage in stages},
        )

    def teach(self, part: str, module: Any) -> Any:
        """The module of that part of the checkpoint, with the rows; MezzotintError for vectors that do not fit."""
        ids = self.ids.get(part)
        if ids is None:
            return module
        table = module.get_input_embeddings()
        width = table.weight.shape[1]
        rows = [row for one in self.embeddings for row in one.of(part, width, len(self.ids))]
        weight = torch.zeros(max(len(table.weight), ids.stop), width)
        weight[: len(table.weight)] = table.weight.detach()
        weight[ids.start : ids.stop] = torch.stack([torch.from_numpy(row) for row in rows])
        table.weight.data, table.num_embeddings = weight, len(weight)
        return module

    def config(self, part: str, config: dict[str, Any]) -> dict[str, Any]:
        """A part's config with the size of the vocabulary that it has then."""
        ids = self.ids.get(part)
        return config if ids is None else {**config, "vocab_size": max(config["vocab_size"], ids.stop)}

    def write(self, family: Family, folder: Path) -> None:
        """Add the words to the tokenizers in `folder`."""
        for stage in family.texts if self.embeddings else ():
            add_words(folder / stage.tokenizer, self.words)
