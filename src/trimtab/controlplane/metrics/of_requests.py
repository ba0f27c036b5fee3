"""Metrics of requests, which are counted from records as these are written."""

from __future__ import annotations

from typing import Final

from trimtab.controlplane.metrics.text import Family, Label

LATENCY_S: Final = (0.005, *(round(0.01 * 2**power, 2) for power in range(14)))
"""10 ms doubling to 81.92 s (gen_ai.client.operation.duration), and 5 ms for answers from the cache."""
TTFT_S: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0)
ITL_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
STAGE_S: Final = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
LIVE_S: Final = 300
"""Over which live quantiles are."""
LIVE_QUANTILES: Final = (0.5, 0.95, 0.99)

TENANT = Label("tenant", "declared tenants")
CHANNEL = Label("channel", "declared channels of the tenant")
TIER = Label("tier", "S, M, L")
VARIANT = Label("variant", "declared variants, by name, and the embedder")
QUANTILE = Label("q", ", ".join(map(str, LIVE_QUANTILES)))
_LIVE = f"In the last {LIVE_S // 60} minutes, whose oldest leaves by the minute, within 1 %; nothing there, no series."
_OWNER = (TENANT, CHANNEL)

REQUESTS = Family(
    name="trimtab_requests_total",
    kind="counter",
    unit="requests",
    help="Requests that have ended, those refused on arrival included, by who asked and what became of them.",
    labels=(
        *_OWNER,
        Label("path", "cache-exact, cache-semantic, direct, rag, template, refused"),
        TIER,
        VARIANT,
        Label("status", "200, and the statuses of the error codes"),
        Label("code", "the error codes (errors.md)"),
    ),
)
DURATION = Family(
    name="trimtab_request_duration_seconds",
    kind="histogram",
    unit="seconds",
    help="From a request's first byte to its end, whatever became of it.",
    labels=_OWNER,
    bounds=LATENCY_S,
)
TTFT = Family(
    name="trimtab_time_to_first_token_seconds",
    kind="histogram",
    unit="seconds",
    help="From a request's first byte to the first content that left for the caller.",
    labels=_OWNER,
    bounds=TTFT_S,
)
ITL = Family(
    name="trimtab_inter_token_p95_seconds",
    kind="histogram",
    unit="seconds",
    help="The 95th percentile of a stream's gaps between content chunks, one value a stream.",
    labels=_OWNER,
    bounds=ITL_S,
)
LIVE_DURATION = Family(
    name="trimtab_live_request_duration_seconds",
    kind="gauge",
    unit="seconds",
    help=f"From the first byte of an answered request to its end. {_LIVE}",
    labels=(*_OWNER, QUANTILE),
)
LIVE_TTFT = Family(
    name="trimtab_live_time_to_first_token_seconds",
    kind="gauge",
    unit="seconds",
    help=f"From the first byte of an answered request to the first content that left for the caller. {_LIVE}",
    labels=(*_OWNER, QUANTILE),
)
LIVE_ITL = Family(
    name="trimtab_live_inter_token_p95_seconds",
    kind="gauge",
    unit="seconds",
    help=f"The 95th percentile of a stream's gaps between chunks as a model sent them, one value a stream. {_LIVE}",
    labels=(TIER, QUANTILE),
)
STAGES = Family(
    name="trimtab_stage_duration_seconds",
    kind="histogram",
    unit="seconds",
    help="What a request spent in one stage.",
    labels=(Label("stage", "the stages of docs/explanation/request.md, accept and body"),),
    bounds=STAGE_S,
)
CONTRACT = Family(
    name="trimtab_contract_total",
    kind="counter",
    unit="requests",
    help="Contract terms kept and missed. Requests of which it can't be told are not in it.",
    labels=(*_OWNER, Label("term", "latency, quality, cost"), Label("result", "kept, missed")),
)
OBJECTIVES = Family(
    name="trimtab_objective_events_total",
    kind="counter",
    unit="requests",
    help="Requests that count for an objective, of whatever kind but money.",
    labels=(Label("objective", "ids of the workspace's objectives"), Label("result", "good, bad")),
)
TOKENS = Family(
    name="trimtab_tokens_total",
    kind="counter",
    unit="tokens",
    help="Tokens used, as the model's server told or as they were counted here.",
    labels=(*_OWNER, Label("kind", "prompt, completion")),
)
PROMPT_PARTS = Family(
    name="trimtab_prompt_part_tokens_total",
    kind="counter",
    unit="tokens",
    help="Prompt tokens by where they came from; shares of the total by size.",
    labels=(*_OWNER, Label("part", "system, history, user, retrieved")),
)
CACHED_TOKENS = Family(
    name="trimtab_cached_tokens_total",
    kind="counter",
    unit="tokens",
    help="Prompt tokens that the model's server found in its prefix cache; part of the prompt tokens.",
    labels=_OWNER,
)
WRITTEN_TOKENS = Family(
    name="trimtab_written_tokens_total",
    kind="counter",
    unit="tokens",
    help="Prompt tokens that the model's server wrote to its prefix cache; part of the prompt tokens.",
    labels=_OWNER,
)
REASONING_TOKENS = Family(
    name="trimtab_reasoning_tokens_total",
    kind="counter",
    unit="tokens",
    help="Completion tokens that were reasoning; part of the completion tokens.",
    labels=_OWNER,
)
COST = Family(
    name="trimtab_cost_usd_total",
    kind="counter",
    unit="US dollars",
    help="Settled cost, exact to the nano-dollar. Requests without a price are not in it.",
    labels=(*_OWNER, TIER, VARIANT),
)
BASELINE = Family(
    name="trimtab_baseline_usd_total",
    kind="counter",
    unit="US dollars",
    help="What the channel's baseline variant would have cost for the same tokens.",
    labels=_OWNER,
)
COMPARED = Family(
    name="trimtab_baseline_compared_usd_total",
    kind="counter",
    unit="US dollars",
    help="Settled cost of the requests that have a baseline: the saving is the baseline less this.",
    labels=_OWNER,
)
ATTEMPTS = Family(
    name="trimtab_attempts_total",
    kind="counter",
    unit="calls",
    help="Calls of models: success, dropped (failed or cut), ignored (never ran, or the caller left).",
    labels=(VARIANT, Label("outcome", "success, dropped, ignored")),
)
SETTINGS = Family(
    name="trimtab_setting_requests_total",
    kind="counter",
    unit="requests",
    help="Requests of models that have settings, by the setting that they were to get, and why.",
    labels=(
        Label("setting", "MODEL or MODEL+SETTING"),
        Label("why", "measured, measured for all, neighbour, exploring, batch, overhead"),
    ),
)
DRAFTED = Family(
    name="trimtab_setting_draft_tokens_total",
    kind="counter",
    unit="tokens",
    help="Tokens that engines with speculative decoding proposed, as far as they tell.",
    labels=(Label("setting", "MODEL+SETTING"), Label("accepted", "yes, no")),
)
GUARD_HITS = Family(
    name="trimtab_guard_hits_total",
    kind="counter",
    unit="hits",
    help="How often a guard check fired.",
    labels=(Label("stage", "in, out"), Label("check", "the guard checks, restore and grounded")),
)
HTTP_REFUSED = Family(
    name="trimtab_http_refused_total",
    kind="counter",
    unit="requests",
    help="What left no record of its own: bytes that never became a request, and what was refused on arrival.",
    labels=(Label("code", "the error codes (errors.md)"),),
)
FOLDED = Family(
    name="trimtab_metrics_folded_total",
    kind="counter",
    unit="series",
    help="Series that were not opened since their metric has its most; their requests count under other.",
)
FAILED = Family(
    name="trimtab_metrics_failed_total",
    kind="counter",
    unit="records",
    help="Records that could not be counted: a fault of ours.",
)

FROM_RECORDS: Final = (
    *(REQUESTS, DURATION, TTFT, ITL, STAGES, CONTRACT, OBJECTIVES, TOKENS, PROMPT_PARTS, CACHED_TOKENS, WRITTEN_TOKENS),
    *(LIVE_DURATION, LIVE_TTFT, LIVE_ITL),
    *(
        REASONING_TOKENS,
        COST,
        BASELINE,
        COMPARED,
        ATTEMPTS,
        SETTINGS,
        DRAFTED,
        GUARD_HITS,
        HTTP_REFUSED,
        FOLDED,
        FAILED,
    ),
)
