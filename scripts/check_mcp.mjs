// The official TypeScript MCP client in a whole round: list tools, evaluate, share, read.
//
//     node check_mcp.mjs MODULES URL TOKEN
//
// MODULES is a directory whose node_modules holds @modelcontextprotocol/sdk. Called by check_mcp.py.

import assert from "node:assert";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, url, token] = process.argv.slice(2);
const require = createRequire(`${modules}/package.json`);
const load = (path) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${path}`)).href);
const { Client } = await load("client/index.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");

const METHOD = {
  "method.toml":
    'name = "visitor-ts"\nfamily = "other"\nsummary = "As vanilla."\n' +
    'command = ["aar-lab", "run", "recipe.toml"]\nclaims_teacher = true\n',
  "recipe.toml": 'summary = "As vanilla, once more."\n',
};

const client = new Client({ name: "check", version: "1.0.0" });
const headers = { Authorization: `Bearer ${token}` };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));

const call = async (name, args) => {
  const result = await client.callTool({ name, arguments: args });
  const text = result.content[0].text;
  assert(!result.isError, `${name}: ${text}`);
  return text;
};
const number = (text) => Number(text.split(" ")[1]);

const tools = (await client.listTools()).tools.map((tool) => tool.name);
assert(tools.includes("evaluate") && tools.includes("read_finding"), tools.join());
const experiment = number(await call("run_experiment", { method: { files: METHOD }, trial_rows: 400 }));
assert((await call("status", { experiment, wait_seconds: 60 })).includes("ended well"));
const evaluation = number(await call("evaluate", { method: { files: METHOD } }));
assert((await call("status", { evaluation, wait_seconds: 120 })).includes("dev PGR"));
const post = { kind: "result", title: "as vanilla", text: "once more", evaluation };
const finding = Number((await call("share_finding", post)).split(" ")[1]);
assert((await call("read_finding", { id: finding })).includes("| once more"));
await client.close();
console.log("the official TypeScript MCP client: a whole round");
