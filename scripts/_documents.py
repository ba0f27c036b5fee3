"""Reference of documents and records: every field by its type, with the meaning that stands under it in the source."""

from __future__ import annotations

import importlib.resources
import re
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect as mi
from ruamel.yaml import YAML

import trimtab.dataplane
from trimtab.controlplane.evaluate.golden import Edits, Question
from trimtab.controlplane.registry.checks.texts import GROUNDED_TEMPLATES, REQUIRED_TEMPLATES
from trimtab.controlplane.registry.documents import TYPES
from trimtab.controlplane.registry.example import FILES
from trimtab.core.record import Record
from trimtab.foundations.config import meanings
from trimtab.foundations.config.describe import structs
from trimtab.foundations.config.words import unwrap, wanted

EXAMPLE = importlib.resources.files("trimtab.controlplane.registry") / "example"
MORE_EXAMPLES: dict[tuple[str, str], Any] = {
    ("FeaturesDocument", "every"): "5m",
    ("FeaturesDocument", "stale"): "30m",
    ("FeaturesDocument", "features"): {
        "late": {"of": "channel", "value": "share", "holds": {"met.latency": False}, "window": "1h", "default": 0}
    },
    ("Feature", "column"): "tokens.completion",
    ("Feature", "holds"): {"path": ["cache-exact", "cache-semantic"]},
    ("Feature", "where"): {"status": 200},
    ("Feature", "rows"): "verdict",
    ("Feature", "default"): 0,
    ("Feature", "min_rows"): 50,
    ("Server", "metrics_key"): "env:TRIMTAB_METRICS_KEY",
    ("Settings", "memory_limit_mib"): 2048,
    ("Telemetry", "headers"): {"authorization": "env:OTLP_AUTHORIZATION"},
    ("Telemetry", "service"): "trimtab-eu",
    ("Storage", "password"): "env:TRIMTAB_STORE_PASSWORD",
    ("RecordTerms", "sign_key"): "file:sign.pem",
    ("RecordTerms", "retention_days"): 90,
    ("Settings", "lake"): {"url": "s3://records/trimtab", "options": {"AWS_REGION": "eu-central-1"}},
    ("Lake", "url"): "s3://records/trimtab",
    ("Lake", "source"): "berlin",
    ("Lake", "follow_s"): 60,
    ("Lake", "history_h"): 24,
    ("Lake", "options"): {"AWS_REGION": "eu-central-1", "AWS_SECRET_ACCESS_KEY": "env:AWS_SECRET_ACCESS_KEY"},
    ("Lake", "keep_days"): 400,
    ("Engine", "threads"): 4,
    ("Engine", "pass_tokens"): 128,
    ("Engine", "speculation"): {"by": "ngram", "match": 3, "tokens": 6},
    ("Speculation", "by"): "ngram",
    ("Speculation", "match"): 3,
    ("Speculation", "tokens"): 6,
    ("Speculation", "model"): "draft.gguf",
    ("Model", "settings"): {"ngram": {"endpoint": "engine:small-ngram", "speculative": True}},
    ("Setting", "slots"): 2,
    ("Setting", "speculative"): True,
    ("Setting", "overhead"): 2.0,
    ("Setting", "proposes"): 5,
    ("Setting", "most_running"): 16,
    ("Setting", "tenants"): ["commerce"],
    ("Model", "upstream_name"): "gpt-4o-mini",
    ("Model", "api_key"): "env:OPENAI_API_KEY",
    ("Model", "region"): "eu",
    ("Model", "api_version"): "2024-10-21",
    ("Model", "private"): True,
    ("Model", "metrics"): "/metrics",
    ("Model", "kv_events"): "tcp://gpu-7:5557",
    ("Model", "kv_replay"): "tcp://gpu-7:5558",
    ("Model", "aws"): {"by": "web-identity"},
    ("Model", "fallbacks"): ["medium"],
    ("Model", "prefill"): True,
    ("Model", "overflow"): {"for": ["eu"], "tokens_per_day": 500_000, "redact": ["email", "phone", "card", "iban"]},
    ("Model", "hedge"): True,
    ("HealthTerms", "probe"): "/health",
    ("QualityEstimate", "value"): 0.93,
    ("QualityEstimate", "lower"): 0.9,
    ("QualityEstimate", "n"): 252,
    ("QualityEstimate", "source"): "golden set of 2026-11-25",
    ("VariantDoc", "engine"): {"top_k": 40},
    ("VariantDoc", "quality"): {"value": 0.93, "lower": 0.9, "n": 252, "source": "golden set of 2026-11-25"},
    ("PriceDocument", "cached_usd_per_mtok"): "0.01",
    ("PriceDocument", "written_usd_per_mtok"): "0.03",
    ("PriceDocument", "written_1h_usd_per_mtok"): "0.04",
    ("PriceDocument", "audio_in_usd_per_mtok"): "10",
    ("PriceDocument", "audio_cached_usd_per_mtok"): "0.3",
    ("PriceDocument", "reasoning_usd_per_mtok"): "0.60",
    ("PriceDocument", "audio_out_usd_per_mtok"): "20",
    ("PriceDocument", "from"): "genai-prices",
    ("PriceDocument", "provider"): "openai",
    ("PriceDocument", "model"): "gpt-4o-mini",
    ("Tenant", "residency"): "eu",
    ("Channel", "residency"): "eu",
    ("Channel", "system"): "forbid",
    ("Channel", "resume"): "hold",
    ("Channel", "limits"): {"requests": {"per_s": 10, "burst": 40}},
    ("Channel", "routes"): {"/v1/chat/completions": {"latency": {"e2e_ms": 1500}}},
    ("Override", "quality"): {"min": 0.9},
    ("Override", "max_per_request_usd"): "0.001",
    ("CacheTerms", "ids"): "ignore",
    ("GuardTerms", "restore"): False,
    ("Channel", "languages"): ["en", "de"],
    ("Key", "persona"): "member",
    ("Key", "created_at"): "2026-11-24T09:00:00Z",
    ("Key", "market"): "de",
    ("Key", "limits"): {"requests": {"per_s": 1, "burst": 5}},
    ("Key", "budgets"): [{"period": "day", "usd": "1"}],
    ("Key", "lineage"): "key_0123456789abcdef",
    ("Budget", "grants"): [{"usd": "5", "until": "2026-12-01T00:00:00Z", "by": "Ann"}],
    ("Grant", "usd"): "5",
    ("Grant", "by"): "Ann",
    ("Then", "guards"): ["email"],
    ("Event", "from"): "2026-11-27T00:00:00+01:00",
    ("Event", "to"): "2026-11-30T00:00:00+01:00",
    ("Event", "raise"): {"checkout-bot": "critical"},
    ("Experiment", "channels"): ["checkout-bot"],
    ("Experiment", "arms"): {"shorter": {"variant": "small-shorter", "share": 0.1}},
    ("ArmDoc", "variant"): "small-shorter",
    ("ArmDoc", "share"): 0.1,
    ("Edits", "language"): "en",
    ("Storage", "url"): "memory",
    ("ObjectiveDoc", "channels"): ["commerce/*"],
    ("ObjectiveDoc", "tz"): "Europe/Berlin",
    ("ObjectiveDoc", "usd"): "25",
    ("ObjectiveDoc", "false_pages_per_year"): 1,
    ("ObjectiveDoc", "freeze_below"): 0.1,
    ("ObjectiveDoc", "off"): True,
    ("Receiver", "user"): "trimtab",
    ("Receiver", "channels"): ["commerce/*"],
    ("Receiver", "severities"): ["page"],
    ("Receiver", "private"): True,
    ("SloDocument", "objectives"): [{"channels": ["commerce/*"], "objective": "guard", "target": 0.98}],
    ("SloDocument", "receivers"): {"oncall": {"kind": "slack", "url": "env:SLACK_WEBHOOK_URL"}},
}
"""For fields that neither their type nor the example workspace shows."""

STAGES = {
    "accept": "waiting before our handler ran: the event loop was busy",
    "ingress": "the key, and its rates",
    "body": "reading and parsing the body",
    "bind": "the contract",
    "guard_in": "screening the way in",
    "classify": "features; may embed the question for the intent",
    "decide": "policy at decide",
    "cache": "looking for a stored answer, or waiting for an equal request",
    "route": "ranking plans, policy at route",
    "admit": "waiting for a concurrency token, policy at admit",
    "reserve": "money held on every budget",
    "retrieve": "passages",
    "infer": "the model, from the first attempt to the end of its answer",
    "guard_out": "screening the way out (within infer for streams)",
    "settle": "closing the account",
}


def configuration() -> str:
    """Every document of a workspace, every field."""
    seen: dict[tuple[str, str], Any] = {}
    yaml = YAML(typ="safe", pure=True)
    for name, type_ in TYPES.items():
        pattern = re.sub("NAME|LANG", "*", FILES[name])
        for path in sorted(_root().glob(pattern)):
            _harvest(mi.type_info(type_), yaml.load(path), seen)
    lines = [_INTRODUCTION]
    for name, type_ in TYPES.items():
        lines += [f"## {FILES[name]}", ""]
        lines += _document(type_, seen)
    lines += [_TEXTS.format(required=_names(REQUIRED_TEMPLATES), grounded=_names(GROUNDED_TEMPLATES))]
    golden = [msgspec.json.decode(line) for path in _root().glob("golden/*.jsonl") for line in path.open("rb")]
    for struct in (Question, Edits):
        for row in golden:
            if ("edits" in row) == (struct is Edits):
                _harvest(mi.type_info(struct), row, seen)
        lines += [f"### {struct.__name__}", "", *_struct(struct, seen)]
    return "\n".join(lines)


def records() -> str:
    """Every field of a record, and the stages."""
    _check_stages()
    lines = [_RECORDS, "", "## Stages", "", "| stage | what its time is |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in STAGES.items()]
    for struct in structs(Record):
        lines += [
            "",
            f"## {struct.__name__}",
            "",
            _sentences(struct),
            "",
            "| field | type | meaning |",
            "|---|---|---|",
        ]
        hints = get_type_hints(struct, include_extras=False)
        told = meanings(struct)
        for field, wire in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
            lines.append(f"| `{wire}` | {_type_name(hints[field])} | {_told(struct, wire, told)} |")
    return "\n".join(lines)


def example() -> str:
    """The example workspace, in full."""
    lines = [_EXAMPLE]
    root = _root()
    for pattern in ("trimtab.yaml", "models.yaml", "prices.yaml", "policy.yaml", "tenants/*.yaml", "templates/*.yaml"):
        for path in sorted(root.glob(pattern)):
            lines += [f"## {path.relative_to(root)}", "", "```yaml", path.read_text().rstrip(), "```", ""]
    for path in (*sorted(root.glob("prompts/*.md")), root / "corpora/shop/delivery.en.md"):
        lines += [f"## {path.relative_to(root)}", "", "```markdown", path.read_text().rstrip(), "```", ""]
    lines += ["## golden/questions.en.jsonl, first line", "", "```json"]
    lines += [(root / "golden/questions.en.jsonl").read_text().splitlines()[0], "```", ""]
    return "\n".join(lines)


def _root() -> Path:
    return Path(str(EXAMPLE))


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# --- fields ---------------------------------------------------------------------------------------------------------


def _document(type_: Any, seen: dict[tuple[str, str], Any]) -> list[str]:
    found = structs(type_)
    lines: list[str] = []
    info = mi.type_info(type_)
    if isinstance(info, mi.DictType):
        key, _ = unwrap(info.key_type)
        lines += [f"A mapping: {wanted(info.key_type, ())} to {_shape(info.value_type)}.", ""]
        assert isinstance(key, mi.StrType)
    if isinstance(info, mi.ListType):
        lines += [f"A list of: {_shape(info.item_type)}. {_OPTIONAL}", ""]
    for struct in found:
        if struct is not type_:
            lines += [f"### {_title(type_, struct)}", ""]
        lines += _struct(struct, seen)
    return lines


def _struct(struct: type[msgspec.Struct], seen: dict[tuple[str, str], Any]) -> list[str]:
    lines = [_sentences(struct), "", "| field | takes | default | meaning | e.g. |", "|---|---|---|---|---|"]
    told = meanings(struct)
    for field in mi.type_info(struct).fields:  # type: ignore[attr-defined]  # of a struct
        name = field.encode_name
        row = (f"`{name}`", _shape(field.type, name), _default(field), _told(struct, name, told))
        lines.append("| " + " | ".join(map(_cell, row)) + f" | {_code(_example(struct, field, seen))} |")
    return [*lines, ""]


def _told(struct: type[msgspec.Struct], name: str, told: dict[str, str]) -> str:
    if name not in told:
        sys_exit = f"{struct.__module__}.{struct.__name__}.{name} says nowhere what it means: put a docstring under it"
        raise SystemExit(sys_exit)
    return told[name]


def _sentences(struct: type[msgspec.Struct]) -> str:
    return " ".join((struct.__doc__ or "").split())


def _title(type_: Any, struct: type[msgspec.Struct]) -> str:
    """`Channel: channels.NAME`."""
    places = list(dict.fromkeys(_places(mi.type_info(type_), struct, (), set())))
    return f"{struct.__name__}: " + ", ".join(f"`{place}`" for place in places[:4])


def _places(type_: mi.Type, wanted_: type[msgspec.Struct], path: tuple[str, ...], above: set[type]) -> list[str]:
    inner, _ = unwrap(type_)
    if isinstance(inner, mi.StructType):
        if inner.cls in above:
            return []
        here = [".".join(path).replace(".[]", "[]")] if inner.cls is wanted_ and path else []
        for field in inner.fields:
            here += _places(field.type, wanted_, (*path, field.encode_name), above | {inner.cls})
        return here
    if isinstance(inner, mi.DictType):
        return _places(inner.value_type, wanted_, (*path, "NAME"), above)
    if isinstance(inner, mi.ListType):
        return _places(inner.item_type, wanted_, (*path, "[]"), above)
    if isinstance(inner, mi.UnionType):
        return [one for part in inner.types for one in _places(part, wanted_, path, above)]
    return []


def _shape(type_: mi.Type, name: str = "") -> str:
    """What a field takes, as error messages say it; lists and mappings with what is in them."""
    inner, meta = unwrap(type_)
    if isinstance(inner, mi.UnionType):
        return " or ".join(_shape(part, name) for part in inner.types if not isinstance(part, mi.NoneType))
    if isinstance(inner, mi.ListType):
        return f"a list of: {_shape(inner.item_type, name)}"
    if isinstance(inner, mi.DictType):
        key = wanted(inner.key_type, ())
        value = _shape(inner.value_type)
        key = "name" if key == "text" else f"name ({key})"
        return f"a mapping of {key} to {value}"
    if isinstance(inner, mi.StructType):
        return f"{inner.cls.__name__}"
    if isinstance(inner, mi.AnyType):
        return "anything"
    if isinstance(inner, mi.StrType) and inner.max_length and not meta.get("description"):
        return f"text of at most {inner.max_length} characters"
    return wanted(type_, (name,))


def _default(field: mi.Field) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not mi.NODEFAULT else field.default_factory()
    if value is None:
        return "unset"
    if isinstance(value, msgspec.Struct):
        return "all defaults"
    return "empty" if value in ([], {}, "") else f"`{_flow(value)}`"


def _example(struct: type[msgspec.Struct], field: mi.Field, seen: dict[tuple[str, str], Any]) -> Any:
    place = (struct.__name__, field.encode_name)
    _, meta = unwrap(field.type)
    for value in (MORE_EXAMPLES.get(place), seen.get(place), *(meta.get("examples") or [])):
        if value is not None:
            return value
    inner, _ = unwrap(field.type)
    for part in inner.types if isinstance(inner, mi.UnionType) else [inner]:
        part, part_meta = unwrap(part)
        if part_meta.get("examples"):
            return part_meta["examples"][0]
        if isinstance(part, mi.LiteralType):
            return part.values[0]
        if isinstance(part, mi.StructType):
            return ...
    if isinstance(field.default, (int, float)):
        return field.default
    raise SystemExit(f"no example shows {'.'.join(place)}: put one into MORE_EXAMPLES")


def _harvest(type_: mi.Type, value: Any, seen: dict[tuple[str, str], Any]) -> None:
    """The first value of each field in the example workspace."""
    inner, _ = unwrap(type_)
    if isinstance(inner, mi.UnionType):
        for part in inner.types:
            _harvest(part, value, seen)
    elif isinstance(inner, mi.StructType) and isinstance(value, dict):
        for field in inner.fields:
            if field.encode_name in value:
                found = value[field.encode_name]
                seen.setdefault((inner.cls.__name__, field.encode_name), found)
                _harvest(field.type, found, seen)
    elif isinstance(inner, mi.DictType) and isinstance(value, dict):
        for one in value.values():
            _harvest(inner.value_type, one, seen)
    elif isinstance(inner, mi.ListType) and isinstance(value, list):
        for one in value:
            _harvest(inner.item_type, one, seen)


def _code(value: Any) -> str:
    if value is ... or (isinstance(value, dict) and len(_flow(value)) > 70):
        return "see below"
    text = _flow(value)
    if isinstance(value, list) and len(text) > 70:
        text = _flow(value[:1])[:-1] + ", ...]"
    return f"`{text if len(text) <= 90 else text[:87] + '...'}`".replace("|", "\\|")


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_flow(one)}" for name, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w./:@ -]*[A-Za-z][\w./:@ -]*", value) and not value.endswith(":")
        return " ".join(value.split()) if plain else '"' + " ".join(value.split()) + '"'
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type_name(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not getattr(hint, "__args__", None) else str(hint)
    text = re.sub(r"\b(?:trimtab|typing)(?:\.\w+)*\.(?=\w)", "", text)
    text = re.sub(r"Literal\[([^\]]*)\]", lambda found: found.group(1).replace(", ", " or ").replace("'", ""), text)
    text = re.sub(r"Optional\[(.*)\]", r"\1 | None", text)
    return text.replace(" | None", " or null").replace("|", "or")


def _check_stages() -> None:
    """The stages that the code books are those that are described."""
    folder = Path(trimtab.dataplane.__file__).parent
    booked = {
        name
        for path in [*folder.rglob("*.py"), folder.parent / "core" / "ledger.py"]
        for name in re.findall(r"(?:\.stage|\.spent)\(\s*\"(\w+)\"", path.read_text())
    } | {"infer"}
    if booked != STAGES.keys():
        raise SystemExit(f"stages that differ from STAGES in {__file__}: {sorted(booked ^ STAGES.keys())}")


_OPTIONAL = "A workspace need not have this document."

_INTRODUCTION = """\
# Configuration

A workspace is a folder of documents. `trimtab init` writes [an example](example.md); `trimtab check` reads it all and
names every mistake by file and line. A running gateway takes changes within a second, whole or not at all: a broken
change is refused and said in the log, and the last good one serves on. `server`, `engines` and `storage` of
trimtab.yaml take effect at the next start.

| file | holds |
|---|---|
| `trimtab.yaml` | how the processes run |
| `models.yaml` | endpoints, variants, aliases |
| `prices.yaml` | what tokens cost, by model |
| `policy.yaml` | rules ([variables](policy.md)) |
| `events.yaml` | when channels are of a higher priority class ([how](../how-to/raise-priority-for-an-event.md)) |
| `experiments.yaml` | which sessions get another variant ([how](../how-to/split-traffic.md)) |
| `slo.yaml` | objectives beyond those that channels declare, and who is told ([how](../how-to/hold-an-objective.md)) |
| `features.yaml` | figures of past requests that policy reads ([how](../how-to/declare-a-feature.md)) |
| `tenants/NAME.yaml` | who pays: keys, budgets, limits, channels with their targets |
| `templates/LANG.yaml` | answers that no model makes |
| `prompts/NAME.md` | system prompts of variants |
| `corpora/NAME/**/*.md` | documents that answers are made from |
| `golden/*.jsonl` | questions with what is true of them, for `trimtab eval` |
| `.schema/*.json` | JSON Schemas of the above, for editors (`trimtab init --schemas` writes them anew) |
| `var/` | what the gateway writes: records, indexes, the workspace's secret |
| `run/` | the admin socket of a running gateway |

Where the workspace is: `--workspace DIR`, else the variable `TRIMTAB_WORKSPACE`, else `./workspace`. Where it listens:
`trimtab serve --host` and `--port`, else `server` of trimtab.yaml. Terms of a request: the channel's, then what its
`routes` say for the HTTP path, then what its `personas` say; the caller may tighten the result.

Money is US dollars, exact to the nano-dollar; write it as text (`"0.002"`). Unknown fields, doubled keys and YAML's
anchors are refused. Secrets stand as `env:NAME` or `file:PATH` (relative to the workspace), never themselves.
"""

_TEXTS = """\
Required: {required}; and where a channel has a corpus, {grounded}. In the templates of a corpus `{{quote}}` and
`{{source}}` are put in. A rule may name any other template by `answer: "template:NAME"`.

## prompts/NAME.md

The system prompt of the variants that name it, as plain text. What looks like a credential is refused.

## corpora/NAME/

Markdown in UTF-8, at most 4 MiB a file. It is cut at its headings. The language of a document is said by its name
(`returns.de.md`) or by a folder (`de/returns.md`). A running gateway embeds what has changed by itself; `trimtab index
build` does so beforehand.

## golden/NAME.jsonl

JSON lines of two kinds.
"""

_RECORDS = """\
# Records

One row for each request, JSON lines under `var/records`, each behind its CRC32 in hex: `w0000-sSEQ-tTIME.jsonl` is a
segment of worker 0 that begins with row SEQ. `null` is unknown, 0 is a measured zero. No field holds what was asked or
answered. `trimtab explain ID --json` shows one, `trimtab report` sums them up, `trimtab report --verify` checks CRCs
and the chain.

Times are milliseconds after arrival, money is nano-dollars (a dollar is 1,000,000,000).
"""

_EXAMPLE = """\
# The example workspace

What `trimtab init` writes, in full but for the corpora and golden sets in other languages. All defaults that are not
written here are in the [configuration reference](configuration.md).
"""
