"""The fourth stage: CLIP's tokenizer, with a small vocabulary learned from captions.

The rules are CLIP's: lower case, words and runs of punctuation, bytes as letters, `</w>` at the end of a word (Radford
et al. 2021; byte-level BPE of Sennrich et al. 2016). The vocabulary is laid out as CLIP's too: 256 bytes, the same at
the end of a word, the merges in their order, begin and end of text.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from mezzotint.atomic_folder import replace_folder
from mezzotint.errors import MezzotintError

from .captions import Keywords, caption, load_keywords, read_emojilib
from .config import BACKGROUNDS, Recipe
from .pictures import Pictures, load_pictures
from .workspace import Workspace

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_CAPTIONS_OF_A_PICTURE, _COPIES_OF_A_NAME, _COPIES_OF_A_KEYWORD, _COPIES_OF_A_WORD = 6, 4, 2, 5
_COMMON_WORDS = (
    "a photo of a", "a drawing of", "picture", "cute", "small", "big", "simple", "icon", "illustration", "style",
    "cartoon", "the", "with", "and", "in", "next to",
)  # fmt: skip
_PLAIN_WORDS = re.compile(r"[a-z_ '0-9]+")

Merge = tuple[str, str]


def train_tokenizer(workspace: Workspace, recipe: Recipe) -> None:
    """Write the tokenizer's folder: tokenizer.json, and vocab.json with merges.txt."""
    pictures, keywords = load_pictures(workspace.pictures), load_keywords(workspace.keywords)
    corpus = list(_corpus(pictures, keywords, read_emojilib(workspace), Random(recipe.seed)))
    vocabulary, merges = learn_tokenizer(corpus, recipe.vocabulary)
    config = {
        "bos_token": BEGIN,
        "eos_token": END,
        "model_max_length": recipe.tokens,
        "pad_token": END,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": END,
    }
    with replace_folder(workspace.tokenizer, marker="tokenizer.json", overwrite=True) as staging:
        _write_json(staging / "vocab.json", vocabulary)
        merge_lines = "".join(f"{left} {right}\n" for left, right in merges)
        (staging / "merges.txt").write_text(f"#version: 0.2\n{merge_lines}", encoding="utf-8")
        _write_json(staging / "tokenizer_config.json", config)
        _write_json(staging / "special_tokens_map.json", {k: v for k, v in config.items() if k.endswith("_token")})
        _assemble(vocabulary, merges).save(str(staging / "tokenizer.json"))


def load_tokenizer(folder: Path, tokens: int) -> Tokenizer:
    """The tokenizer, set to pad and cut to `tokens` ids."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(END), pad_token=END, length=tokens)
    tokenizer.enable_truncation(tokens)
    return tokenizer


def learn_tokenizer(corpus: Sequence[str], size: int) -> tuple[dict[str, int], list[Merge]]:
    """`size` tokens with their ids, and the merges that make them, the most frequent first.

    MezzotintError when the corpus has too few words for that.
    """
    tokenizer = _split_as_clip(models.BPE(end_of_word_suffix=_WORD_END))
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        end_of_word_suffix=_WORD_END,
        initial_alphabet=sorted(letters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    learned = [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
    bytes_in_order = sorted(letters, key=lambda letter: (ord(letter) > 0xFF, letter))  # printable bytes, then the rest
    tokens = [*bytes_in_order, *(letter + _WORD_END for letter in bytes_in_order)]
    merged = list(dict.fromkeys(left + right for left, right in learned))
    known = set(tokens)
    tokens += [token for token in merged if token not in known]
    kept = tokens[: size - 2]
    if len(kept) < size - 2:
        raise MezzotintError(f"the captions give {len(kept) + 2} tokens, expected {size}; choose a smaller vocabulary")
    merges = [(left, right) for left, right in learned if {left, right, left + right} <= set(kept)]
    return {token: index for index, token in enumerate([*kept, BEGIN, END])}, merges


def _split_as_clip(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _assemble(vocabulary: dict[str, int], merges: Sequence[Merge]) -> Tokenizer:
    model = models.BPE(
        vocab=vocabulary,
        merges=list(merges),
        unk_token=END,
        continuing_subword_prefix="",
        end_of_word_suffix=_WORD_END,
        fuse_unk=False,
    )
    tokenizer = _split_as_clip(model)
    begin, end = (BEGIN, vocabulary[BEGIN]), (END, vocabulary[END])
    tokenizer.post_processor = processors.RobertaProcessing(end, begin, trim_offsets=False, add_prefix_space=False)
    tokenizer.add_special_tokens([BEGIN, END])
    return tokenizer


def _corpus(pictures: Pictures, keywords: Keywords, emoji: Sequence[Sequence[str]], rng: Random) -> Iterator[str]:
    """Captions, and words that prompts may have besides."""
    backgrounds = tuple(BACKGROUNDS)
    for concept, style in zip(pictures.concepts, pictures.styles, strict=True):
        for _ in range(_CAPTIONS_OF_A_PICTURE):
            yield caption(concept, style, rng.choice(backgrounds), keywords, rng)
    for concept in dict.fromkeys(pictures.concepts):
        yield from [concept.name] * _COPIES_OF_A_NAME
        yield from [*keywords.get(concept.icon, ())] * _COPIES_OF_A_KEYWORD
    yield from (word.replace("_", " ") for words in emoji for word in words if _PLAIN_WORDS.fullmatch(word))
    yield from _COMMON_WORDS * _COPIES_OF_A_WORD


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
