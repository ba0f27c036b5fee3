"""The classifier: cheap heads at once, the embedding only where the cheap ones can't tell the intent.

`quick` is a plain function of microseconds: language, complexity, risk, and the intent where its spelling settles it.
`classify` awaits an embedding beyond that, once, for a channel that declares intents. An embedder that fails costs
certainty, never the request: the spelling's judgement stands, and `because` says by what it was made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from importlib import resources
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np

from trimtab.core.canonical import canonical
from trimtab.core.clock import Clock
from trimtab.core.decision import Feature, Features
from trimtab.core.request import Message
from trimtab.core.tenancy import Channel, Tenant
from trimtab.dataplane.classify import complexity, cues, language, risk
from trimtab.dataplane.classify.intents import DECIDES, Floats, IntentModel, examples
from trimtab.dataplane.classify.text import Turn, last_turn
from trimtab.foundations.embed import Embedder, KeptVectors, Vectors, cleaned, digest

Name = Literal["language", "intent", "complexity", "risk"]
ALL: Final[frozenset[Name]] = frozenset({"language", "intent", "complexity", "risk"})
_PLAUSIBLE = 0.1  # share from which a language's cues are looked for
_HEAD, _TAIL = 280, 120  # characters of a turn that its intent is told by; longer ones cost 0.3 ms each to embed
_UNKNOWN = Features()
_REMEMBERED: Final = 4096
"""Turns; then all of them are forgotten."""

_log = logging.getLogger(__name__)


class Prepared(msgspec.Struct, frozen=True):
    """Intent models of one configuration, by (tenant, channel). `problem`: why they have no embeddings, if so."""

    models: Mapping[tuple[str, str], IntentModel]
    problem: str | None = None


class _Open(NamedTuple):
    """A question whose spelling does not settle what it asks for."""

    text: str
    model: IntentModel
    scores: Floats
    spelled: Feature


class Classifier:
    """One for a process. `embedder` None: intents by spelling alone. `kept`: vectors of examples, over restarts."""

    def __init__(self, clock: Clock, embedder: Embedder | None, kept: KeptVectors | None = None) -> None:
        self._clock, self._embedder, self._kept = clock, embedder, kept
        self._language = language.LanguageModel()
        self._background = _background()
        self._vectors: dict[str, Vectors] = {}
        self._models: dict[bytes, IntentModel] = {}
        self._seen: dict[tuple[bytes, Sequence[str], frozenset[Name]], Features] = {}

    async def prepare(self, tenants: Mapping[str, Tenant]) -> Prepared:
        """Embed and fit what is new in these tenants; texts and channels that were there before cost nothing. Never
        raises for what an embedder does: without one, or with a broken one, intents go by spelling."""
        declared = {
            (tenant.id, name): {intent: list(said) for intent, said in channel.intents.items() if said}
            for tenant in tenants.values()
            for name, channel in tenant.channels.items()
        }
        declared = {place: intents for place, intents in declared.items() if intents}
        vectors, problem = await self._embedded(declared.values())
        models: dict[tuple[str, str], IntentModel] = {}
        built: dict[bytes, IntentModel] = {}
        for place, intents in declared.items():
            digest = _digest(intents, vectors is not None)
            model = built.get(digest) or self._models.get(digest)
            if model is None:
                model = await self._clock.offload(self._fit, intents, vectors)
            models[place] = built[digest] = model
        self._models, self._vectors = built, vectors or {}
        return Prepared(models, problem)

    def quick(
        self,
        messages: Sequence[Message],
        tenant: Tenant,
        channel_name: str,
        channel: Channel,
        prepared: Prepared,
        *,
        need: frozenset[Name] = ALL,
    ) -> Features:
        """All that can be said without an embedding; `intent` only where the spelling settles it."""
        model = prepared.models.get((tenant.id, channel_name))
        return self._quick(last_turn(messages), tenant, channel, model, need)[0]

    async def classify(
        self,
        messages: Sequence[Message],
        tenant: Tenant,
        channel_name: str,
        channel: Channel,
        prepared: Prepared,
        *,
        need: frozenset[Name] = ALL,
    ) -> Features:
        """The features in `need` of the last user turn; None where nothing can be said, or nobody asked."""
        model = prepared.models.get((tenant.id, channel_name))
        features, open_ = self._quick(last_turn(messages), tenant, channel, model, need)
        return features if open_ is None else msgspec.structs.replace(features, intent=await self._meant(open_))

    def _quick(
        self, turn: Turn | None, tenant: Tenant, channel: Channel, model: IntentModel | None, need: frozenset[Name]
    ) -> tuple[Features, _Open | None]:
        """What needs no embedding, and the intent as far as spelling tells it, where that does not settle it."""
        if turn is None:
            return _UNKNOWN, None
        features = self._again(turn, channel.languages or tenant.languages, need)
        if "intent" not in need or model is None or not turn.text:
            return features, None
        text = excerpt(turn.text)
        scores = model.spelled(text)
        spelled = model.by_spelling(scores)
        if self._settles(spelled, model):
            return msgspec.structs.replace(features, intent=spelled), None
        return features, _Open(text, model, scores, spelled)

    async def _meant(self, asked: _Open) -> Feature:
        """By the embedding too."""
        if self._embedder is None:
            return asked.spelled
        try:
            rows = await self._embedder.queries([asked.text])
        except Exception:  # noqa: BLE001 - an engine may fail in any way, and the spelling has judged already
            _log.exception("no embedding: the intent is told by spelling")
            return asked.spelled
        return asked.model.by_meaning(asked.scores, rows[0])

    def _settles(self, spelled: Feature, model: IntentModel) -> bool:
        """Out of scope is never settled by spelling: other words, or another language, may mean an intent."""
        if not model.has_meaning:
            return True
        return spelled.value is not None and (spelled.confidence or 0.0) >= DECIDES

    def _again(self, turn: Turn, declared: Sequence[str], need: frozenset[Name]) -> Features:
        """What is asked often is judged once. Remembered by digest: texts are not kept."""
        said = f"{turn.turns} {turn.tools} {len(turn.before)} {turn.before}{turn.text}"
        key = (blake2b(said.encode(), digest_size=16).digest(), tuple(declared), need)
        features = self._seen.get(key)
        if features is None:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            features = self._seen[key] = self._heads(turn, declared, need)
        return features

    def _heads(self, turn: Turn, declared: Sequence[str], need: frozenset[Name]) -> Features:
        spoken, plausible = language.judge(self._language, turn.prose, turn.before, declared)
        found = feature_risk = feature_complexity = None
        if turn.text and need & {"complexity", "risk"}:
            found = cues.find(turn.text, _looked_at(plausible, declared))
            covered = sum(share for code, share in plausible.items() if code in cues.LANGUAGES) if plausible else 1.0
            if "risk" in need:
                feature_risk = risk.judge(found, covered=min(1.0, covered))
            if "complexity" in need:
                feature_complexity = complexity.judge(turn, found, covered=covered >= 0.5)
        return Features(
            language=spoken if "language" in need else None,
            complexity=feature_complexity,
            risk=feature_risk,
        )

    async def _embedded(
        self, declared: Iterable[Mapping[str, Sequence[str]]]
    ) -> tuple[dict[str, Vectors] | None, str | None]:
        """Vectors of all examples and of the background, by text; None and the reason where there are none."""
        texts = list(dict.fromkeys(text for intents in declared for text in examples(intents)))
        if not texts or self._embedder is None:
            return None, None
        wanted = dict.fromkeys([*texts, *self._background])
        before = self._vectors or await self._recalled(wanted)
        new = [text for text in wanted if text not in before]
        try:
            rows = await self._embedder.queries([excerpt(text) for text in new])
        except Exception as error:  # noqa: BLE001 - a configuration without embeddings still serves
            _log.exception("no embeddings: intents are told by spelling alone")
            return None, f"no embeddings: {error}"
        known = {**before, **dict(zip(new, rows, strict=True))}
        found = {text: known[text] for text in wanted}
        if new:
            await self._keep(found)
        return found, None

    async def _recalled(self, texts: Iterable[str]) -> dict[str, Vectors]:
        """Of these texts, what a process before this one has left."""
        if self._kept is None:
            return {}
        kept = await self._clock.offload(self._kept.read)
        return {text: kept[key] for text in texts if (key := digest(excerpt(text))) in kept}

    async def _keep(self, vectors: Mapping[str, Vectors]) -> None:
        if self._kept is None:
            return
        try:
            await self._clock.offload(self._kept.write, {digest(excerpt(text)): row for text, row in vectors.items()})
        except OSError as error:
            _log.warning("vectors of examples can't be kept, the next start embeds them again: %s", error)

    def _fit(self, intents: Mapping[str, Sequence[str]], vectors: Mapping[str, Vectors] | None) -> IntentModel:
        short = {name: [excerpt(text) for text in said] for name, said in intents.items()}
        if vectors is None:
            return IntentModel(short, self._background)
        rows = np.array([vectors[text] for text in examples(intents)])
        return IntentModel(short, self._background, rows, np.array([vectors[text] for text in self._background]))


def excerpt(text: str) -> str:
    """The start and the end of a text, where people say what they want."""
    text = cleaned(text, len(text))
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} {text[-_TAIL:]}"


def _looked_at(plausible: Mapping[str, float], declared: Sequence[str]) -> set[str]:
    """Languages whose cues count: what the text may be in, and while that is open, what it is likely to be in."""
    likely = {code for code, share in plausible.items() if share >= _PLAUSIBLE}
    if any(share >= 0.5 for share in plausible.values()):
        return likely
    return likely | {code.lower()[:2] for code in declared} if likely else set(cues.LANGUAGES)


def _digest(intents: Mapping[str, Sequence[str]], embedded: bool) -> bytes:
    return blake2b(canonical([embedded, list(intents.items())]), digest_size=16).digest()


def _background() -> tuple[str, ...]:
    text = resources.files(__package__).joinpath("data", "background.txt").read_text("utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
