"""Admission: who may run on a model now, who waits in fair order, and when the rest should come back."""

from trimtab.dataplane.admission.foreign import Told
from trimtab.dataplane.admission.gate import Gate
from trimtab.dataplane.admission.gates import Gates
from trimtab.dataplane.admission.ticket import Ending, GateView, Refused, Ticket
from trimtab.dataplane.admission.tier import Foreseen, Look
from trimtab.dataplane.admission.turn import Turn

__all__ = ["Ending", "Foreseen", "Gate", "GateView", "Gates", "Look", "Refused", "Ticket", "Told", "Turn"]
