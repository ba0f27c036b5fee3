"""A channel with a corpus: passages in the prompt, sources in the answer, tokens and money that count them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from support.gateway import Edit, Gateway, replaced, text_of
from support.upstream import Script, ScriptedUpstream, stream, usage
from trimtab.dataplane.retrieval import build, read_corpus
from trimtab.foundations.embed import HashEmbedder
from trimtab.surfaces.twin import run_virtual

CORPUS = {
    "returns.en.md": "# Returns\n\n## Shoes\n\nShoes can be returned within 45 days.\n\n"
    "## Sale\n\nSale items are final.\n"
}


RIGHT = "Shoes can be returned within 45 days."
QUESTION = "How many days do I have to return shoes?"


def says(text: str) -> Script:
    """An upstream that answers everything with this."""
    return lambda _: stream([text], usage(50, 9))


class Rag(Gateway):
    """A gateway whose channel `web` answers from a corpus."""

    def __init__(self, folder: Path, small: str, *edits: Edit) -> None:
        edit = replaced(
            "tenants/shop.yaml", "    cache: {reuse", "    corpus: help\n    emit: answer\n    cache: {reuse"
        )
        super().__init__(folder, small, None, edit, *edits)

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
        async with ScriptedUpstream(says(RIGHT)) as up, Rag(tmp_path, up.url) as gateway:
            got = await gateway.ask(QUESTION)
            sent = up.requests[0].json["messages"][-1]["content"]
            assert "45 days" in sent
            assert sent.endswith(QUESTION)
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
        async with ScriptedUpstream(says(RIGHT)) as up, Rag(tmp_path, up.url) as gateway:
            await gateway.ask(QUESTION, "trimtab-latency-ms: 500")
            assert gateway.last.path == "direct"
            assert "45 days" not in up.requests[0].json["messages"][-1]["content"]

    run_virtual(main)


def test_a_caller_in_a_hurry_is_not_told_anything_else(tmp_path: Path) -> None:
    """Whoever tightens the latency gets no answer that the passages don't support: they are looked at all the same."""

    async def main() -> None:
        async with (
            ScriptedUpstream(says("You can return shoes within 90 days.")) as up,
            Rag(tmp_path, up.url) as gateway,
        ):
            got = await gateway.ask(QUESTION, "trimtab-latency-ms: 500")
            assert "45 days" not in up.requests[0].json["messages"][-1]["content"]
            assert got.json["choices"][0]["message"]["content"].startswith("It says: Shoes can be returned within 45")
            assert (gateway.last.path, gateway.last.tokens.retrieved) == ("template", 0)

    run_virtual(main)


EXTRACTIVE = [
    replaced("models.yaml", "small: {endpoint", "small: {dialect: llamacpp, endpoint"),
    replaced("models.yaml", "max_tokens: 200}", "max_tokens: 200, passages: 1, extractive: true}"),
]


def test_an_extractive_variant_may_only_say_what_could_leave(tmp_path: Path) -> None:
    """It is shown one passage; the grammar has its sentences that answer, and no other text."""

    async def main() -> None:
        async with ScriptedUpstream(says(RIGHT)) as up, Rag(tmp_path, up.url, *EXTRACTIVE) as gateway:
            got = await gateway.ask(QUESTION)
            assert got.json["choices"][0]["message"]["content"] == RIGHT
            sent = up.requests[0].json
            assert sent["grammar"] == f'root ::= "{RIGHT}"'
            assert "Sale items" not in sent["messages"][-1]["content"]

    run_virtual(main)


def test_an_extractive_variant_without_passages_is_not_asked(tmp_path: Path) -> None:
    """A caller in a hurry gets the quote at once: what the model would say without passages could not leave."""

    async def main() -> None:
        async with ScriptedUpstream(says(RIGHT)) as up, Rag(tmp_path, up.url, *EXTRACTIVE) as gateway:
            got = await gateway.ask(QUESTION, "trimtab-latency-ms: 500")
            assert RIGHT in got.json["choices"][0]["message"]["content"]
            assert got.json["trimtab"]["template"] == "quote"
            assert up.requests == []
            assert any(rule.id == "tight-latency-goes-direct" and rule.hit for rule in gateway.last.rules)

    run_virtual(main)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_where_no_sentence_could_leave_no_model_is_asked(streamed: bool, tmp_path: Path) -> None:
    """What stands in for the answer comes at once and costs nothing; the record says why, and nothing stays held."""

    async def main() -> None:
        async with ScriptedUpstream(says(RIGHT)) as up, Rag(tmp_path, up.url, *EXTRACTIVE) as gateway:
            got = await gateway.ask("Can shoes that were worn be returned?", stream=streamed)
            said = text_of(got.body) if streamed else got.json["choices"][0]["message"]["content"]
            assert said == "It says: Shoes can be returned within 45 days. (returns.en.md#shoes)"
            assert up.requests == []
            record = gateway.last
            assert (record.path, record.attempts, record.cost.settled_nanousd) == ("template", [], 0)
            assert record.plans[0].outcome == "not asked: no sentence answers"
            assert record.rule == "ungrounded-answer-is-quoted"
            assert gateway.settled_nanousd() == 0

    run_virtual(main)


@pytest.mark.parametrize("own", [{"response_format": {"type": "json_object"}}, {"grammar": 'root ::= "x"'}])
def test_a_format_of_the_callers_own_goes_before_extraction(own: dict[str, object], tmp_path: Path) -> None:
    """Two grammars can't both hold; the answer is then compared as any other is."""

    async def main() -> None:
        async with ScriptedUpstream(says(RIGHT)) as up, Rag(tmp_path, up.url, *EXTRACTIVE) as gateway:
            await gateway.ask(QUESTION, **own)
            assert up.requests[0].json.get("grammar") == own.get("grammar")

    run_virtual(main)


def test_a_plan_dearer_than_its_cap_takes_fewer_passages(tmp_path: Path) -> None:
    """Rule 3, second step: retrieval is cut before the answer is refused."""

    async def main() -> None:
        async with ScriptedUpstream(says(RIGHT)) as up, Rag(tmp_path, up.url) as gateway:
            got = await gateway.ask(QUESTION, "trimtab-max-cost-usd: 0.0012")
            assert got.status == 200
            assert gateway.last.plans[0].degradations == ["retrieval"]
            assert (gateway.last.cost.reserved_nanousd or 0) <= 1_200_000

    run_virtual(main)


def test_another_index_is_another_answer(tmp_path: Path) -> None:
    """The cache's key holds the index's name: a changed document is never answered from before."""

    async def main() -> None:
        async with ScriptedUpstream(says(RIGHT)) as up, Rag(tmp_path, up.url) as gateway:
            await gateway.ask(QUESTION)
            await gateway.ask(QUESTION)
            changed = [
                msgspec.structs.replace(one, text=one.text + " Ask us.")
                for one in read_corpus(tmp_path / "corpora" / "help")
            ]
            stored = await build(changed, HashEmbedder())
            gateway.plane.configuration = msgspec.structs.replace(
                gateway.plane.configuration, corpora={"help": stored.corpus("help")}
            )
            await gateway.ask(QUESTION)
            assert [record.path for record in gateway.records] == ["rag", "cache-exact", "rag"]

    run_virtual(main)


@pytest.mark.parametrize(
    "wrong",
    [
        "Shoes can be returned within 30 days.",
        "Shoes can not be returned within 45 days.",
        "Shirts can be returned within 45 days.",
        "Schuhe sind toll und bunt und gut.",
    ],
    ids=["number", "negation", "entity", "another language"],
)
def test_an_answer_that_its_passages_do_not_support_is_replaced_by_a_quote(wrong: str, tmp_path: Path) -> None:
    """Streamed or not, nothing of it leaves; the best passage does, with its source; nothing of it is stored."""

    async def main() -> None:
        async with ScriptedUpstream(says(wrong)) as up, Rag(tmp_path, up.url) as gateway:
            whole = await gateway.ask(QUESTION)
            streamed = await gateway.ask(QUESTION, stream=True)
            expected = "It says: Shoes can be returned within 45 days. (returns.en.md#shoes)"
            assert whole.json["choices"][0]["message"]["content"] == expected == text_of(streamed.body)
            assert whole.json["trimtab"]["sources"] == [{"source": "returns.en.md#shoes", "title": ""}]
            record = gateway.last
            assert (record.path, record.finish_reason, record.status) == ("template", "stop", 200)
            row = next(row for row in record.guards if row.check == "grounded")
            assert (row.hits, row.action) == (1, "quoted")
            assert len(up.requests) == 2
            assert record.cost.settled_nanousd

    run_virtual(main)


def test_a_supported_answer_leaves_as_it_is(tmp_path: Path) -> None:
    """And says so in the record; a stream holds it back until it has been compared."""

    async def main() -> None:
        async with ScriptedUpstream(says(RIGHT)) as up, Rag(tmp_path, up.url) as gateway:
            got = await gateway.ask(QUESTION, stream=True)
            assert text_of(got.body) == RIGHT
            row = next(row for row in gateway.last.guards if row.check == "grounded")
            assert (row.hits, row.action) == (0, "none")
            assert gateway.last.path == "rag"

    run_virtual(main)


def test_a_question_that_the_passages_are_not_about_is_refused(tmp_path: Path) -> None:
    """By template, not quoted, whatever the model said."""

    async def main() -> None:
        async with ScriptedUpstream(says("The capital of France is Paris.")) as up, Rag(tmp_path, up.url) as gateway:
            got = await gateway.ask("Who won the football world cup in 1954?")
            choice = got.json["choices"][0]
            assert (choice["message"]["content"], choice["finish_reason"]) == (
                "That is not ours to answer.",
                "content_filter",
            )
            row = next(row for row in gateway.last.guards if row.check == "grounded")
            assert row.action == "refused"

    run_virtual(main)


def test_without_its_index_a_channel_says_when_to_come_back(tmp_path: Path) -> None:
    """No model makes something up meanwhile: 503 with Retry-After, and nothing is sent or held."""
    edit = replaced("tenants/shop.yaml", "    cache: {reuse", "    corpus: help\n    emit: answer\n    cache: {reuse")

    async def main() -> None:
        pages = tmp_path / "corpora" / "help"
        pages.mkdir(parents=True)
        (pages / "returns.en.md").write_text(CORPUS["returns.en.md"])
        async with ScriptedUpstream(says(RIGHT)) as up, Gateway(tmp_path, up.url, None, edit) as gateway:
            got = await gateway.ask(QUESTION)
            assert (got.status, got.json["error"]["code"], got.headers["retry-after"]) == (503, "no_replica", "1")
            assert up.requests == []

    run_virtual(main)
