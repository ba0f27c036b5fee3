// The cases of OpenAI's Node client: node run.mjs BASE_URL KEY [CASE...]
// Prints one JSON object: what the client saw, by case. The last message names case and script (`plain HELLO`), so that
// the scripted upstream knows what to play, and how often each case has asked.
import OpenAI from "openai";

const [baseURL, apiKey, ...wanted] = process.argv.slice(2);
const tools = [
  { type: "function", function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } } },
  { type: "function", function: { name: "time", parameters: { type: "object", properties: {} } } },
];
const format = { type: "json_schema", json_schema: { name: "Book", strict: true, schema: { type: "object" } } };
const withUsage = { stream: true, stream_options: { include_usage: true } };

function told(error) {
  const { status, code, param, type } = error;
  const message = error.error?.message ?? error.message;
  const named = typeof error.requestID === "string";
  return { class: error.constructor.name, status, message, code, param, type, request_id: named };
}

async function failing(work) {
  try {
    return { answer: await work() };
  } catch (error) {
    return told(error);
  }
}

async function drained(stream) {
  const chunks = [];
  try {
    for await (const chunk of stream) chunks.push(chunk);
  } catch (error) {
    return { chunks, error: told(error) };
  }
  return { chunks, error: null };
}

const cases = {};

// a case that asks once, whole or streamed
function asks(name, script, fields = {}, options = {}) {
  cases[name] = async () => {
    const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 10_000, ...options });
    const request = { model: "gpt-4o", messages: [{ role: "user", content: `${name} ${script}` }], ...fields };
    return failing(async () => {
      const found = await client.chat.completions.create(request);
      return fields.stream ? drained(found) : { ...found, named: typeof found._request_id };
    });
  };
}

asks("whole", "HELLO");
asks("stream", "HELLO", { stream: true });
asks("usage", "COUNTED");
asks("usage-streamed", "COUNTED", withUsage);
asks("tools", "TOOLS", { tools, tool_choice: "required", parallel_tool_calls: true });
asks("tools-streamed", "TOOLS", { tools, ...withUsage });
asks("schema", "SCHEMA", { response_format: format });
asks("two", "TWO", { n: 2 });
asks("two-streamed", "TWO", { n: 2, ...withUsage });
asks("logprobs", "LOGPROBS", { logprobs: true, top_logprobs: 2 });
asks("logprobs-streamed", "LOGPROBS", { logprobs: true, top_logprobs: 2, stream: true });
asks("sampling", "STOPPED", { stop: ["4"], seed: 7, temperature: 0.25, top_p: 0.5 });
asks("length", "CUT_SHORT", { max_tokens: 3 });
asks("length-new", "CUT_SHORT", { max_completion_tokens: 3, stream: true });
asks("unknown", "UNKNOWN", { x_new: { deep: [1, 2.5, null, "ß"] } });
asks("unknown-streamed", "UNKNOWN", { x_new: 1, stream: true });
asks("refusal", "DECLINED", { stream: true });
asks("pings", "PINGED", { stream: true });

asks("wrong", "INVALID");
asks("wrong-streamed", "INVALID", { stream: true });
asks("fault", "FAULT");
asks("limited", "LIMITED");
asks("wrong-key", "HELLO", {}, { apiKey: "sk-wrong", maxRetries: 2 });
asks("unknown-model", "HELLO", { model: "gpt-5o" }, { maxRetries: 2 });
asks("error-event", "ERROR_MIDWAY", { stream: true });
asks("cut", "CUT_MIDWAY", { stream: true });
asks("no-finish", "NO_FINISH", { stream: true });
asks("too-late", "HANG", {}, { timeout: 250 });
asks("too-late-streamed", "HANG", { stream: true }, { timeout: 250, maxRetries: 1 });
asks("retried", "TWO_FAULTS", {}, { maxRetries: 2 });
asks("not-retried", "ONE_FAULT");

// the stream helper: its events, in order, and the completion that it puts together
cases.helper = async () => {
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const messages = [{ role: "user", content: "helper TOOLS" }];
  const runner = client.chat.completions.stream({ model: "gpt-4o", messages, tools, ...withUsage });
  const events = [];
  runner.on("tool_calls.function.arguments.delta", ({ index, name, arguments_delta }) => events.push([index, name, arguments_delta]));
  runner.on("tool_calls.function.arguments.done", ({ index, name, arguments: all }) => events.push([index, name, all]));
  return { final: await runner.finalChatCompletion(), events, usage: await runner.totalUsage() };
};

// a client that goes in the middle
cases.abort = async () => {
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const messages = [{ role: "user", content: "abort HANG_MIDWAY" }];
  const stream = await client.chat.completions.create({ model: "gpt-4o", messages, stream: true });
  const texts = [];
  for await (const chunk of stream) {
    texts.push(chunk.choices[0].delta.content);
    if (chunk.choices[0].delta.content) break;
  }
  return texts;
};

// head and body
cases.head = async () => {
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const messages = [{ role: "user", content: "head HELLO" }];
  const { data, response, request_id } = await client.chat.completions.create({ model: "gpt-4o", messages }).withResponse();
  const named = request_id === response.headers.get("x-request-id") && request_id === data._request_id;
  return { named, status: response.status, type: response.headers.get("content-type") };
};

// only for who asks by name: what Trimtab says of itself
const own = {
  models: async () => {
    const client = new OpenAI({ baseURL, apiKey });
    const names = [];
    for await (const model of client.models.list()) names.push([model.id, model.object]);
    return { names, one: (await client.models.retrieve("gpt-4o")).id, none: await failing(() => client.models.retrieve("small")) };
  },
};

const found = {};
for (const name of wanted.length ? wanted : Object.keys(cases)) found[name] = await (cases[name] ?? own[name])();
console.log(JSON.stringify(found));
