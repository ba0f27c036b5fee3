"""What events make of the declared classes, whatever overlaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from trimtab.controlplane.registry.timelines import timelines
from trimtab.core.clock import instant_ns
from trimtab.core.contract import Asked, Priority, PriorityName
from trimtab.core.events import Event
from trimtab.core.tenancy import Channel, ChannelCost, LatencyTargets, QualityTargets, Targets, Tenant
from trimtab.dataplane.ingress import bind_terms

CLASSES: tuple[PriorityName, ...] = get_args(PriorityName)
BEGIN = datetime(2026, 11, 27, tzinfo=UTC)
PLACES = [("a", "x"), ("a", "y"), ("b", "x")]
TARGETS = Targets(latency=LatencyTargets(ttft_ms=1000, itl_ms=100, e2e_ms=4000), quality=QualityTargets(min=0))


def time(minute: int) -> str:
    return (BEGIN + timedelta(minutes=minute)).isoformat()


@st.composite
def events(draw: st.DrawFn) -> list[Event]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        begin = draw(st.integers(0, 8))
        lasts = draw(st.none() | st.integers(1, 8))
        raises = draw(
            st.dictionaries(
                st.sampled_from(["x", "y", "a/x", "a/y", "b/x", "b/y", "c/x", "z"]), st.sampled_from(CLASSES)
            )
        )
        ends = None if lasts is None else time(begin + lasts)
        found.append(Event(name=f"e{number}", begins=time(begin), ends=ends, raises=raises))
    return found


def tenants(classes: dict[tuple[str, str], PriorityName | None], own: dict[str, PriorityName]) -> dict[str, Tenant]:
    found = {}
    for name, priority in own.items():
        channels = {
            channel: Channel(targets=TARGETS, cost=ChannelCost(max_per_request_usd=Decimal(1)), priority=one)
            for (tenant, channel), one in classes.items()
            if tenant == name
        }
        found[name] = Tenant(id=name, channels=channels, priority=priority)
    return found


@given(
    events=events(),
    classes=st.fixed_dictionaries({place: st.none() | st.sampled_from(CLASSES) for place in PLACES}),
    own=st.fixed_dictionaries({name: st.sampled_from(CLASSES) for name in ("a", "b")}),
    asked=st.none() | st.sampled_from(CLASSES),
    half_minutes=st.integers(-1, 36),
)
def test_an_event_raises_to_the_highest_class_and_never_lowers(
    events: list[Event],
    classes: dict[tuple[str, str], PriorityName | None],
    own: dict[str, PriorityName],
    asked: PriorityName | None,
    half_minutes: int,
) -> None:
    """At any instant the bound class is the highest of what is declared and what running events name, then what the
    caller asks if that is lower; and the events that are named are those of that highest class."""
    wall_ns = instant_ns(BEGIN.isoformat()) + half_minutes * 30_000_000_000
    declared = tenants(classes, own)
    found = timelines(events, declared)
    for tenant, name in PLACES:
        channel = declared[tenant].channels[name]
        plain = bind_terms(declared[tenant], channel, "/", None, Asked(priority=asked))
        line = found.get((tenant, name))
        raised = line.at(wall_ns) if line is not None else None
        bound = bind_terms(declared[tenant], channel, "/", None, Asked(priority=asked), raised)
        assert bound.rank <= plain.rank

        said = {
            (Priority[priority], event.name)
            for event in events
            for target, priority in event.raises.items()
            if target in (name, f"{tenant}/{name}")
            and instant_ns(event.begins) <= wall_ns
            and (event.ends is None or wall_ns < instant_ns(event.ends))
        }
        own_class = Priority[channel.priority or own[tenant]]
        best = min([own_class, *(rank for rank, _ in said)])
        assert bound.rank == max(best, Priority[asked] if asked else best)
        assert (raised.events if raised else ()) == (
            tuple(sorted(event for rank, event in said if rank == best)) if best < own_class else ()
        )


def test_what_is_never_raised_costs_no_look_up() -> None:
    """Channels that no event raises at any time are in no timeline, nor is a step that changes nothing."""
    declared = tenants(dict.fromkeys(PLACES, "interactive"), {"a": "batch", "b": "batch"})
    assert timelines([Event(name="e", begins=time(0), raises={"x": "interactive", "a/y": "batch"})], declared) == {}
    both = [
        Event(name="e", begins=time(0), ends=time(9), raises={"a/x": "critical"}),
        Event(name="f", begins=time(2), ends=time(3), raises={"a/x": "standard"}),
    ]
    (line,) = timelines(both, tenants(dict.fromkeys(PLACES), {"a": "batch", "b": "batch"})).values()
    assert line.begins_ns == (instant_ns(time(0)), instant_ns(time(9)))
