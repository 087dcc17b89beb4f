// The editor of the submit page. It stands in a shadow root: its styles are then adopted sheets, which a policy without
// inline styles allows. The text area below it stays the form's field.
import { autocompletion, closeBrackets, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, bracketMatching, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

import { completed } from "./completion.js";
import { placeOf } from "./places.js";

const colors = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--link)" },
  { tag: [tags.string, tags.content], color: "var(--ink)" },
  { tag: tags.number, color: "var(--ok)" }, { tag: tags.keyword, color: "var(--star)" },
  { tag: [tags.lineComment, tags.comment, tags.meta], color: "var(--soft)", fontStyle: "italic" },
  { tag: [tags.separator, tags.punctuation, tags.squareBracket, tags.brace], color: "var(--soft)" },
]);
const look = EditorView.theme({
  "&": { color: "var(--ink)", background: "var(--ground)", border: "1px solid var(--soft)", borderRadius: "4px", fontSize: ".85rem" },
  "&.cm-focused": { outline: "3px solid var(--link)", outlineOffset: "2px" },
  ".cm-scroller": { fontFamily: "ui-monospace, monospace", minHeight: "24rem", maxHeight: "44rem" },
  ".cm-content": { caretColor: "var(--ink)" }, ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { background: "var(--tint)", color: "var(--soft)", border: "0" },
  ".cm-activeLine": { background: "transparent" }, "&.cm-focused .cm-activeLine": { background: "color-mix(in srgb, var(--tint) 70%, transparent)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { background: "color-mix(in srgb, var(--heat) 30%, transparent) !important" },
  ".cm-tooltip": { background: "var(--ground)", color: "var(--ink)", border: "1px solid var(--soft)", borderRadius: "4px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "#1f5f8b !important", color: "#fff !important" },
  ".cm-completionInfo": { maxWidth: "22rem", padding: ".35rem .55rem", fontFamily: "system-ui, sans-serif" },
  ".cm-diagnostic": { fontFamily: "system-ui, sans-serif" },
});

function diagnostics(state, errors) {
  return errors.map((one) => {
    let place = one.line && one.line <= state.doc.lines ? state.doc.line(one.line) : null;
    if (!place && one.path) place = placeOf(state, one.path);
    const { from, to } = place || state.doc.line(1);
    const message = one.nearest && !one.message.includes("did you mean") ? `${one.message}; did you mean ${one.nearest}?` : one.message;
    return { from, to: Math.max(to, Math.min(from + 1, state.doc.length)), severity: "error", message: `${one.path ? `${one.path}: ` : ""}${message}` };
  });
}

export function open(area) {
  const host = document.createElement("div"), label = area.labels[0];
  host.id = "editor";
  area.before(host);
  const root = host.attachShadow({ mode: "open" });
  const schema = fetch(area.dataset.schema).then((answer) => answer.json());
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: area.value,
      extensions: [
        lineNumbers(), history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(), highlightActiveLine(),
        yaml(), syntaxHighlighting(colors), look, lintGutter(), EditorView.lineWrapping,
        autocompletion({ override: [completed(schema)], icons: false }),
        keymap.of([...completionKeymap, ...lintKeymap, ...historyKeymap, ...defaultKeymap]),
        EditorView.contentAttributes.of({ "aria-label": label.textContent, spellcheck: "false" }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          area.value = update.state.doc.toString();
          area.dispatchEvent(new Event("input"));
        }),
      ],
    }),
  });
  area.hidden = true;
  // the label names what is written in, which is no longer the field
  label.removeAttribute("for");
  label.addEventListener("click", () => view.focus());
  area.addEventListener("previewed", (event) => view.dispatch(setDiagnostics(view.state, diagnostics(view.state, event.detail))));
  host.view = view;
  return view;
}
