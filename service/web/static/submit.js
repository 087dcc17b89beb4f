// The submit page: what a grid would cost, told while it is written, in an editor where there is one.
const SETTLED_MS = 300;

function told(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function counted(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function said(found) {
  return `${counted(found.trials, "trial")}, ${found.new} new, ${counted(found.stacks, "stack")}, about ${told(found.estimated_seconds)}`
    + (found.search ? `; this is the first round of a search that may add to ${found.search.at_most} trials`
      + (found.search.rounds ? ` in ${found.search.rounds} rounds more` : "") : "")
    + (found.continued ? `; ${found.continued} go on from where shorter ones end` : "")
    + Object.entries(found.from_zero).map(([why, n]) => `; ${n} longer ones train from zero: ${why}`).join("");
}

// One row for each axis: how many values it has, and what one more of them would cost.
function axes(found) {
  const groups = found.together, joined = groups.flatMap((one) => one.paths);
  const rows = Object.entries(found.axes).filter(([path]) => !joined.includes(path)).map(([path, values]) => [path, values.length]);
  rows.push(...groups.map((one) => [one.paths.join(", "), one.values]));
  const points = rows.reduce((product, [, count]) => product * count, 1);
  if (found.trials % points === 0 && found.trials > points) rows.push(["seeds", found.trials / points]);
  return rows.map(([path, count]) => {
    const row = document.createElement("tr");
    for (const [place, text] of [path, `${count}`, `${Math.round(found.trials / count)}`, told(found.estimated_seconds / count)].entries()) {
      const cell = document.createElement(place ? "td" : "th");
      if (place) cell.className = "num"; else cell.scope = "row";
      cell.textContent = text; row.append(cell);
    }
    return row;
  });
}

export async function previewed(area) {
  const cost = document.getElementById("cost"), table = document.getElementById("axes");
  let waiting = null, asked = 0;
  const ask = async () => {
    const number = ++asked;
    const answer = await fetch(area.dataset.preview,
      { method: "POST", headers: { "Content-Type": "application/yaml" }, body: area.value });
    const found = await answer.json();
    if (number !== asked) return;
    cost.textContent = answer.ok ? said(found) : found.detail;
    table.hidden = !answer.ok || !found.trials;
    if (answer.ok) table.tBodies[0].replaceChildren(...axes(found));
    area.dispatchEvent(new CustomEvent("previewed", { detail: answer.ok ? [] : found.errors || [] }));
  };
  area.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(ask, SETTLED_MS); });
  const { open } = await import("./editor.js");
  // what scrolls has to hold something that Tab is known to reach
  open(area).contentDOM.tabIndex = 0;
  ask();
}
