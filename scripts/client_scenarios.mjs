// The same scenarios with Node's clients: node client_scenarios.mjs openai|ai URL KEY
const [client, url, key] = process.argv.slice(2);
const schema = {
  type: "object",
  properties: { name: { type: "string", maxLength: 20 }, people: { type: "integer", minimum: 0, maximum: 99999999 } },
  required: ["name", "people"],
  additionalProperties: false,
};
const hi = "Name a city and how many people live there.";
const messages = [{ role: "user", content: hi }];
const scenarios = {};

if (client === "openai") {
  const { default: OpenAI } = await import("openai");
  const chat = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 }).chat.completions;
  const ways = { model: "served", messages, max_tokens: 120, seed: 1 };
  const format = { type: "json_schema", json_schema: { name: "city", schema, strict: true } };
  const tools = [{ type: "function", function: { name: "add_city", parameters: schema } }];
  scenarios.create = async () => (await chat.create(ways)).choices[0].message.content;
  scenarios.stream = async () => {
    let text = "";
    for await (const chunk of await chat.create({ ...ways, stream: true })) text += chunk.choices[0]?.delta?.content ?? "";
    if (text !== (await scenarios.create())) throw new Error("the stream is another text");
    return text;
  };
  scenarios.json_schema = async () => JSON.parse((await chat.create({ ...ways, response_format: format })).choices[0].message.content).people + 1;
  scenarios.tools = async () => {
    const made = await chat.create({ ...ways, tools, tool_choice: "required", parallel_tool_calls: false });
    return JSON.parse(made.choices[0].message.tool_calls[0].function.arguments).people + 1;
  };
} else {
  const ai = await import("ai");
  const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
  const provider = createOpenAICompatible({ name: "own", baseURL: url, apiKey: key, supportsStructuredOutputs: true });
  const ways = { model: provider("served"), prompt: hi, maxOutputTokens: 120, seed: 1, maxRetries: 0 };
  scenarios.generateText = async () => (await ai.generateText(ways)).text;
  scenarios.streamText = async () => {
    let text = "";
    for await (const piece of ai.streamText(ways).textStream) text += piece;
    return text;
  };
  scenarios.generateObject = async () => (await ai.generateObject({ ...ways, schema: ai.jsonSchema(schema) })).object.people + 1;
  scenarios.tools = async () => {
    const tools = { add_city: ai.tool({ description: "Adds a city.", inputSchema: ai.jsonSchema(schema) }) };
    return (await ai.generateText({ ...ways, tools, toolChoice: "required" })).toolCalls[0].input.people + 1;
  };
}

let wrong = 0;
for (const [name, scenario] of Object.entries(scenarios)) {
  try {
    if (!(await scenario())) throw new Error("nothing came");
    console.log(`${name}: ok`);
  } catch (error) {
    wrong = 1;
    console.log(`${name}: FAILED ${JSON.stringify(String(error).slice(0, 300))}`);
  }
}
process.exit(wrong);
