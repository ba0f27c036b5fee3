"""Exact counts: the vocabulary of a GGUF built as a `tokenizers` BPE, equal to the engine's own `/tokenize`.

The pre-tokenizer is named by `tokenizer.ggml.pre`; the regular expressions are those of llama.cpp's `llama-vocab.cpp`.
A name that is not in the table is refused rather than guessed: a wrong split gives wrong counts that look right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

from trimtab.foundations.tokens.bound import prompt_bound
from trimtab.foundations.tokens.gguf import GgufError, metadata

_CONTROL, _USER_DEFINED = 3, 4  # llama_token_type: written out in a text, these are one token
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_DIGITS = r"\p{N}"

_SPLITS: Final[dict[str, tuple[str, ...]]] = {
    "gpt-2": (_GPT2,),
    "phi-2": (_GPT2,),
    "mpt": (_GPT2,),
    "olmo": (_GPT2,),
    "smollm": (_DIGITS, _GPT2),
    "starcoder": (_DIGITS, _GPT2),
    "refact": (_DIGITS, _GPT2),
    "command-r": (_DIGITS, _GPT2),
    "codeshell": (_DIGITS, _GPT2),
    "exaone": (_DIGITS, _GPT2),
    "llama-bpe": (_LLAMA3,),
    "llama3": (_LLAMA3,),
    "llama-v3": (_LLAMA3,),
    "qwen2": (_QWEN2,),
    "deepseek-r1-qwen": (_QWEN2,),
}
_WHOLE_WORDS_FIRST = frozenset({"llama-bpe", "llama3", "llama-v3"})
"""Where a piece that is itself in the vocabulary is not split and merged again (`ignore_merges`)."""


class BpeCounter:
    """A TokenCounter with the vocabulary of one model. Threads may share it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def from_gguf(cls, path: Path) -> BpeCounter:
        """Raises GgufError for a file, a vocabulary or a pre-tokenizer that we can't count exactly."""
        return cls(_build(metadata(path), path))

    @property
    def source(self) -> Literal["counted", "estimated"]:
        return "counted"

    def encode(self, text: str) -> list[int]:
        """The model's token numbers, without those that a template adds. A lone surrogate counts as `?`."""
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode("utf-8")
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def count(self, text: str) -> int:
        return len(self.encode(text))

    def written(self, text: str, pieces: int) -> int:
        return self.count(text)

    def upper_bound(self, messages: Iterable[Mapping[str, Any]], extra: Mapping[str, Any] | None = None) -> int | None:
        return prompt_bound(messages, extra)


def _build(header: Mapping[str, Any], path: Path) -> Tokenizer:
    kind, pre = header.get("tokenizer.ggml.model"), header.get("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2":
        raise GgufError(f"{path}: its vocabulary is of kind {kind}; only byte-level BPE (gpt2) is counted exactly")
    if pre not in _SPLITS:
        raise GgufError(f"{path}: pre-tokenizer {pre} is not known here; known are {', '.join(sorted(_SPLITS))}")
    tokens, merges = header["tokenizer.ggml.tokens"], header["tokenizer.ggml.merges"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[_pair(merge) for merge in merges],
            ignore_merges=pre in _WHOLE_WORDS_FIRST,
        )
    )
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in _SPLITS[pre]]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    kinds = header.get("tokenizer.ggml.token_type", [])
    special = [token for token, kind in zip(tokens, kinds, strict=False) if kind in (_CONTROL, _USER_DEFINED)]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return tokenizer


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right
