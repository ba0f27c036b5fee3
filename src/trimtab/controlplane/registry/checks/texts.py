"""Prompts, templates and the policy: secrets where models can read them, answers that don't exist."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trimtab.controlplane.registry.checks.models import tiers
from trimtab.controlplane.registry.checks.view import Found, View, error, warning
from trimtab.controlplane.registry.documents import POLICY, file_of
from trimtab.dataplane.guard import CHECKS_OUT
from trimtab.dataplane.policy import Names, lint, tables_with
from trimtab.foundations.config import Problem, did_you_mean, secret_shaped

GROUNDED_TEMPLATES = ("quote", "out_of_scope")
"""What channels with a corpus answer with: the best passage ({quote}, {source}), and no answer at all."""
REQUIRED_TEMPLATES = ("refusal", "unavailable")
"""What the gateway itself answers with: a guard's or rule's refusal, and on_miss: template."""
_LANGUAGE = re.compile(r"[a-z]{2,3}")


def secrets_in_texts(view: View) -> Found:
    """Whatever a prompt or template holds can be talked out of a model: assume that it is public."""
    for stem, text in view.documents.prompts.items():
        yield from _secrets(f"prompts/{stem}.md", text)
    for stem, texts in view.documents.templates.items():
        for name, text in texts.items():
            kind = secret_shaped(text)
            if kind:
                yield error(file_of("templates", stem), (name,), f"holds what looks like {kind}", _SPILT)


_SPILT = "Take it out and have it replaced: it may have been seen."


def _secrets(file: str, text: str) -> Found:
    for number, line in enumerate(text.splitlines(), 1):
        kind = secret_shaped(line)
        if kind:
            yield Problem(file=file, line=number, message=f"holds what looks like {kind}", hint=_SPILT)


def idle_prompts(view: View) -> Found:
    """A prompt that no variant uses is never sent."""
    used = {variant.prompt for variant in view.documents.models.variants.values()}
    for stem in view.documents.prompts:
        if stem not in used:
            yield warning(f"prompts/{stem}.md", (), "no variant uses this prompt", "Name it in models.yaml.")


def templates(view: View) -> Found:
    """The templates that the gateway answers with exist, in files named by language, and in the tenants' languages."""
    languages = view.documents.templates
    for stem in languages:
        if not _LANGUAGE.fullmatch(stem):
            yield error(
                file_of("templates", stem), (), "is not named by a language (ISO 639-1)", "Name it e.g. en.yaml"
            )
    known = {name for texts in languages.values() for name in texts}
    grounded = any(channel.corpus for _, _, _, channel in view.channels())
    for name in (*REQUIRED_TEMPLATES, *(GROUNDED_TEMPLATES if grounded else ())):
        if name not in known:
            hint = f"Write it in templates/en.yaml. {did_you_mean(name, known)}".rstrip()
            yield error("templates/en.yaml", (), f"the template {name} is missing: the gateway answers with it", hint)
    for stem, texts in languages.items():
        for name in sorted(known - texts.keys()):
            yield warning(file_of("templates", stem), (), f"lacks {name}, which other languages have", "Add it.")


def template_languages(view: View) -> Found:
    """A tenant's users are refused in their own language."""
    present = view.documents.templates.keys()
    for stem, tenant in view.documents.tenants.items():
        for index, language in enumerate(tenant.languages):
            if language.split("-")[0] not in present:
                name = f"templates/{language.split('-')[0]}.yaml"
                message = f"there is no {name}, so templates come in another language"
                yield warning(file_of("tenants", stem), ("languages", index), message, f"Write {name}.")


def policy(view: View) -> Found:
    """Everything that lint finds in the rules, their own tests included."""
    names = Names(
        variants=frozenset(view.documents.models.variants),
        tiers=frozenset(tiers(view)),
        templates=frozenset(name for texts in view.documents.templates.values() for name in texts),
        guards=CHECKS_OUT,
    )
    yield from lint(view.documents.policy, names, POLICY, tables_with(view.documents.features.features))


def known_places(view: View) -> Found:
    """Rules that compare tenant, channel, market or persona with a name that nothing has can never be meant."""
    declared = list(view.documents.tenants.values())
    known = {
        "tenant": {tenant.id for tenant in declared},
        "channel": {name for tenant in declared for name in tenant.channels},
        "market": {market for tenant in declared for market in tenant.markets},
        "persona": {persona for tenant in declared for persona in tenant.personas},
    }
    for index, rule in enumerate(view.documents.policy.rules):
        for variable, text in _compared(rule.when):
            if text and text not in known[variable]:
                path = ("rules", index, "when")
                yield warning(POLICY, path, f"there is no {variable} {text!r}", did_you_mean(text, known[variable]))


_COMPARED = re.compile(r"""\b(tenant|channel|market|persona)\s*[!=]=\s*(?:"([^"\\]*)"|'([^'\\]*)')""")


def _compared(condition: str) -> Iterator[tuple[str, str]]:
    for match in _COMPARED.finditer(condition):
        yield match.group(1), match.group(2) or match.group(3) or ""


CHECKS = (secrets_in_texts, idle_prompts, templates, template_languages, policy, known_places)
