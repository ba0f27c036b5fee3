"""Metrics of the gateway itself, which are read at each scrape: what it serves, what runs, and its process."""

from __future__ import annotations

from typing import Final

from trimtab.controlplane.metrics.text import Family, Label

LAG_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

MODEL = Label("model", "declared models, and the embedder")
_BUDGET = (
    Label("scope", "tenant, channel, key"),
    Label("name", "TENANT, TENANT/CHANNEL or key id of a declared budget"),
    Label("period", "day, month"),
    Label("tz", "the declared time zone of its period"),
)

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
FEATURES_AGE = Family(
    name="trimtab_features_age_seconds",
    kind="gauge",
    unit="seconds",
    help="Since the instant that the published features were reckoned as of; absent while there are none.",
)
FEATURES_STALE = Family(
    name="trimtab_features_stale",
    kind="gauge",
    unit="0 or 1",
    help="Whether declared features are unknown to rules, because none are published or they are too old.",
)
FEATURE_VALUES = Family(
    name="trimtab_feature_values",
    kind="gauge",
    unit="values",
    help="Published values that serve, by feature: 0 where they were reckoned by another definition.",
    labels=(Label("feature", "declared features"),),
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
AT_SCRAPE: Final = (
    *(
        INFO,
        WORKER_UP,
        PROBLEMS,
        STORE_LOST,
        FEATURES_AGE,
        FEATURES_STALE,
        FEATURE_VALUES,
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
