"""The simulation: the real request path on virtual time."""

from trimtab.surfaces.twin.loop import EPOCH_NS, Deadlock, VirtualClock, VirtualLoop, run_virtual
from trimtab.surfaces.twin.pipes import Direction, Link, LinkFor

__all__ = ["EPOCH_NS", "Deadlock", "Direction", "Link", "LinkFor", "VirtualClock", "VirtualLoop", "run_virtual"]
