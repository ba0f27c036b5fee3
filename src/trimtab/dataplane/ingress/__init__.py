"""The way in: whose key it is, what the request may spend and must reach, which models it may name."""

from trimtab.dataplane.ingress.authenticate import authenticate
from trimtab.dataplane.ingress.bind import Bound, bind, bind_terms, channel_of, presumed
from trimtab.dataplane.ingress.models import Catalogue, Target, resolve, resolve_embedder, sendable
from trimtab.dataplane.ingress.terms import HEADERS, TermError, asked_in_body, asked_in_headers, refusal

__all__ = [
    "HEADERS",
    "Bound",
    "Catalogue",
    "Target",
    "TermError",
    "asked_in_body",
    "asked_in_headers",
    "authenticate",
    "bind",
    "bind_terms",
    "channel_of",
    "presumed",
    "refusal",
    "resolve",
    "resolve_embedder",
    "sendable",
]
