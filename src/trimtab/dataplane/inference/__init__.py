"""Inference: from a plan to a stream of chunks, attempt after attempt, and what was used."""

from trimtab.dataplane.inference.answering import Answering, is_content, texts_of
from trimtab.dataplane.inference.assemble import Assembler, pieces
from trimtab.dataplane.inference.aws import AwsKeys
from trimtab.dataplane.inference.aws import fetch as fetch_aws
from trimtab.dataplane.inference.choice import Belief, Choice, Placed
from trimtab.dataplane.inference.credentials import Credential, Lasting
from trimtab.dataplane.inference.dialect import NOT_ALLOWED, SALTED, AttemptFailed, Fault, extracts, failed
from trimtab.dataplane.inference.dialects import WIRES, encode, unfit
from trimtab.dataplane.inference.dialer import Dialer, Origin
from trimtab.dataplane.inference.fleet import Fleet, Replica, ReplicaView
from trimtab.dataplane.inference.generate import Hedge, Patience, generate
from trimtab.dataplane.inference.governor import Chosen, Gain, Governor
from trimtab.dataplane.inference.hedges import HedgeBudget
from trimtab.dataplane.inference.prefix import Prompt, prompt_of
from trimtab.dataplane.inference.retries import RetryBudget, Tries
from trimtab.dataplane.inference.signals import TELLING, Board, Signals, signals_of
from trimtab.dataplane.inference.slots import Sender
from trimtab.dataplane.inference.usage import wire as wire_usage

__all__ = [
    "NOT_ALLOWED",
    "SALTED",
    "TELLING",
    "WIRES",
    "Answering",
    "Assembler",
    "AttemptFailed",
    "AwsKeys",
    "Belief",
    "Board",
    "Choice",
    "Chosen",
    "Credential",
    "Dialer",
    "Fault",
    "Fleet",
    "Gain",
    "Governor",
    "Hedge",
    "HedgeBudget",
    "Lasting",
    "Origin",
    "Patience",
    "Placed",
    "Prompt",
    "Replica",
    "ReplicaView",
    "RetryBudget",
    "Sender",
    "Signals",
    "Tries",
    "encode",
    "extracts",
    "failed",
    "fetch_aws",
    "generate",
    "is_content",
    "pieces",
    "prompt_of",
    "signals_of",
    "texts_of",
    "unfit",
    "wire_usage",
]
