// What pages do beyond plain HTML: live parts, the figure, the preview of a grid. Without it everything still works by reloading.
const LEAST_MS = 1500, POLL_MS = 2000, STREAMS = 2;
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

// A browser opens six connections to a host, whatever the number of its tabs, and an event stream keeps one of them. So a few
// tabs of a browser listen, each under a lock that ends with it, and the others ask. Where there are no locks (plain HTTP to
// another machine) all ask.
async function follow(part) {
  let last = 0, waiting = null;
  const soon = () => {
    if (waiting) return;
    waiting = setTimeout(async () => { waiting = null; last = Date.now(); await refresh(); await draw(); },
      Math.max(0, LEAST_MS - (Date.now() - last)));
  };
  let known = null;
  while (part.dataset.live === "events") {
    let listened = false;
    for (let number = 0; number < STREAMS && navigator.locks && !listened; number++) {
      listened = await navigator.locks.request(`nfa-stream-${number}`, { ifAvailable: true },
        (lock) => lock && listen(part.dataset.events, soon));
    }
    const began = Date.now();
    if (!listened) known = await asked(part.dataset.events.replace(/\/events$/, ""), known, soon);
    // a large experiment takes long to count: no tab keeps the store busy for more than a twentieth
    await new Promise((done) => setTimeout(done, Math.max(POLL_MS, 20 * (Date.now() - began))));
  }
}

function listen(address, soon) {
  return new Promise((done) => {
    const events = new EventSource(address);
    const end = () => { events.close(); soon(); done(true); };
    for (const name of ["state", "progress"]) events.addEventListener(name, soon);
    for (const name of ["end", "deleted"]) events.addEventListener(name, end);
    events.addEventListener("error", () => { if (events.readyState === EventSource.CLOSED) done(false); });
    addEventListener("pagehide", () => { events.close(); done(true); });
  });
}

async function asked(address, known, soon) {
  if (document.hidden) return known;
  try {
    const answer = await fetch(address, { cache: "no-store", headers: known ? { "If-None-Match": known } : {} });
    await answer.arrayBuffer();
    if (answer.status === 304) return known;
    soon();
    return answer.ok ? answer.headers.get("ETag") : null;
  } catch { return known; }
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
