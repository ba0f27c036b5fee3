"""Choice: what the replicas of a model are believed to hold of a prompt, so that a gate can reckon which of them would
answer soonest.

The index says what was sent where. It is corrected by what engines tell (`usage.cached`): a block that was believed to
be held and was not, has made room for others, and so has all that was used longer ago. How much of what is believed is
there in the end is kept for each replica (`trust`): an engine that keeps no prefixes is soon believed to hold none.
A replica that is started again, or is another one under the same name, holds nothing.

An engine that publishes KV events (`kv_events`) says more: what it holds less than is believed, and that all is gone.

What a replica costs is the gate's affair (`admission.Replica.cost_ms`): it knows what runs there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trimtab.core.money import Usage
from trimtab.dataplane.inference.fleet import Replica
from trimtab.dataplane.inference.kv_events import Holding
from trimtab.dataplane.inference.prefix import Held, Prompt

LEARN: Final = 0.1
"""Weight of the newest report in what is trusted."""
SLACK: Final = 0.1
"""Share of a prompt by which a report may lie below what was believed without contradicting it: bytes are not tokens,
and an engine's blocks end elsewhere."""


class Belief(msgspec.Struct, frozen=True):
    """What replicas held of a prompt when they were asked for: blocks by replica. `uses`: how many prompts had been
    placed by then."""

    prompt: Prompt
    blocks: Mapping[str, int]
    shares: Mapping[str, float]
    """Of the prompt, that each is trusted to hold; who holds nothing is not named."""
    uses: int


class Placed(msgspec.Struct, frozen=True):
    """A prompt that a replica has taken in: what was believed, and when each of its blocks had been used before."""

    belief: Belief
    replica: Replica
    before: tuple[int, ...]


class _Known:
    """One replica as it is there now."""

    def __init__(self, replica: Replica, tokens: float) -> None:
        self.replica, self.held, self.trust = replica, Held(tokens), 1.0
        self.most = 0
        """Tokens that its engine has said to hold, at the most."""


class Choice:
    """Of all models. Of one with a single replica nothing is kept: there is nothing to choose."""

    def __init__(self) -> None:
        self._models: dict[str, dict[str, _Known]] = {}
        self._uses = 0

    def update(self, models: Mapping[str, Sequence[Replica]], tokens: Mapping[str, float]) -> None:
        """The replicas that are there now, and how many tokens one of each model can hold. What is known of those that
        were there is kept."""
        before, self._models = self._models, {}
        for model, replicas in models.items():
            old = before.get(model, {})
            own = self._models[model] = {}
            for replica in replicas:
                known = old.get(replica.id)
                if known is None or known.replica != replica:
                    known = _Known(replica, tokens[model])
                known.held.room = max(tokens[model], known.most)
                own[replica.id] = known

    def is_open(self, model: str) -> bool:
        """Whether there is more than one."""
        return len(self._models.get(model, ())) > 1

    def look(self, model: str, prompt: Prompt) -> Belief:
        """What its replicas hold of the prompt now."""
        blocks, shares = {}, {}
        for name, known in self._models.get(model, {}).items():
            count = known.held.match(prompt.blocks)
            if count:
                blocks[name] = count
                shares[name] = prompt.share(count) * known.trust
        return Belief(prompt, blocks, shares, self._uses)

    def placed(self, replica: Replica, belief: Belief, tokens: float) -> Placed | None:
        """It has taken the prompt in, of so many tokens. None where that replica is not known any more."""
        known = self._models.get(replica.model, {}).get(replica.id)
        if known is None or known.replica != replica:
            return None
        self._uses += 1
        before = known.held.use(belief.prompt.blocks, tokens * belief.prompt.part, self._uses)
        return Placed(belief, replica, before)

    def told(self, replica: Replica, holding: Holding) -> None:
        """What its engine has published. How much it can hold is what it has held at the most, where that is more than
        was declared. How much it holds bounds what is believed only when it has dropped something: what a prompt adds
        may be told after the prompt was placed."""
        known = self._models.get(replica.model, {}).get(replica.id)
        if known is None or known.replica != replica:
            return
        if holding.cleared:
            known.held.clear()
        if holding.tokens is None:
            return
        known.most = max(known.most, holding.tokens)
        known.held.room = max(known.held.room, known.most)
        if holding.removed:
            known.held.shrink(holding.tokens)

    def corrected(self, placed: Placed, usage: Usage) -> None:
        """What the engine has told of it. One that does not tell what it held corrects nothing."""
        belief, name = placed.belief, placed.replica.id
        known, count = self._models.get(placed.replica.model, {}).get(name), belief.blocks.get(name, 0)
        if known is None or known.replica != placed.replica or usage.cached is None or not usage.prompt or not count:
            return
        was, believed = min(1.0, usage.cached / usage.prompt), belief.prompt.share(count)
        kept = was + SLACK >= believed
        known.trust += LEARN * ((1.0 if kept else was / believed) - known.trust)
        first = int(was / belief.prompt.part)  # of the blocks that were not there
        # one that another prompt has brought back meanwhile shows no longer when it had been used
        if not kept and first < len(placed.before) and placed.before[first] <= belief.uses:
            known.held.drop_until(placed.before[first])
