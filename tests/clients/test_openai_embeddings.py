"""OpenAI's synchronous client and vectors: what it decodes is what the gateway's embedder gave."""

from __future__ import annotations

import base64

import numpy as np
import openai
import pytest

from clients.python_client import TIMEOUT_S
from clients.stage import Stage

pytestmark = pytest.mark.clients

TEXTS = ["good morning", "guten Morgen, Welt", "早上好"]


@pytest.mark.parametrize("form", ["default", "float", "base64"])
def test_the_client_gets_the_embedders_vectors(stage: Stage, form: str) -> None:
    """By default it asks for base64 and decodes it; asked for numbers it gets the same ones."""
    embedder = stage.gateway.plane.embedder
    own = stage.servers.run(embedder.queries(TEXTS))
    passages = stage.servers.run(embedder.passages(TEXTS[:1]))
    side = stage.through
    with openai.OpenAI(base_url=side.url, api_key=side.key, max_retries=0, timeout=TIMEOUT_S) as client:
        model = embedder.name
        if form == "default":
            got = client.embeddings.create(model=model, input=TEXTS)
        elif form == "float":
            got = client.embeddings.create(model=model, input=TEXTS, encoding_format="float")
        else:
            packed = client.embeddings.create(model=model, input=TEXTS, encoding_format="base64")
            rows = [np.frombuffer(base64.b64decode(str(row.embedding)), "<f4") for row in packed.data]
            assert np.array_equal(rows, own)  # asked for by name it is the caller's to decode
            return
        assert np.array_equal(np.array([row.embedding for row in got.data], np.float32), own)
        assert [row.index for row in got.data] == [0, 1, 2]
        assert (got.object, got.model, got.usage.prompt_tokens, got.usage.total_tokens) == ("list", model, 6, 6)
        single = client.embeddings.create(model="auto", input=TEXTS[0], extra_body={"input_type": "passage"})
        assert np.array_equal(np.array(single.data[0].embedding, np.float32), passages[0])


def test_the_client_is_told_what_it_did_wrong(stage: Stage) -> None:
    """Its own exceptions, by status: a model that is not there, token ids, a wrong key."""
    side = stage.through
    with openai.OpenAI(base_url=side.url, api_key=side.key, max_retries=0, timeout=TIMEOUT_S) as client:
        with pytest.raises(openai.NotFoundError) as missing:
            client.embeddings.create(model="text-embedding-3-small", input="x")
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError, match="token ids"):
            client.embeddings.create(model="auto", input=[1, 2, 3])
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="sk-wrong").embeddings.create(model="auto", input="x")
