"""Names of OpenTelemetry's conventions, in one table, as they stood at the revisions below; what is not in them is ours
and begins with `trimtab.`.

GenAI: open-telemetry/semantic-conventions-genai, docs/gen-ai/client-inference.md at 024a4f9 (status: development);
HTTP and errors: open-telemetry/semantic-conventions 1.41.0 (stable).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REVISION: Final = "semantic-conventions-genai@024a4f9"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.0"

HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
ERROR_TYPE: Final = "error.type"

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
CONVERSATION: Final = "gen_ai.conversation.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"

PROVIDERS: Final[Mapping[str | None, str]] = {
    "openai": "openai",
    "responses": "openai",
    "azure": "azure.ai.openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "bedrock": "aws.bedrock",
    "vertex": "gcp.vertex_ai",
    None: "trimtab",
}
"""By dialect. Who speaks OpenAI's is called openai, as the conventions want it where nobody knows better; engines have
names of their own (llamacpp, vllm, sglang); what runs in the gateway is trimtab's."""

SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE: Final = "service.instance.id"
