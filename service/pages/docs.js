// Makes the page of /docs from /openapi.json. It asks this server for that one file, and nobody for
// anything else; it sends no example itself, but spells each as a line for a shell. Which values
// an example takes is told in tests/support/openapi.py, which reads the file by the same rule.
"use strict";

const PROBLEMS = "application/problem+json";
const LINE_MAX = 60;
const ROOT = new URL("..", document.currentScript.src).href.replace(/\/$/, "");
let api, isKeyed = false;

// -- small things --------------------------------------------------------------------------------

function make(name, options = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function resolve(part) {
  while (part.$ref && Object.keys(part).length === 1) part = follow(part.$ref);
  return part;
}

function follow(pointer) {
  return pointer.slice(2).split("/").reduce((found, name) => found[name], api);
}

// What is written in `code` and **bold**; all else is plain text.
function write(text) {
  const parts = text.split(/(`[^`]+`|\*\*[^*]+\*\*)/);
  return parts.map((part) => {
    if (part.startsWith("`")) return make("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return make("strong", {}, part.slice(2, -2));
    return part;
  });
}

function paragraphs(text = "") {
  return text.split("\n\n").filter(Boolean).map((part) => make("p", {}, ...write(part)));
}

function table(rows) {
  return make("div", { class: "scroll" }, make("table", {}, make("tbody", {}, ...rows)));
}

function row(id, ...cells) {
  return make("tr", { id }, ...cells.map((cell) => make("td", {}, ...[cell].flat())));
}

function status(text) {
  return make("span", { class: `status ${text[0] < "4" ? "good" : "bad"}` }, text);
}

function badge(method, id) {
  return make("span", { class: `method ${method}`, id }, method.toUpperCase());
}

// -- schemas -------------------------------------------------------------------------------------

function typeOf(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return [make("a", { href: `#schema-${name}` }, name)];
  }
  const either = schema.anyOf || schema.oneOf;
  if (either) return either.flatMap((part, at) => [at ? " or " : "", ...typeOf(part)]);
  if (schema.type === "array") {
    return ["array", ...(schema.items ? [" of ", ...typeOf(schema.items)] : [])];
  }
  if (schema.allOf) return schema.allOf.flatMap((part) => [...typeOf(part), " and more"]);
  return [[schema.type || "any"].flat().join(" or ")];
}

function boundsOf(schema) {
  const told = [];
  if ("const" in schema) told.push(JSON.stringify(schema.const));
  if (schema.enum) told.push(schema.enum.map((value) => JSON.stringify(value)).join(", "));
  const { minimum, maximum } = schema;
  if (minimum !== undefined) {
    told.push(maximum === undefined ? `from ${minimum}` : `${minimum} to ${maximum}`);
  }
  if (schema.maxItems) told.push(`at most ${schema.maxItems}`);
  if (schema.maxLength) told.push(`at most ${schema.maxLength} characters`);
  if (schema.pattern) told.push(schema.pattern);
  if ("default" in schema) told.push(`default ${JSON.stringify(schema.default)}`);
  return told.join("; ");
}

function describe(schema, isRequired) {
  const bounds = boundsOf(schema);
  const type = make("div", { class: "type" }, ...typeOf(schema), bounds ? ` · ${bounds}` : "",
    isRequired ? make("span", { class: "required" }, " required") : "");
  const named = schema.$ref ? follow(schema.$ref) : {};
  return [...paragraphs(schema.description || named.description), type];
}

function members(schema) {
  const named = resolve(schema);
  const own = named.type === "array" && named.items ? resolve(named.items) : named;
  const required = own.required || [];
  const rows = Object.entries(own.properties || {}).map(([name, part]) =>
    row(undefined, make("code", {}, name), describe(part, required.includes(name))));
  return rows.length ? table(rows) : null;
}

function showSchema([name, schema]) {
  return make("details", { class: "schema", id: `schema-${name}` },
    make("summary", {}, make("code", { class: "path" }, name)),
    make("div", { class: "body" }, make("div", {}, ...describe(schema), members(schema))));
}

// -- examples ------------------------------------------------------------------------------------

function bodiesOf(operation) {
  return operation.requestBody?.content["application/json"]?.examples || {};
}

function examplesOf(operation) {
  const names = Object.keys(bodiesOf(operation));
  if (names.length) return names;
  const told = operation.parameters.flatMap((part) => Object.keys(part.examples || {}));
  return told.length ? [...new Set(told)] : [""];
}

function choose(operation, example) {
  const chosen = [];
  for (const part of operation.parameters) {
    const known = part.examples || {};
    const found = known[example] || (part.required ? Object.values(known)[0] : undefined);
    if (found) chosen.push([part, String(found.value)]);
  }
  return chosen;
}

function quote(text) {
  return `'${text.replace(/'/g, "'\\''")}'`;
}

function spellCurl(operation, example) {
  const query = new URLSearchParams();
  const words = [];
  let path = operation.path;
  const chosen = choose(operation, example);
  for (const [part, value] of chosen) {
    if (part.in === "path") path = path.replace(`{${part.name}}`, encodeURIComponent(value));
    else if (part.in === "query") query.set(part.name, value);
    else words.push(`-H ${quote(`${part.name}: ${value}`)}`);
  }
  const method = operation.method.toUpperCase();
  if (!["GET", "POST"].includes(method)) words.unshift(`-X ${method}`);
  if (isKeyed && operation.security.length) words.push('-H "Authorization: Bearer $TOKEN"');
  const body = bodiesOf(operation)[example];
  if (body) words.push(`--json ${quote(JSON.stringify(body.value))}`);
  const media = Object.keys(operation.answer.content || {});
  if (media.includes("text/event-stream")) words.push("--no-buffer");
  if (query.get("format") === "pprof") words.push(`-o ${path.split("/").pop()}.pb.gz`);
  words.push(quote(ROOT + path + (query.size ? `?${query}` : "")));
  const line = `curl ${words.join(" ")}`;
  return line.length > LINE_MAX ? `curl ${words.join(" \\\n  ")}` : line;
}

function findAnswer(operation, example) {
  for (const [code, reference] of Object.entries(operation.responses)) {
    for (const content of Object.values(resolve(reference).content || {})) {
      const shown = content.examples || {};
      const name = example || (code[0] === "2" ? Object.keys(shown)[0] : undefined);
      if (name && shown[name]) return [code, resolve(shown[name]).value];
    }
  }
  return [undefined, undefined];
}

function colour(text) {
  const pattern = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*)|\b(true|false|null)\b/g;
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    const kind = match[1] ? (match[2] ? "member" : "string") : match[3] ? "number" : "word";
    const shown = match[1] || match[0];
    parts.push(text.slice(end, match.index), make("span", { class: kind }, shown));
    end = match.index + shown.length;
  }
  return [...parts, text.slice(end)];
}

async function copy(event) {
  const button = event.currentTarget;
  const line = button.parentElement.querySelector("pre");
  try {
    await navigator.clipboard.writeText(line.textContent);
  } catch {
    // A browser without TLS gives nobody but this machine its clipboard.
    getSelection().selectAllChildren(line);
    document.execCommand("copy");
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = "copy"; }, 1500);
}

function showExample(operation, example) {
  const summary = bodiesOf(operation)[example]?.summary;
  const [code, value] = findAnswer(operation, example);
  const ask = make("div", { class: "terminal" },
    summary ? make("div", { class: "line" }, summary) : null,
    make("pre", { class: "curl", "data-of": `${operation.operationId} ${example}` }),
    make("button", { type: "button", onclick: copy }, "copy"));
  const fill = () => { ask.querySelector("pre").textContent = spellCurl(operation, example); };
  fill();
  document.addEventListener("keyed", fill);
  const answer = value === undefined ? null : make("div", { class: "terminal" },
    make("div", { class: "line" }, status(code)),
    make("pre", {}, ...colour(JSON.stringify(value, null, 2).replace(/"(-?\d{16,})"/g, "$1"))));
  return make("div", {}, ask, answer);
}

function showExamples(operation) {
  const names = examplesOf(operation);
  const shown = names.map((name) => showExample(operation, name));
  const select = (chosen) => {
    shown.forEach((part, at) => { part.hidden = at !== chosen; });
    [...tabs.children].forEach((tab, at) => tab.setAttribute("aria-selected", at === chosen));
  };
  const tabs = make("div", { class: "tabs", role: "tablist" }, ...names.map((name, at) =>
    make("button", { type: "button", role: "tab", onclick: () => select(at) }, name)));
  select(0);
  return make("div", { class: "shown" }, make("h3", {}, "Example"),
    names.length > 1 ? tabs : null, ...shown);
}

// -- operations ----------------------------------------------------------------------------------

function readOperations() {
  return Object.entries(api.paths).flatMap(([path, item]) =>
    Object.keys(item).filter((name) => name !== "parameters").map((method) => {
      const operation = item[method];
      const parameters = [...(operation.parameters || []), ...(item.parameters || [])].map(resolve);
      const answer = resolve(Object.values(operation.responses)[0]);
      const head = method === "get" && item.head;
      return { ...operation, path, method, parameters, answer, head };
    }));
}

function showParameters(operation) {
  const rows = operation.parameters.map((part) => {
    const schema = part.schema.$ref ? part.schema : { ...part.schema, description: undefined };
    const told = describe(schema, part.required).pop();
    const name = [make("code", {}, part.name), make("div", { class: "type" }, part.in)];
    return row(undefined, name, [...paragraphs(part.description), told]);
  });
  return rows.length ? [make("h3", {}, "Parameters"), table(rows)] : [];
}

function showBody(operation) {
  const content = operation.requestBody?.content;
  if (!content) return [];
  return [make("h3", {}, "Body"), ...Object.entries(content).flatMap(([media, part]) => [
    make("div", { class: "type" }, media, " · ", ...typeOf(part.schema)),
    ...(part.schema.$ref ? [] : paragraphs(part.schema.description)), members(part.schema)])];
}

function showResponse([code, reference], everywhere) {
  const response = resolve(reference);
  const content = Object.entries(response.content || {});
  const bodies = content.filter(([media]) => media !== PROBLEMS).map(([media, part]) =>
    make("div", { class: "type" }, media, " · ", ...typeOf(part.schema)));
  const problems = Object.keys(response.content?.[PROBLEMS]?.examples || {}).map((name) =>
    make("a", { href: `#problem-${name}` }, name));
  const headers = Object.keys(response.headers || {}).filter((name) => !everywhere.includes(name))
    .map((name) => make("a", { href: `#header-${name}` }, name));
  return row(undefined, status(code), [...paragraphs(response.description), ...bodies,
    problems.length ? make("div", { class: "links" }, ...problems) : null,
    headers.length ? make("div", { class: "links type" }, "headers ", ...headers) : null,
  ].filter(Boolean));
}

function scopeOf(operation) {
  const scope = operation.security.flatMap((way) => Object.values(way).flat())[0];
  return scope ? `scope ${scope}` : "no key";
}

function showOperation(operation) {
  const head = operation.head ? badge("head", operation.head.operationId) : null;
  // What every answer has is told once, at the top of the page.
  const headers = Object.values(operation.responses).map((part) => resolve(part).headers || {});
  const everywhere = Object.keys(headers[0]).filter((name) => headers.every((own) => name in own));
  const answers = Object.entries(operation.responses).map((part) => showResponse(part, everywhere));
  return make("details", { class: "operation", id: operation.operationId },
    make("summary", {}, badge(operation.method), head,
      make("code", { class: "path" }, operation.path),
      make("span", { class: "what" }, operation.summary),
      make("span", { class: "scope" }, scopeOf(operation))),
    make("div", { class: "body" },
      make("div", {}, ...paragraphs(operation.description), ...showParameters(operation),
        ...showBody(operation), make("h3", {}, "Answers"), table(answers)),
      showExamples(operation)));
}

// -- the page ------------------------------------------------------------------------------------

function showTag(tag, operations) {
  return make("section", { class: "tag", id: `tag-${tag.name}` }, make("h2", {}, tag.name),
    ...paragraphs(tag.description), ...operations.map(showOperation));
}

function showProblems() {
  const rows = Object.entries(api.components.examples)
    .sort(([, one], [, other]) => one.value.status - other.value.status)
    .map(([name, { value, summary, description }]) => row(`problem-${name}`,
      status(String(value.status)), [make("code", {}, name)],
      [make("p", {}, make("strong", {}, summary)), ...paragraphs(description)]));
  const type = api.components.schemas.Problem.properties.type.pattern.slice(1).split("[")[0];
  return make("section", { class: "tag", id: "problems" }, make("h2", {}, "problems"),
    ...paragraphs(`The \`type\` of each is \`${type}\` and its name.`), table(rows));
}

function showHeaders() {
  const rows = Object.entries(api.components.headers).map(([name, header]) =>
    row(`header-${name}`, make("code", {}, name), [...paragraphs(header.description),
      "example" in header ? make("code", {}, String(header.example)) : ""]));
  return make("section", { class: "tag" }, make("h2", {}, "headers of answers"), table(rows));
}

function showSecurity() {
  const rows = Object.entries(api.components.securitySchemes).map(([name, scheme]) => {
    const header = scheme.type === "http" ? "Authorization: Bearer …" : `${scheme.name}: …`;
    return row(undefined, [make("code", {}, header)], paragraphs(scheme.description));
  });
  return make("section", { class: "tag" }, make("h2", {}, "credentials"), table(rows));
}

function show(operations) {
  const shown = operations.filter(({ method }) => method !== "head");
  const tags = api.tags.map((tag) => [tag, shown.filter(({ tags }) => tags.includes(tag.name))]);
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("contents").append(...tags.flatMap(([tag, own]) => [
    make("h3", {}, make("span", {}, tag.name)), ...own.map((operation) =>
      make("a", { href: `#${operation.operationId}` }, badge(operation.method), operation.path))]),
    make("h3", {}, "more"), make("a", { href: "#problems" }, "problems"),
    make("a", { href: "#schemas" }, "schemas"));
  document.getElementById("page").append(
    make("section", { class: "intro" }, make("h1", {}, api.info.summary),
      ...paragraphs(api.info.description)),
    ...tags.map(([tag, own]) => showTag(tag, own)), showProblems(), showHeaders(), showSecurity(),
    make("section", { class: "tag", id: "schemas" }, make("h2", {}, "schemas"),
      ...Object.entries(api.components.schemas).map(showSchema)));
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target?.closest("details");
  if (details) details.open = true;
  target?.scrollIntoView();
}

function filter(event) {
  const wanted = event.target.value.trim().toLowerCase();
  for (const part of document.querySelectorAll(".operation, .schema, #problems tr")) {
    part.hidden = !part.textContent.toLowerCase().includes(wanted);
  }
  for (const link of document.querySelectorAll("nav a")) {
    link.hidden = document.querySelector(link.hash)?.hidden === true;
  }
}

function wire() {
  const field = document.getElementById("filter");
  const keyed = document.getElementById("keyed");
  field.hidden = keyed.hidden = false;
  field.addEventListener("input", filter);
  keyed.firstElementChild.addEventListener("change", (event) => {
    isKeyed = event.target.checked;
    document.dispatchEvent(new Event("keyed"));
  });
  addEventListener("hashchange", openTarget);
}

async function begin() {
  const page = document.getElementById("page");
  try {
    const text = await (await fetch(`${ROOT}/openapi.json`)).text();
    // Numbers that this language would round are kept as what they are written with.
    api = JSON.parse(text.replace(/([:[,]\s*)(-?\d{16,})(?=\s*[,}\]])/g, '$1"$2"'));
    show(readOperations());
    wire();
    document.querySelector(".operation").open = true;
    if (location.hash) openTarget();
  } catch (error) {
    page.append(make("p", {}, `/openapi.json cannot be shown: ${error.message}`));
    throw error;
  } finally {
    page.removeAttribute("aria-busy");
  }
}

begin();
