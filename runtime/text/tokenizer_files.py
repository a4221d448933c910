"""The files of a CLIP tokenizer, in every form that checkpoints have them.

tokenizer_config.json names the special tokens and the window. The vocabulary is in tokenizer.json, which the
`tokenizers` library reads as it is, or in vocab.json + merges.txt, from which CLIP's pipeline is built here. Older
checkpoints override the special tokens in special_tokens_map.json: Stable Diffusion 2 pads with "!" that way. Words
that were added to the vocabulary, as textual inversion does, are listed in tokenizer.json, in the config or, by older
versions of transformers and again by newer ones, in added_tokens.json.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from mezzotint.errors import MezzotintError
from mezzotint.small_file import read_small_file

_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"
_SPECIAL_TOKENS = {"bos_token": _BOS, "eos_token": _EOS, "unk_token": _EOS, "pad_token": _EOS}  # CLIP's defaults
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_END = "</w>"  # of a word
_MOST_UNMADE = 0.1  # of a vocabulary: signs, and words that somebody wrote into it
_MATCHING = ("single_word", "lstrip", "rstrip", "normalized")
_MOST_MERGES = 49152 - 256 - 2  # CLIP reads no more than its own vocabulary needs beside bytes and special tokens
_WIDEST_WINDOW = 65536  # transformers writes 1e30 for "no limit", which is no width to pad to


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files say: a backend that neither pads nor cuts, and the row that ids are to be laid out in."""

    backend: Tokenizer
    window: int
    bos_id: int
    eos_id: int
    pad_id: int


def read_tokenizer(folder: Path) -> TokenizerFiles:
    """Read a checkpoint's tokenizer folder. Raises MezzotintError for files that are missing, broken or not CLIP's."""
    config = _read_config(folder)
    try:
        specials = {role: _added_token(config.get(role) or default) for role, default in _SPECIAL_TOKENS.items()}
        backend = _read_backend(folder, specials["unk_token"].content)
        backend.no_padding()
        backend.no_truncation()
        _add_tokens(backend, config, specials, folder)
    except MezzotintError:
        raise
    except Exception as error:  # the tokenizers library raises nothing narrower
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MezzotintError(f"the vocabulary in {folder} cannot be read: {reason:.300}") from error
    ids = {role: backend.token_to_id(token.content) for role, token in specials.items()}
    return TokenizerFiles(backend, _window(config, folder), ids["bos_token"], ids["eos_token"], ids["pad_token"])


def _read_config(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, with special_tokens_map.json over it unless the config lists the added tokens itself."""
    config = _read_object(folder / "tokenizer_config.json")
    kind = config.get("tokenizer_class", "CLIPTokenizer")
    if kind not in ("CLIPTokenizer", "CLIPTokenizerFast"):
        raise MezzotintError(f"{folder} has a {kind!s:.40}; only CLIPTokenizer is supported")
    if config.get("padding_side", "right") != "right" or config.get("truncation_side", "right") != "right":
        raise MezzotintError(f"{folder}/tokenizer_config.json pads or cuts at the left; CLIP does both at the right")
    overrides = folder / "special_tokens_map.json"
    if "added_tokens_decoder" not in config and overrides.exists():
        config |= _read_object(overrides)
    return config


def _read_backend(folder: Path, unknown: str) -> Tokenizer:
    whole, vocabulary, merges = folder / "tokenizer.json", folder / "vocab.json", folder / "merges.txt"
    if whole.exists():
        return Tokenizer.from_buffer(read_small_file(whole))
    missing = [file.name for file in (vocabulary, merges) if not file.exists()]
    if missing:
        raise MezzotintError(
            f"{folder} has no tokenizer.json, and of vocab.json and merges.txt no {', '.join(missing)}"
        )
    # The first line is a header. A merge is two tokens that become one.
    text = read_small_file(merges).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    pairs = [_merge(line) for line in text.strip().split("\n")[1 : 1 + _MOST_MERGES]]
    tokens = _read_object(vocabulary)
    backend = _clip_pipeline(tokens, pairs, unknown)
    _check_whole(folder, tokens, pairs)
    return backend


def _check_whole(folder: Path, vocabulary: Mapping[str, object], merges: Sequence[tuple[str, str]]) -> None:
    """Raise MezzotintError for merges that were cut off: words would come in pieces that the model hardly knows."""
    made = {left + right for left, right in merges}
    lost = sum(len(token.removesuffix(_END)) > 1 and token not in made for token in vocabulary)
    if lost > _MOST_UNMADE * len(vocabulary):
        raise MezzotintError(
            f"{folder}/merges.txt has {len(merges)} merges, which make all but {lost} of the {len(vocabulary)} tokens "
            "in vocab.json: it was cut off, or is of another tokenizer; download both again"
        )


def _clip_pipeline(vocabulary: dict[str, int], merges: list[tuple[str, str]], unknown: str) -> Tokenizer:
    """CLIP's normalization, its split into words, then byte-level BPE with a mark at the end of each word."""
    model = BPE(vocabulary, merges, unk_token=unknown, continuing_subword_prefix="", end_of_word_suffix=_END)
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return backend


def _add_tokens(
    backend: Tokenizer, config: Mapping[str, Any], specials: Mapping[str, AddedToken], folder: Path
) -> None:
    """Make the config's tokens ones that are found whole within a text. What is added first stays as it is."""
    for index, token in _listed_tokens(config, folder):
        _add_token(backend, token, index, folder)
    special = {
        token.content for token in (*specials.values(), *_extra_tokens(config, "additional_special_tokens", folder))
    }
    for content, index in _read_added_tokens(folder):
        is_special = content in special
        _add_token(backend, AddedToken(content, special=is_special, normalized=not is_special), index, folder)
    for role, token in specials.items():
        if backend.token_to_id(token.content) is None:
            raise MezzotintError(f"{folder} names {token.content!r} as {role}, but its vocabulary does not have it")
        backend.add_special_tokens([token])
    _refuse_unknown_extras(backend, config, folder)


def _add_token(backend: Tokenizer, token: AddedToken, index: int, folder: Path) -> None:
    """Add what is not there yet; an id that differs from the stated one would be another row of the embeddings."""
    if token.content not in {known.content for known in backend.get_added_tokens_decoder().values()}:
        backend.add_tokens([token])
    got = backend.token_to_id(token.content)
    if got != index:
        raise MezzotintError(
            f"{folder} gives {token.content!r} the id {index}, but the vocabulary does not (it gives {got}); copy the "
            "tokenizer's files from one and the same checkpoint"
        )


def _listed_tokens(config: Mapping[str, Any], folder: Path) -> list[tuple[int, AddedToken]]:
    """Those of added_tokens_decoder by id; nothing where the config has no such list."""
    listed = config.get("added_tokens_decoder") or {}
    try:
        tokens = [(int(index), _added_token({**entry}, is_listed=True)) for index, entry in listed.items()]
    except (AttributeError, TypeError, ValueError):
        raise MezzotintError(
            f"{folder}/tokenizer_config.json has the added_tokens_decoder {listed!r:.60}, expected an object of tokens "
            "by their ids; save the tokenizer again with transformers"
        ) from None
    return sorted(tokens, key=lambda item: item[0])


def _read_added_tokens(folder: Path) -> list[tuple[str, int]]:
    """added_tokens.json by id; nothing where there is none."""
    file = folder / "added_tokens.json"
    added = _read_object(file) if file.exists() else {}
    for content, index in added.items():
        if type(index) is not int:
            raise MezzotintError(f"{file} gives {content!r} the id {index!r:.40}, expected a whole number")
    return sorted(added.items(), key=lambda item: item[1])


def _refuse_unknown_extras(backend: Tokenizer, config: Mapping[str, Any], folder: Path) -> None:
    """Further special tokens must be among the added ones already; others have no id that the files state."""
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    for option in ("additional_special_tokens", "extra_special_tokens"):
        unknown = [token.content for token in _extra_tokens(config, option, folder) if token.content not in added]
        if unknown:
            raise MezzotintError(
                f"{folder} has the {option} {', '.join(unknown)} without saying their ids; save the tokenizer again "
                "with transformers, which then lists them in tokenizer.json"
            )


def _extra_tokens(config: Mapping[str, Any], option: str, folder: Path) -> list[AddedToken]:
    extras = config.get(option) or []
    if not isinstance(extras, list | dict):
        raise MezzotintError(f"{folder} has the {option} {extras!r:.60}, expected a list or an object")
    return [_added_token(value) for value in (extras.values() if isinstance(extras, dict) else extras)]


def _added_token(value: object, *, is_listed: bool = False) -> AddedToken:
    """A special token, written as its text or as an object with its text and how it is matched.

    One that `is_listed` may be an ordinary word, and says so.
    """
    if isinstance(value, str):
        return AddedToken(value, special=True, normalized=True)
    if not isinstance(value, dict) or "content" not in value:
        raise MezzotintError(f"the tokenizer's special token {value!r:.60} must be a string or an object with content")
    known = (*_MATCHING, "special") if is_listed else _MATCHING
    matching = {"special": not is_listed} | {name: value[name] for name in known if name in value}
    if not isinstance(value["content"], str) or not all(isinstance(one, bool) for one in matching.values()):
        raise MezzotintError(
            f"the tokenizer's token {value!r:.60} must have a text as content, and {', '.join(known)} as true or false"
        )
    return AddedToken(value["content"], **matching)


def _merge(line: str) -> tuple[str, str]:
    left, right = line.split()
    return left, right


def _window(config: Mapping[str, Any], folder: Path) -> int:
    window = config.get("model_max_length")
    if not isinstance(window, int) or not 2 <= window <= _WIDEST_WINDOW:
        raise MezzotintError(
            f"{folder}/tokenizer_config.json: model_max_length must be an integer of 2 to {_WIDEST_WINDOW}, the text "
            f"encoder's window, got {window!r:.40}"
        )
    return window


def _read_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_small_file(file).decode("utf-8"))
    except OSError as error:
        raise MezzotintError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise MezzotintError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise MezzotintError(f"{file} must hold a JSON object")
    return content
