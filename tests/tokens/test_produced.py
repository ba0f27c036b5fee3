"""An answer's text as it comes is what its pieces are, however it is asked for meanwhile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trimtab.foundations.tokens import Produced

Pieces = st.lists(st.text(max_size=6), max_size=80)


@given(batches=st.lists(st.tuples(Pieces, st.booleans()), max_size=6))
def test_what_is_fresh_is_what_came_since(batches: list[tuple[list[str], bool]]) -> None:
    """Surrogates and both ends of lines included."""
    produced, all_of_it = Produced(), list[str]()
    since: list[str] = []
    for pieces, asks in batches:
        for piece in pieces:
            produced.add(piece)
        all_of_it += pieces
        since += pieces
        if asks:
            assert produced.fresh() == ("".join(since), len(since))
            since = []
        assert (produced.text, produced.pieces) == ("".join(all_of_it), len(all_of_it))
