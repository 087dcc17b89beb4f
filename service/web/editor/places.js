// Where in a grid's text a path of an error stands, and which path the cursor is on.
import { ensureSyntaxTree } from "@codemirror/language";

const MAPPINGS = ["BlockMapping", "FlowMapping"], SEQUENCES = ["BlockSequence", "FlowSequence"];

function children(node) {
  const found = [];
  for (let one = node.firstChild; one; one = one.nextSibling) found.push(one);
  return found;
}

function written(state, node) {
  return state.sliceDoc(node.from, node.to).trim().replace(/^(["'])(.*)\1$/s, "$2");
}

function value(pair) {
  return children(pair).filter((one) => !["Key", ":", "?", "Comment"].includes(one.name)).at(-1) || null;
}

// The range of a path such as axes.network.depth[1]; of the nearest part of it that is written. Keys may hold dots.
export function placeOf(state, path) {
  const tree = ensureSyntaxTree(state, state.doc.length, 500);
  let found = null;
  const step = (node, rest) => {
    if (!node || !rest) return;
    if (MAPPINGS.includes(node.name)) {
      let best = null;
      for (const pair of children(node).filter((one) => one.name === "Pair")) {
        const key = pair.getChild("Key");
        if (!key) continue;
        const name = written(state, key), after = rest.slice(name.length);
        if (rest.startsWith(name) && /^($|[.[])/.test(after) && (!best || name.length > best.name.length)) best = { key, name, pair, after };
      }
      if (!best) return;
      const inner = value(best.pair);
      found = best.after || !inner ? { from: best.key.from, to: best.key.to } : { from: inner.from, to: inner.to };
      step(inner, best.after.replace(/^\./, ""));
    } else if (SEQUENCES.includes(node.name)) {
      const index = rest.match(/^\[(\d+)\]\.?(.*)$/s);
      const items = children(node).filter((one) => !["[", "]", ",", "Comment"].includes(one.name));
      const item = index && items[Number(index[1])];
      if (!item) return;
      const inner = item.name === "Item" ? item.lastChild : item;
      found = { from: inner.from, to: inner.to };
      step(inner, index[2]);
    }
  };
  let top = tree && tree.topNode;
  while (top && ["Stream", "Document"].includes(top.name)) top = children(top).find((one) => !/^(Comment|DirectiveEnd|DocEnd)$/.test(one.name)) || null;
  step(top, path);
  return found;
}

// Keys above a place in the text, by indentation and by the braces of its line; and what the line holds before it.
export function contextOf(state, at) {
  const line = state.doc.lineAt(at), before = line.text.slice(0, at - line.from), keys = [];
  let indent = before.match(/^\s*(?:- )?/)[0].length;
  const flow = [];
  for (const match of before.matchAll(/(?:([\w.@-]+)\s*:\s*)?([{[])|([}\]])/g)) match[3] ? flow.pop() : flow.push({ key: match[1] || null, is: match[2] });
  for (let number = line.number - 1; number > 0 && indent > 0; number--) {
    const match = state.doc.line(number).text.match(/^(\s*(?:- )?)([\w.@-]+)\s*:\s*(?:#.*)?$/);
    if (match && match[1].length < indent) { keys.unshift(match[2]); indent = match[1].length; }
  }
  for (const one of flow) if (one.key) keys.push(one.key);
  const open = flow.at(-1), tail = before.slice(Math.max(before.lastIndexOf("{"), before.lastIndexOf("["), before.lastIndexOf(",")) + 1);
  const rest = open ? tail : before, pair = rest.match(/^\s*(?:- )?([\w.@-]+)\s*:\s+(\S*)$/);
  if (open && open.is === "[") return { keys, isValue: true, word: rest.trim() };
  if (pair) return { keys: [...keys, pair[1]], isValue: true, word: pair[2] };
  return { keys, isValue: false, word: rest.trim().replace(/^- /, "") };
}
