"""trimtab.yaml: what the processes can't do, or could not be meant to do."""

from __future__ import annotations

from trimtab.controlplane.registry.checks.secrets import secret
from trimtab.controlplane.registry.checks.view import Found, View, error, warning
from trimtab.controlplane.registry.documents import SETTINGS
from trimtab.core.models import with_settings

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def demo(view: View) -> Found:
    """Behind a proxy every caller seems to come from loopback, so demo keys must not meet a public address."""
    settings = view.documents.settings
    if settings.demo and settings.server.host not in LOOPBACK:
        message = f"demo keys are accepted while the server listens on {settings.server.host}"
        yield error(SETTINGS, ("demo",), message, "Write demo: false, or server.host: 127.0.0.1")


def metrics_key(view: View) -> Found:
    """A key of metrics stands here by reference only, and guards something."""
    server = view.documents.settings.server
    idle = None if server.metrics else "guards nothing while metrics: false"
    yield from secret(view, ("server", "metrics_key"), server.metrics_key, idle)


def engine_files(view: View) -> Found:
    """A model file that is not there (the bundled one is looked for at the start)."""
    for name, engine in view.documents.settings.engines.items():
        if engine.model != "bundled" and not (view.documents.folder / engine.model).expanduser().is_file():
            hint = "Write model: bundled, or the path of a GGUF file."
            yield warning(SETTINGS, ("engines", name, "model"), f"the file {engine.model} does not exist here", hint)


def speculation(view: View) -> Found:
    """A small model proposes only where one is named."""
    for name, engine in view.documents.settings.engines.items():
        if engine.speculation is None:
            continue
        path = ("engines", name, "speculation")
        if engine.speculation.by == "draft" and engine.speculation.model is None:
            hint = "Write model: PATH beside it."
            yield error(SETTINGS, (*path, "by"), "draft needs the model that proposes", hint)
        elif engine.speculation.by != "draft" and engine.speculation.model is not None:
            message = f"by: {engine.speculation.by} needs no model to propose"
            yield error(SETTINGS, (*path, "model"), message, "Write by: draft, or delete the line.")


def idle_engines(view: View) -> Found:
    """An engine that no model uses costs memory for nothing."""
    used = {endpoint for model in with_settings(view.documents.models.models).values() for endpoint in model.endpoints}
    for name in view.documents.settings.engines:
        if f"engine:{name}" not in used:
            hint = f"Give a model endpoint: engine:{name}, or remove the engine."
            yield warning(SETTINGS, ("engines", name), "no model uses this engine", hint)


CHECKS = (demo, metrics_key, engine_files, speculation, idle_engines)
