"""The GGUF reader and the counter built from it, against the engine's own words."""

from __future__ import annotations

import struct
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.serving import serving
from support.texts import corpus
from trimtab.foundations.tokens import GgufError, gguf_counter, prompt_bound
from trimtab.foundations.tokens.bpe import BpeCounter
from trimtab.foundations.tokens.gguf import metadata
from trimtab.surfaces.processes import bundled_model

Post = Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    """The embedded engine, asked by POST."""
    with serving(tmp_path_factory.mktemp("ws"), "small=bundled", "--real-engines") as server:
        small = server.settled().engine("small")
        assert small.url is not None
        url, headers = small.url, {"authorization": f"Bearer {small.api_key}", "content-type": "application/json"}

        def post(path: str, body: Any) -> Any:
            request = urllib.request.Request(url + path, msgspec.json.encode(body), headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                return msgspec.json.decode(answer.read())

        yield post


@pytest.fixture(scope="module")
def counter() -> BpeCounter:
    """The counter of the bundled model."""
    return BpeCounter.from_gguf(bundled_model())


@pytest.mark.engine
def test_counts_are_the_engines_own(engine: Post, counter: BpeCounter) -> None:
    """The same token numbers as `/tokenize` for hundreds of texts in 18 languages, code, numbers, emoji and noise."""
    texts = corpus()
    assert len(texts) > 350
    differing = [t for t in texts if counter.encode(t) != engine("/tokenize", {"content": t})["tokens"]]
    assert differing == []


BODIES: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "hi"}]},
    {"messages": []},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            *({"role": "user", "content": "é" * n} for n in range(9)),
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "w", "arguments": '{"city":["Paris",1,2]}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "rain"},
        ],
        "tools": [{"type": "function", "function": {"name": "w", "parameters": {"type": "object", "properties": {}}}}],
    },
]


@pytest.mark.engine
@pytest.mark.parametrize("body", BODIES)
def test_a_rendered_prompt_stays_under_its_bound(engine: Post, counter: BpeCounter, body: dict[str, Any]) -> None:
    """The engine's own template, rendered and counted, never passes the bound."""
    rendered = engine("/apply-template", body)["prompt"]
    bound = prompt_bound(body["messages"], {k: v for k, v in body.items() if k != "messages"})
    assert bound is not None
    assert counter.count(rendered) <= bound


@pytest.mark.engine
def test_texts_of_all_kinds_stay_under_the_bound(engine: Post, counter: BpeCounter) -> None:
    """For every text of the corpus: rendered by the engine, its tokens fit the bound."""
    for text in corpus(more=20):
        body = {"messages": [{"role": "user", "content": text}]}
        bound = prompt_bound(body["messages"])
        assert bound is not None
        assert counter.count(engine("/apply-template", body)["prompt"]) <= bound, text


def test_no_text_has_more_tokens_than_bytes(counter: BpeCounter) -> None:
    """What makes the bound a bound: byte-level BPE only merges."""
    assert all(counter.count(text) <= len(text.encode()) for text in corpus())
    assert counter.source == "counted"
    assert counter.count("\ud800") == 1


def pair(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def strings(*texts: str) -> bytes:
    return struct.pack("<IQ", 8, len(texts)) + b"".join(string(t) for t in texts)


def gguf(*pairs: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(pairs)) + b"".join(pairs)


VOCABULARY = [
    pair("tokenizer.ggml.model", 8, string("gpt2")),
    pair("tokenizer.ggml.tokens", 9, strings("a", "b", "ab", "<s>")),
    pair("tokenizer.ggml.merges", 9, strings("a b")),
    pair("tokenizer.ggml.token_type", 9, struct.pack("<IQ4i", 5, 4, 1, 1, 1, 3)),
]


def test_a_small_vocabulary_is_built_as_it_is_written(tmp_path: Path) -> None:
    """Merges merge, special tokens written out are one token, the default pre-tokenizer is GPT-2's."""
    (tmp_path / "m.gguf").write_bytes(gguf(*VOCABULARY))
    assert BpeCounter.from_gguf(tmp_path / "m.gguf").encode("abab<s>b") == [2, 2, 3, 1]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "too short"),
        (b"PK" + bytes(100), "its first four bytes"),
        (gguf(version=9) + bytes(9), "version 9"),
        (gguf(pair("x", 99, b"")), "damaged"),
        (gguf(pair("x", 9, struct.pack("<IQ", 8, 1 << 60))), "more than the file has bytes"),
        (gguf(pair("x", 8, struct.pack("<Q", 1 << 60))), "beyond its own end"),
        (gguf(pair("tokenizer.ggml.model", 8, string("llama"))), "only byte-level BPE"),
        (gguf(*VOCABULARY, pair("tokenizer.ggml.pre", 8, string("tekken"))), "pre-tokenizer tekken is not known"),
    ],
)
def test_what_cannot_be_counted_exactly_is_refused_with_the_reason(tmp_path: Path, data: bytes, why: str) -> None:
    """A damaged file, a foreign vocabulary or an unknown split is an error that says which, never a wrong count."""
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(GgufError, match=why):
        gguf_counter(tmp_path / "m.gguf")


def test_a_header_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """Whatever byte the file ends at, reading says so instead of giving half a vocabulary."""
    whole = gguf(*VOCABULARY)
    path = tmp_path / "m.gguf"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(GgufError):
            metadata(path)
