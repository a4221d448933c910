"""Which pictures a step sees, on which backgrounds, under which captions: all of it a function of the step."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import numpy as np
from tokenizers import Tokenizer

from mezzotint.arrays import IntArray

from .captions import Keywords, caption
from .config import BACKGROUNDS, Phase, PipelineTraining
from .learning_rate import phase_of
from .loop import step_seed
from .pictures import Pictures


@dataclass(frozen=True, eq=False)
class Batch:
    """Indices (B,) of pictures and of backgrounds, and the captions with their token ids (B, tokens)."""

    pictures: IntArray
    backgrounds: IntArray
    captions: tuple[str, ...]
    token_ids: IntArray


class Batches:
    """Batches by step. After a jump, the stream of pictures is run through from the start of its phase."""

    def __init__(
        self, training: PipelineTraining, pictures: Pictures, keywords: Keywords, tokenizer: Tokenizer, seed: int
    ) -> None:
        self._training = training
        self._pictures = pictures
        self._keywords = keywords
        self._tokenizer = tokenizer
        self._seed = seed
        self._stream: Iterator[int] = iter(())
        self._next_step = -1

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        training, rng = self._training, Random(step_seed(self._seed, step))
        chosen = self._choose(step)
        backgrounds = [self._background(rng) for _ in chosen]
        captions = tuple(self._caption(*pair, rng) for pair in zip(chosen, backgrounds, strict=True))
        captions = tuple("" if rng.random() < training.empty_caption_share else text for text in captions)
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(captions))]
        return Batch(np.array(chosen), np.array(backgrounds), captions, np.array(ids, dtype=np.int64))

    def _choose(self, step: int) -> list[int]:
        index, start = phase_of(self._training.phases, step)
        if step != self._next_step or step == start:
            phase = self._training.phases[index]
            stream = picture_stream(self._weights(phase), Random(step_seed(self._seed, start)))
            self._stream = islice(stream, (step - start) * self._training.batch, None)
        self._next_step = step + 1
        return list(islice(self._stream, self._training.batch))

    def _weights(self, phase: Phase) -> dict[int, float]:
        by_group = {"focus": phase.focus_weight, "rest": phase.rest_weight}
        groups = enumerate(concept.group for concept in self._pictures.concepts)
        return {index: by_group[group] for index, group in groups if group in by_group}

    def _background(self, rng: Random) -> int:
        """An index into BACKGROUNDS, whose first is white."""
        white = rng.random() < self._training.white_background_share
        return 0 if white else rng.randrange(len(BACKGROUNDS))

    def _caption(self, picture: int, background: int, rng: Random) -> str:
        concept, style = self._pictures.concepts[picture], self._pictures.styles[picture]
        return caption(concept, style, tuple(BACKGROUNDS)[background], self._keywords, rng)


def picture_stream(weights: dict[int, float], rng: Random) -> Iterator[int]:
    """The keys in shuffled passes without end; each turns up in a pass as often as its weight says, on average.

    The whole part of a weight is certain, the fraction is a chance: all pictures of a weight are seen equally often.
    """
    if not any(weight > 0.0 for weight in weights.values()):
        raise ValueError("every weight is 0, so that there is nothing to choose from")
    while True:
        order: list[int] = []
        for key, weight in weights.items():
            order += [key] * (int(weight) + (rng.random() < weight % 1.0))
        rng.shuffle(order)
        yield from order
