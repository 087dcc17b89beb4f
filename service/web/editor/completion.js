// What may be written at a place of a grid, from the schema that the service publishes.
import { contextOf } from "./places.js";

function resolved(schema, part) {
  while (part && part.$ref) {
    const { $ref, ...more } = part;
    part = { ...$ref.slice(2).split("/").reduce((at, name) => at && at[name], schema), ...more };
  }
  return part || {};
}

// Every schema that a part may be: what it refers to and the branches of its anyOf.
function branches(schema, part) {
  const one = resolved(schema, part);
  return [one, ...(one.anyOf || []).flatMap((inner) => branches(schema, inner))];
}

function below(schema, keys) {
  let parts = branches(schema, schema);
  for (const key of keys) {
    parts = parts.flatMap((part) => {
      const inner = part.properties && part.properties[key];
      const item = part.items && part.items.properties ? part.items.properties[key] : null;
      return inner || item ? branches(schema, inner || item) : part.items ? branches(schema, part.items).flatMap((one) => one.properties && one.properties[key] ? branches(schema, one.properties[key]) : []) : [];
    });
  }
  return parts;
}

function info(schema, part) {
  const found = branches(schema, part), told = found.find((one) => one.description), given = found.find((one) => one.default !== undefined && one.default !== null);
  return [told ? told.description : "", given ? `Default: ${JSON.stringify(given.default)}.` : ""].filter(Boolean).join(" ");
}

function keysOf(schema, parts) {
  const found = new Map();
  for (const part of parts.flatMap((one) => [one, ...(one.items ? branches(schema, one.items) : [])])) {
    for (const [name, inner] of Object.entries(part.properties || {})) if (!found.has(name)) found.set(name, inner);
  }
  return [...found].map(([label, part]) => ({ label, apply: `${label}: `, type: "property", info: info(schema, part) || undefined }));
}

function valuesOf(schema, parts) {
  const found = new Set();
  for (const part of parts.flatMap((one) => [one, ...(one.items ? branches(schema, one.items) : [])])) {
    for (const one of part.enum || []) found.add(String(one));
    if (part.type === "boolean") ["true", "false"].forEach((one) => found.add(one));
  }
  return [...found].map((label) => ({ label, type: "enum" }));
}

export function completed(schemaOf) {
  return async (context) => {
    const { keys, isValue, word } = contextOf(context.state, context.pos);
    if (!context.explicit && !word) return null;
    const schema = await schemaOf, parts = below(schema, keys);
    const options = isValue ? valuesOf(schema, parts) : keysOf(schema, parts);
    return options.length ? { from: context.pos - word.length, options, validFor: /^[\w.@-]*$/ } : null;
  };
}
