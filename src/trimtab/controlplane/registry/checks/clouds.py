"""models.yaml: what clouds want in place of a key. Requests to Bedrock are signed, Vertex AI is asked with tokens."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path as Folder
from urllib.parse import urlsplit

from trimtab.controlplane.registry.checks.view import Found, View, error, referenced, warning
from trimtab.controlplane.registry.documents import MODELS
from trimtab.core.models import AwsTerms, Model, aws_region, vertex_location
from trimtab.foundations.config import Path
from trimtab.foundations.signature import is_installed

_NOT_EU = frozenset({"europe-west2", "europe-west6"})
"""London and Zürich."""


def clouds(view: View) -> Found:
    """Signed requests have a region and keys to sign with; Vertex's tokens have a location that keeps the residency."""
    for name, model in view.documents.models.models.items():
        path: Path = ("models", name)
        if model.aws is not None:
            yield from _aws(model, model.aws, (*path, "aws"), view.documents.folder)
        if model.dialect == "vertex":
            yield from _vertex(model, path)


def _aws(model: Model, terms: AwsTerms, path: Path, folder: Folder) -> Found:
    if model.dialect != "bedrock":
        message = f"signs requests to bedrock, and the dialect is {model.dialect}"
        yield error(MODELS, path, message, "Delete the lines, or write dialect: bedrock.")
    if model.api_keys:
        yield error(MODELS, path, "is in place of api_key, which stands beside it", "Delete one of them.")
    if find_spec("botocore") is None:
        hint = "Run pip install 'trimtab[bedrock]' where the gateway runs."
        yield warning(MODELS, path, "signs by botocore, which is not installed here", hint)
    if terms.region is None and any(aws_region(urlsplit(one).hostname or "") is None for one in model.endpoints):
        yield error(MODELS, path, "has no region, and the endpoint's name has none", "Write e.g. region: eu-central-1")
    if terms.by == "keys" and not {"access_key", "secret_key"} <= terms.references.keys():
        hint = "Write both as env:NAME or file:PATH, or by: profile, web-identity, container or instance."
        yield error(MODELS, path, "needs access_key and secret_key", hint)
    if terms.by != "keys" and terms.references:
        yield error(MODELS, path, f"has keys that are not read by: {terms.by}", "Delete them, or write by: keys")
    if terms.sts is not None and not terms.sts.startswith("https://") and not terms.sts_private:
        yield error(MODELS, (*path, "sts"), "is not https", "Write https://..., or sts_private: true")
    for part, reference in terms.references.items():
        yield from referenced(MODELS, (*path, part), reference, folder)


def _vertex(model: Model, path: Path) -> Found:
    if not is_installed():
        hint = "Run pip install 'trimtab[vertex]' where the gateway runs."
        yield warning(MODELS, (*path, "dialect"), "signs by cryptography, which is not installed here", hint)
    for endpoint in model.endpoints:
        url = urlsplit(endpoint)
        location = vertex_location(url.path)
        if location is None:
            hint = "Write e.g. https://europe-west4-aiplatform.googleapis.com/v1/projects/P/locations/europe-west4"
            yield error(MODELS, (*path, "endpoint"), "names no project and location", hint + "/publishers/google")
            continue
        host = url.hostname or ""
        if host.endswith("aiplatform.googleapis.com") and host != _vertex_host(location):
            message = f"is asked at {host} for the location {location}"
            yield error(MODELS, (*path, "endpoint"), message, f"Write https://{_vertex_host(location)}/v1/...")
        if model.region is not None and not _lies_in(location, model.region):
            message = f"is at {location}, and the model says region: {model.region}"
            hint = "Write a location of that region, or the region that it is in."
            yield error(MODELS, (*path, "region"), message, hint)


def _vertex_host(location: str) -> str:
    return "aiplatform.googleapis.com" if location == "global" else f"{location}-aiplatform.googleapis.com"


def _lies_in(location: str, region: str) -> bool:
    """Whether what is asked at one of Google's locations is answered within a region: itself, or eu, us, asia ..."""
    if region == "eu":
        return location == "eu" or (location.startswith("europe-") and location not in _NOT_EU)
    return location == region or location.startswith(f"{region}-")


CHECKS = (clouds,)
