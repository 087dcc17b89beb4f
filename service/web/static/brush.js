// From a range marked in a figure to the filter that keeps what lies in it.

// Four digits, outwards: what stands on the edge of the mark stays in.
function rounded(value, up) {
  if (!value) return 0;
  const unit = 10 ** (Math.floor(Math.log10(Math.abs(value))) - 3);
  return Number(((up ? Math.ceil : Math.floor)(value / unit) * unit).toPrecision(5));
}

function between(path, low, high) {
  return `${path} >= ${rounded(Math.min(low, high), false)} and ${path} <= ${rounded(Math.max(low, high), true)}`;
}

function among(path, literals) {
  const named = literals.filter((one) => one !== "null"), parts = [];
  if (named.length) parts.push(`${path} in (${named.join(", ")})`);
  if (named.length < literals.length) parts.push(`${path} is null`);
  return parts.length > 1 ? `(${parts.join(" or ")})` : parts.join("");
}

function upright(axis, [low, high]) {
  if (axis.words) return among(axis.path, Object.keys(axis.words).filter((one) => axis.words[one] >= low && axis.words[one] <= high));
  const ends = [Math.max(0, low), Math.min(1, high)];
  const [from, to] = ends.map((at) => axis.log ? axis.low * (axis.high / axis.low) ** at : axis.low + at * (axis.high - axis.low));
  return between(axis.path, from, to);
}

// marked: field -> range or words, as Vega-Lite has it; said: what the figure says its fields are.
export function whereOf(marked, said) {
  if (said.axes) {
    const range = [...(marked.place || [])].sort((one, two) => one - two);
    return range.length ? (marked.axis || []).map((name) => upright(said.axes[name], range)).filter(Boolean).join(" and ") : "";
  }
  return Object.values(said).filter(({ field }) => (marked[field] || []).length).map(({ field, path, words }) =>
    words ? among(path, marked[field].map((one) => words[one])) : between(path, marked[field][0], marked[field][1])).join(" and ");
}

export function brushed(view, said) {
  const button = document.getElementById("narrow");
  if (!button) return;
  button.hidden = true;
  if (!said || !Object.keys(said).length) return;
  view.addSignalListener("brush", (_name, marked) => {
    const where = whereOf(marked || {}, said);
    button.hidden = !where;
    button.textContent = `Only where ${where}`;
    button.dataset.where = where;
  });
}

document.getElementById("narrow")?.addEventListener("click", (event) => {
  const field = document.querySelector("#h-figure ~ form [name=where]"), before = field.value.trim(), now = event.target.dataset.where;
  field.value = before ? `(${before}) and ${now}` : now;
  field.form.requestSubmit();
});
