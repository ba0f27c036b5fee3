"""Every metric that a gateway shows, in one list: what is written at a scrape, and what the reference is made of.

Names and units follow Prometheus (base units, `_total`), bounds of latencies the GenAI conventions of OpenTelemetry.
A label has the values of a closed list, or names that the workspace declares; whatever else turns up is `other`, what
is not known or does not apply is `none`.
"""

from __future__ import annotations

from typing import Final

from trimtab.controlplane.metrics.text import Family, Label

METRICS_PREFACE: Final = """\
`GET /metrics` on the gateway's port, in Prometheus' text format 0.0.4. It names tenants and what they spent, so it is
for callers of this machine: a loopback address that asks for a loopback host, without the headers of a proxy. For
anybody else, and for everybody behind a proxy that leaves no header, set `metrics_key` (`env:NAME` or `file:PATH`)
under `server` in `trimtab.yaml`: then it takes `Authorization: Bearer KEY`, from everywhere. `metrics: false` there
turns it off. The admin socket always has it:

```
curl --unix-socket workspace/run/admin.sock http://x/metrics
```

Label values are names that the workspace declares or come from a closed list. What is neither is `other`, what is not
known or does not apply is `none`. So no request can open a series of its own; a metric has at most 10,000 label
combinations, and what comes beyond counts under `other`. Names that a reload removes keep their series until the next
start. Counters begin at 0 with each start of the gateway process, except `trimtab_records_total`.

Names with `trimtab_live_` are quantiles of the last minutes, each within 1 % of the value of its rank. Neither they nor
those of several workers can be added or averaged. For another window, a share under a bound or the whole of several
gateways take the histograms, which are as exact as their bounds are close and have what was refused as well.

Who asks for `application/openmetrics-text` (Prometheus does) gets OpenMetrics 1.0 with the same series. There buckets
of latencies have exemplars: the id of a trace that was kept (`telemetry.otlp`), one request of those that they count.

With several `server.workers` one scrape, of whichever of them, has the series of all: each with one more label,
`worker`, so that `sum without (worker)` is the whole and a restart of one resets its own counters only. Budgets and
engines, of which all say the same, are shown once and without it. A gateway that is just being started again has
`trimtab_worker_up` 0 and no other series."""

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
LAG_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

TENANT = Label("tenant", "declared tenants")
CHANNEL = Label("channel", "declared channels of the tenant")
TIER = Label("tier", "S, M, L")
VARIANT = Label("variant", "declared variants, by name, and the embedder")
MODEL = Label("model", "declared models, and the embedder")
QUANTILE = Label("quantile", ", ".join(map(str, LIVE_QUANTILES)))
_LIVE = f"In the last {LIVE_S // 60} minutes, whose oldest leaves by the minute, within 1 %; nothing there, no series."
_OWNER = (TENANT, CHANNEL)
_BUDGET = (
    Label("scope", "tenant, channel, key"),
    Label("name", "TENANT, TENANT/CHANNEL or key id of a declared budget"),
    Label("period", "day, month"),
    Label("tz", "the declared time zone of its period"),
)

# --- from records

REQUESTS = Family(
    name="trimtab_requests_total",
    kind="counter",
    unit="requests",
    help="Requests that have ended, by who asked and what became of them.",
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
    help="Bytes that never became a request, and so left no record.",
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

# --- read at the scrape

INFO = Family(
    name="trimtab_info",
    kind="gauge",
    unit="1",
    help="Version, and the parts of the workspace that serve.",
    labels=(
        Label("version", "the installed version"),
        Label("tenancy", "the id that serves"),
        Label("release", "the id that serves"),
        Label("prices", "the id that serves"),
    ),
)
PROBLEMS = Family(
    name="trimtab_workspace_problems",
    kind="gauge",
    unit="problems",
    help="Problems that keep a changed workspace out; the last good one serves.",
)
WORKER_UP = Family(
    name="trimtab_worker_up",
    kind="gauge",
    unit="0 or 1",
    help="Whether a gateway process of the workspace answered this scrape.",
    labels=(Label("worker", "0 to server.workers - 1"),),
)
STORE_LOST = Family(
    name="trimtab_store_lost",
    kind="gauge",
    unit="0 or 1",
    help="Whether the shared store of limits and budgets can't be reached; 0 where there is none.",
)
DRAINING = Family(name="trimtab_draining", kind="gauge", unit="0 or 1", help="Whether the gateway is going down.")
CONNECTIONS = Family(
    name="trimtab_connections",
    kind="gauge",
    unit="connections",
    help="Open connections of callers, idle ones included.",
)
IN_FLIGHT = Family(
    name="trimtab_requests_in_flight",
    kind="gauge",
    unit="requests",
    help="Requests whose handler runs now, this scrape included.",
)
SLOTS = Family(
    name="trimtab_model_slots", kind="gauge", unit="requests", help="What a model takes at once.", labels=(MODEL,)
)
RUNNING = Family(
    name="trimtab_model_in_flight", kind="gauge", unit="requests", help="Slots of a model in use.", labels=(MODEL,)
)
WAITING = Family(
    name="trimtab_model_queue_depth",
    kind="gauge",
    unit="requests",
    help="Requests that wait for a slot of a model.",
    labels=(MODEL,),
)
EXPECTED_WAIT = Family(
    name="trimtab_model_expected_wait_seconds",
    kind="gauge",
    unit="seconds",
    help="What the next request would wait for a slot; absent until a service was seen.",
    labels=(MODEL,),
)
REPLICAS = Family(
    name="trimtab_model_replicas",
    kind="gauge",
    unit="replicas",
    help="Replicas of a model by state: ready, left alone since they said so (resting) or failed (ejected), or back.",
    labels=(MODEL, Label("state", "ready, resting, ejected, half-open, slow")),
)
ENGINE = Family(
    name="trimtab_engine_state",
    kind="gauge",
    unit="0 or 1",
    help="State of each embedded engine: 1 for the one that it is in.",
    labels=(Label("engine", "declared engines"), Label("state", "starting, ready, restarting, stopped, failed")),
)
RESTARTS = Family(
    name="trimtab_engine_restarts_total",
    kind="counter",
    unit="restarts",
    help="Restarts of an embedded engine since the supervisor started.",
    labels=(Label("engine", "declared engines"),),
)
_REPLICA = (MODEL, Label("replica", "MODEL/N, MODEL/N#KEY or engine:NAME of declared endpoints"))
BUSY = Family(
    name="trimtab_replica_busy_seconds_total",
    kind="counter",
    unit="seconds",
    help="How long each replica has had a request of this process: its rate is the share of time in which it is busy.",
    labels=_REPLICA,
)
IN_USE = Family(
    name="trimtab_replica_request_seconds_total",
    kind="counter",
    unit="seconds",
    help="The same, each request by itself: its rate is how many run on average, to be divided by the slots.",
    labels=_REPLICA,
)
ENGINE_RUNNING = Family(
    name="trimtab_engine_running",
    kind="gauge",
    unit="requests",
    help="Requests that an engine works on, whoever's they are, as it told last; too old, no series.",
    labels=_REPLICA,
)
ENGINE_WAITING = Family(
    name="trimtab_engine_waiting",
    kind="gauge",
    unit="requests",
    help="Requests that wait in an engine, whoever's they are, as it told last; too old, no series.",
    labels=_REPLICA,
)
ENGINE_KV_USED = Family(
    name="trimtab_engine_kv_used_ratio",
    kind="gauge",
    unit="0 to 1",
    help="Share of an engine's memory for keys and values that is taken, as it told last; llama.cpp does not tell.",
    labels=_REPLICA,
)
ENGINE_AGE = Family(
    name="trimtab_engine_signals_age_seconds",
    kind="gauge",
    unit="seconds",
    help="Since an engine told of itself last; one that never did has no series.",
    labels=_REPLICA,
)
CORPUS = Family(
    name="trimtab_corpus_ready",
    kind="gauge",
    unit="0 or 1",
    help="Whether the index of a corpus serves; channels that need it refuse until then.",
    labels=(Label("corpus", "corpora that channels declare"),),
)
CORPUS_BUILDING = Family(
    name="trimtab_corpus_building",
    kind="gauge",
    unit="0 or 1",
    help="Whether an index of a corpus is being built.",
    labels=(Label("corpus", "corpora that channels declare"),),
)
PASSAGES = Family(
    name="trimtab_corpus_passages",
    kind="gauge",
    unit="passages",
    help="Passages of the index that serves.",
    labels=(Label("corpus", "corpora that channels declare"),),
)
CACHE_LOOKUPS = Family(
    name="trimtab_cache_lookups_total",
    kind="counter",
    unit="lookups",
    help="Look-ups of the answer cache: a stored answer, one that another request was making, none.",
    labels=(Label("result", "hit, follower, miss"),),
)
CACHE_STORED = Family(
    name="trimtab_cache_stored_total", kind="counter", unit="answers", help="Answers put into the cache."
)
CACHE_EVICTED = Family(
    name="trimtab_cache_evicted_total", kind="counter", unit="answers", help="Answers that made room for others."
)
CACHE_ENTRIES = Family(name="trimtab_cache_entries", kind="gauge", unit="answers", help="Answers in the cache.")
CACHE_BYTES = Family(name="trimtab_cache_bytes", kind="gauge", unit="bytes", help="Size of the cached answers.")
BUDGET_LIMIT = Family(
    name="trimtab_budget_limit_usd",
    kind="gauge",
    unit="US dollars",
    help="A budget's limit, grants included.",
    labels=_BUDGET,
)
BUDGET_SPENT = Family(
    name="trimtab_budget_spent_usd",
    kind="gauge",
    unit="US dollars",
    help="Settled in the running period.",
    labels=_BUDGET,
)
BUDGET_RESERVED = Family(
    name="trimtab_budget_reserved_usd",
    kind="gauge",
    unit="US dollars",
    help="Held by requests under way.",
    labels=_BUDGET,
)
BUDGET_LEFT = Family(
    name="trimtab_budget_left_usd",
    kind="gauge",
    unit="US dollars",
    help="The limit less what is settled and held.",
    labels=_BUDGET,
)
BUDGET_ENDS = Family(
    name="trimtab_budget_period_end_timestamp_seconds",
    kind="gauge",
    unit="seconds since 1970",
    help="When the running period of a budget ends.",
    labels=_BUDGET,
)
RECORDS = Family(
    name="trimtab_records_total", kind="counter", unit="records", help="Records given to the journal in all its life."
)
RECORDS_LOST = Family(
    name="trimtab_records_lost_total",
    kind="counter",
    unit="records",
    help="Records that never reached the disk since the start.",
)
RECORDS_WAITING = Family(
    name="trimtab_records_waiting", kind="gauge", unit="records", help="Records that wait for the disk."
)
RECORDS_FAILING = Family(
    name="trimtab_records_failing", kind="gauge", unit="0 or 1", help="Whether the disk refuses the records."
)
OTLP_KEPT = Family(
    name="trimtab_otlp_kept_total",
    kind="counter",
    unit="traces",
    help="Traces that tail sampling kept, by why; one for each request. None without telemetry.otlp.",
    labels=(Label("why", "error, missed, caller, slow, share"),),
)
OTLP_TRACES = Family(
    name="trimtab_otlp_traces_total",
    kind="counter",
    unit="traces",
    help="What became of kept traces: sent, dropped since too many waited, failed after all attempts.",
    labels=(Label("result", "sent, dropped, failed"),),
)
OTLP_REJECTED = Family(
    name="trimtab_otlp_rejected_spans_total",
    kind="counter",
    unit="spans",
    help="Spans that the collector did not take out of messages that it accepted.",
)
OTLP_WAITING = Family(
    name="trimtab_otlp_waiting", kind="gauge", unit="traces", help="Kept traces that wait for the collector."
)
LAG = Family(
    name="trimtab_event_loop_lag_seconds",
    kind="histogram",
    unit="seconds",
    help="How late the event loop ran a timer of 100 ms.",
    bounds=LAG_S,
)
LOG_LOST = Family(
    name="trimtab_log_lines_lost_total",
    kind="counter",
    unit="lines",
    help="Log lines of the gateway that were not written since their reader was too slow.",
)
MEMORY_STEP = Family(
    name="trimtab_memory_step",
    kind="gauge",
    unit="0 to 4",
    help="The step of the memory ladder: 1 caches are not filled, 2 idle connections end early, 3 connections are not "
    "kept, 4 new requests are refused.",
)
MEMORY_USED = Family(
    name="trimtab_memory_used_bytes",
    kind="gauge",
    unit="bytes",
    help="What counts against the memory limit that is fullest; absent without a limit.",
)
MEMORY_LIMIT = Family(
    name="trimtab_memory_limit_bytes",
    kind="gauge",
    unit="bytes",
    help="That limit: memory_limit_mib or the container's; absent without one.",
)
TASKS = Family(
    name="trimtab_tasks",
    kind="gauge",
    unit="tasks",
    help="Tasks of the event loop that have not ended, this scrape's included: they come and go with requests.",
)
CPU = Family(
    name="process_cpu_seconds_total",
    kind="counter",
    unit="seconds",
    help="Processor time of the gateway process, user and system.",
)
RSS = Family(
    name="process_resident_memory_bytes", kind="gauge", unit="bytes", help="Resident memory of the gateway process."
)
FDS = Family(name="process_open_fds", kind="gauge", unit="descriptors", help="Open descriptors of the gateway process.")
MAX_FDS = Family(name="process_max_fds", kind="gauge", unit="descriptors", help="The most that it may open.")
STARTED = Family(
    name="process_start_time_seconds", kind="gauge", unit="seconds since 1970", help="When the gateway process began."
)
GC = Family(
    name="python_gc_collections_total",
    kind="counter",
    unit="collections",
    help="Runs of the garbage collector.",
    labels=(Label("generation", "0, 1, 2"),),
)

BUDGETS: Final = (BUDGET_LIMIT, BUDGET_SPENT, BUDGET_RESERVED, BUDGET_LEFT, BUDGET_ENDS)
"""All of a budget."""
ENGINE_TOLD: Final = (ENGINE_RUNNING, ENGINE_WAITING, ENGINE_KV_USED, ENGINE_AGE)
"""All that engines tell of themselves."""
OTLP: Final = (OTLP_KEPT, OTLP_TRACES, OTLP_REJECTED, OTLP_WAITING)
"""All of traces."""
FROM_RECORDS: Final = (
    *(REQUESTS, DURATION, TTFT, ITL, STAGES, CONTRACT, TOKENS, PROMPT_PARTS, CACHED_TOKENS, WRITTEN_TOKENS),
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
AT_SCRAPE: Final = (
    *(
        INFO,
        WORKER_UP,
        PROBLEMS,
        STORE_LOST,
        DRAINING,
        CONNECTIONS,
        IN_FLIGHT,
        SLOTS,
        RUNNING,
        WAITING,
        EXPECTED_WAIT,
        REPLICAS,
        BUSY,
        IN_USE,
    ),
    *(ENGINE, RESTARTS, *ENGINE_TOLD, CORPUS, CORPUS_BUILDING, PASSAGES, CACHE_LOOKUPS, CACHE_STORED, CACHE_EVICTED),
    *(CACHE_ENTRIES, CACHE_BYTES, *BUDGETS),
    *(RECORDS, RECORDS_LOST, RECORDS_WAITING, RECORDS_FAILING, *OTLP, LAG, MEMORY_STEP, MEMORY_USED),
    *(MEMORY_LIMIT, LOG_LOST, TASKS, CPU, RSS, FDS, MAX_FDS, STARTED, GC),
)
FAMILIES: Final = (*FROM_RECORDS, *AT_SCRAPE)
