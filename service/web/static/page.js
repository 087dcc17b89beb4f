// What pages do beyond plain HTML: live parts, the figure, the preview of a grid. Without it everything still works by reloading.
const LEAST_MS = 1500, POLL_MS = 2000;
const night = matchMedia("(prefers-color-scheme: dark)");

async function refresh() {
  const answer = await fetch(location.href);
  if (!answer.ok) return poll();
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    const isInUse = part.contains(document.activeElement) || part.querySelector("details[open]");
    if (next && !isInUse && next.innerHTML !== part.innerHTML) part.replaceChildren(...next.childNodes);
    if (next) part.dataset.live = next.dataset.live;
  }
  poll();
}

let polling = null;
function poll() {
  if (polling || !document.querySelector('[data-live="poll"]')) return;
  polling = setTimeout(() => { polling = null; refresh(); }, POLL_MS);
}

async function draw() {
  const place = document.getElementById("figure");
  if (!place || !window.vegaEmbed) return;
  const ground = night.matches ? "&dark=true" : "";
  const answer = await fetch(place.dataset.spec + ground, { headers: { Accept: "application/json" } });
  if (!answer.ok) { place.textContent = (await answer.json()).detail; return; }
  const spec = await answer.json();
  if (spec.nothing) { place.textContent = `Not drawn: ${spec.nothing}.`; return; }
  const options = { ast: true, defaultStyle: false, actions: false, tooltip: false, renderer: "canvas" };
  await window.vegaEmbed(place, spec, options);
  place.dataset.drawn = "yes";
}

function follow(part) {
  const events = new EventSource(part.dataset.events);
  let last = 0, waiting = null;
  const soon = () => {
    if (waiting) return;
    waiting = setTimeout(async () => { waiting = null; last = Date.now(); await refresh(); await draw(); },
      Math.max(0, LEAST_MS - (Date.now() - last)));
  };
  for (const name of ["state", "progress"]) events.addEventListener(name, soon);
  for (const name of ["end", "deleted"]) events.addEventListener(name, () => { events.close(); soon(); });
  addEventListener("pagehide", () => events.close());
}

function previewed(area) {
  const cost = document.getElementById("cost");
  let waiting = null, asked = 0;
  const ask = async () => {
    const number = ++asked;
    const answer = await fetch(area.dataset.preview,
      { method: "POST", headers: { "Content-Type": "application/yaml" }, body: area.value });
    const found = await answer.json();
    if (number !== asked) return;
    cost.textContent = answer.ok
      ? `${found.trials} trials, ${found.new} new, ${found.stacks} stacks, about ${Math.max(1, Math.round(found.estimated_seconds))} s`
      : found.detail;
  };
  area.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(ask, 300); });
}

function finding(field) {
  const rows = document.getElementById(field.dataset.finds).tBodies[0].rows;
  field.closest("[hidden]").hidden = false;
  field.addEventListener("input", () => {
    const sought = field.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(sought);
  });
}

for (const field of document.querySelectorAll("[data-finds]")) finding(field);
for (const form of document.querySelectorAll("form[data-auto]")) {
  form.addEventListener("change", (event) => { if (event.target.tagName === "SELECT") form.requestSubmit(); });
}
const area = document.querySelector("[data-preview]");
if (area) previewed(area);
const live = document.querySelector('[data-live="events"]');
if (live) follow(live);
poll();
night.addEventListener("change", draw);
draw();
