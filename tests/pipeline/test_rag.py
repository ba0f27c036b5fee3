"""A channel with a corpus: passages in the prompt, sources in the answer, tokens and money that count them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from support.gateway import Gateway, replaced
from support.upstream import ScriptedUpstream
from trimtab.dataplane.retrieval import build, read_corpus
from trimtab.foundations.embed import HashEmbedder
from trimtab.surfaces.twin import run_virtual

CORPUS = {
    "returns.en.md": "# Returns\n\n## Shoes\n\nShoes can be returned within 45 days.\n\n"
    "## Sale\n\nSale items are final.\n"
}


class Rag(Gateway):
    """A gateway whose channel `web` answers from a corpus."""

    def __init__(self, folder: Path, small: str) -> None:
        edit = replaced(
            "tenants/shop.yaml", "    cache: {reuse", "    corpus: help\n    emit: answer\n    cache: {reuse"
        )
        super().__init__(folder, small, None, edit)

    async def __aenter__(self) -> Rag:
        corpora = self.folder / "corpora" / "help"
        corpora.mkdir(parents=True)
        for file, text in CORPUS.items():
            (corpora / file).write_text(text)
        await super().__aenter__()
        stored = await build(read_corpus(corpora), HashEmbedder())
        plane = self.plane
        plane.configuration = msgspec.structs.replace(plane.configuration, corpora={"help": stored.corpus("help")})
        return self


def test_passages_reach_the_model_and_sources_the_caller(tmp_path: Path) -> None:
    """Path rag, the passage in front of the question, its source and its tokens in answer and record."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Rag(tmp_path, up.url) as gateway:
            got = await gateway.ask("how many days for shoes")
            sent = up.requests[0].json["messages"][-1]["content"]
            assert "45 days" in sent
            assert sent.endswith("how many days for shoes")
            assert got.headers["trimtab-path"] == "rag"
            assert got.json["trimtab"]["sources"][0] == {"source": "returns.en.md#shoes", "title": "Returns > Shoes"}
            record = gateway.last
            assert record.tokens.retrieved
            assert "retrieve" in record.stages
            assert record.plans[0].path == "rag"

    run_virtual(main)


def test_a_tight_latency_forbids_retrieval(tmp_path: Path) -> None:
    """Rule 2: the plan is direct, and no passage is sent."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Rag(tmp_path, up.url) as gateway:
            await gateway.ask("how many days for shoes", "trimtab-latency-ms: 500")
            assert gateway.last.path == "direct"
            assert "45 days" not in up.requests[0].json["messages"][-1]["content"]

    run_virtual(main)


def test_a_plan_dearer_than_its_cap_takes_fewer_passages(tmp_path: Path) -> None:
    """Rule 3, second step: retrieval is cut before the answer is refused."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Rag(tmp_path, up.url) as gateway:
            got = await gateway.ask("how many days for shoes", "trimtab-max-cost-usd: 0.0012")
            assert got.status == 200
            assert gateway.last.plans[0].degradations == ["retrieval"]
            assert (gateway.last.cost.reserved_nanousd or 0) <= 1_200_000

    run_virtual(main)


def test_another_index_is_another_answer(tmp_path: Path) -> None:
    """The cache's key holds the index's name: a changed document is never answered from before."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Rag(tmp_path, up.url) as gateway:
            await gateway.ask("how many days for shoes")
            await gateway.ask("how many days for shoes")
            changed = [
                msgspec.structs.replace(one, text="30 days.") for one in read_corpus(tmp_path / "corpora" / "help")
            ]
            stored = await build(changed, HashEmbedder())
            gateway.plane.configuration = msgspec.structs.replace(
                gateway.plane.configuration, corpora={"help": stored.corpus("help")}
            )
            await gateway.ask("how many days for shoes")
            assert [record.path for record in gateway.records] == ["rag", "cache-exact", "rag"]

    run_virtual(main)
