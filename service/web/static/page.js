// What pages do beyond plain HTML: live parts, the figure, the preview of a grid. Without it everything still works by reloading.
import { brushed } from "./brush.js";
import "./keys.js";
import { ended } from "./notify.js";
import "./parts.js";

const LEAST_MS = 1500, POLL_MS = 2000, STREAMS = 2;
document.documentElement.classList.add("scripted");
const night = matchMedia("(prefers-color-scheme: dark)");

async function refresh() {
  const answer = await fetch(location.href);
  if (!answer.ok) return poll();
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    const isInUse = part.contains(document.activeElement) || part.querySelector("details[open], input:checked");
    if (next && !isInUse && next.innerHTML !== part.innerHTML) part.replaceChildren(...next.childNodes);
    if (next) part.dataset.live = next.dataset.live || "";
  }
  poll();
}

let polling = null;
function poll() {
  if (polling || !document.querySelector('[data-live="poll"]')) return;
  polling = setTimeout(() => { polling = null; refresh(); }, POLL_MS);
}

let drawn = { text: "", view: null }, drawing = 0;

async function draw() {
  const place = document.getElementById("figure");
  if (!place || !window.vegaEmbed) return;
  const number = ++drawing, inside = place.clientWidth - 18;
  const ground = `${night.matches ? "&dark=true" : ""}&room=${Math.max(inside, 240)}`;
  const answer = await fetch(place.dataset.spec + ground, { headers: { Accept: "application/json" } });
  if (number !== drawing) return;
  if (!answer.ok) { place.textContent = (await answer.json()).detail; return; }
  const text = await answer.text();
  // what has not changed stays as it was zoomed
  if (text === drawn.text) return;
  const spec = JSON.parse(text);
  if (spec.nothing) { place.textContent = `Not drawn: ${spec.nothing}.`; return; }
  const options = { ast: true, defaultStyle: false, actions: false, tooltip, renderer: "canvas" };
  if (drawn.view) drawn.view.finalize();
  const made = await window.vegaEmbed(place, spec, options);
  drawn = { text, view: made.view, said: spec.usermeta && spec.usermeta.nfa && spec.usermeta.nfa.said };
  place.view = made.view;
  place.dataset.drawn = "yes";
  place.dataset.width = inside;
  followed(place, made.view, spec);
  brushed(made.view, spec.usermeta && spec.usermeta.nfa && spec.usermeta.nfa.brush);
  const again = document.getElementById("again");
  if (again) again.hidden = !(spec.params || []).length;
  const hint = document.querySelector(".hint");
  if (hint) hint.textContent = hinted(spec);
}

// What the hand can do with a picture.
function hinted(spec) {
  const names = (spec.params || []).map((one) => one.name), has = (name) => names.includes(name), parts = [];
  const where = spec.usermeta && spec.usermeta.nfa && spec.usermeta.nfa.where;
  if (has("brush")) parts.push("drag marks a range to narrow to" + (has("zoom") ? ", Shift and drag move, Shift and wheel zoom" : ""));
  else if (has("zoom")) parts.push("drag moves, Shift and wheel zoom");
  if (parts.length) parts.push("a double click resets");
  if (where && Object.keys(where).length) parts.push("a click leads to the trials behind it");
  if (names.some((name) => name.endsWith("_shown"))) parts.push("a click on the legend shows an entry alone");
  const said = parts.join("; ");
  return said && `${said[0].toUpperCase()}${said.slice(1)}.`;
}

// What the pointer is on. Only text is set, and the place by properties, which a strict policy allows.
function tooltip(_handler, event, item, value) {
  let told = document.getElementById("told");
  const nearest = item && item.datum && item.datum.datum, words = drawn.said || {};
  ringed(value && nearest ? item.datum : null);
  if (!value) { if (told) told.hidden = true; return; }
  if (nearest) for (const name of Object.keys(value)) if (words[name]) value[name] = nearest[words[name]];
  if (!told) {
    told = document.body.appendChild(document.createElement("div"));
    told.id = "told"; told.setAttribute("role", "tooltip");
  }
  told.replaceChildren(...Object.entries(value).map(([name, content]) => {
    const row = document.createElement("div"), key = document.createElement("span");
    key.textContent = name; row.append(key, String(content)); return row;
  }));
  told.hidden = false;
  told.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - told.offsetWidth - 8))}px`;
  told.style.top = `${Math.min(event.clientY + 14, innerHeight - told.offsetHeight - 8)}px`;
}

// The point that is spoken of. A mark of the page's own costs nothing; one of the picture's would draw all of it anew.
function ringed(point) {
  let ring = document.getElementById("ring");
  if (!point) { if (ring) ring.hidden = true; return; }
  if (!ring) {
    ring = document.body.appendChild(document.createElement("div"));
    ring.id = "ring";
  }
  const [left, top] = seen(drawn.view, point);
  ring.hidden = false;
  ring.style.left = `${left + scrollX}px`; ring.style.top = `${top + scrollY}px`;
  ring.style.background = point.fill || point.stroke || "";
}

// A click on a line or a cell leads to the trials behind it; a drag, or a click where nothing is near, does not.
const NEAR = 14;

function followed(place, view, spec) {
  const { where, fields = [] } = (spec.usermeta && spec.usermeta.nfa) || {};
  if (!where || place.dataset.trials === undefined) return;
  let from = null;
  view.container().addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY]; }, { capture: true });
  view.addEventListener("click", (event, item) => {
    const near = item && item.datum;
    if (!near || !from || Math.hypot(event.clientX - from[0], event.clientY - from[1]) > 4) return;
    const [left, top] = near.datum ? seen(view, near) : [event.clientX, event.clientY];
    if (Math.hypot(event.clientX - left, event.clientY - top) > NEAR) return;
    const mark = near.datum || near;
    for (const names of fields.length ? [fields] : [["color", "dash", "facet"], ["x", "y"], ["facet"]]) {
      const found = where[JSON.stringify(names.map((name) => mark[name]))];
      if (found === undefined) continue;
      const target = new URL(location.href), asked = target.searchParams.get("where");
      target.searchParams.delete("cursor");
      const both = asked && found ? `(${asked}) and ${found}` : asked || found;
      if (both) target.searchParams.set("trials_where", both);
      target.hash = "h-trials";
      location.assign(target);
      return;
    }
  });
}

// Where a point is seen in the window; it is placed within its panel.
function seen(view, point) {
  const ground = view.container().querySelector("canvas, svg").getBoundingClientRect();
  const [x, y] = view.origin(), around = view.padding();
  let left = ground.left + around.left + x + point.x, top = ground.top + around.top + y + point.y;
  for (let group = point.mark && point.mark.group; group; group = group.mark && group.mark.group) {
    left += group.x || 0; top += group.y || 0;
  }
  return [left, top];
}

let resized = null;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => {
    const place = document.getElementById("figure");
    if (place && Math.abs(place.clientWidth - 18 - place.dataset.width) > 8) draw();
  }, 200);
});

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
  const was = part.dataset.live;
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
  if (was === "events") ended();
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

function finding(field) {
  const rows = document.getElementById(field.dataset.finds).tBodies[0].rows;
  field.closest("[hidden]").hidden = false;
  field.addEventListener("input", () => {
    const sought = field.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(sought);
  });
}

for (const field of document.querySelectorAll("[data-finds]")) finding(field);
const area = document.querySelector("[data-preview]");
if (area) import("./submit.js").then(({ previewed }) => previewed(area));
const live = document.querySelector('[data-live="events"]');
if (live) follow(live);
addEventListener("pending", poll);
poll();
const again = document.getElementById("again");
if (again) again.addEventListener("click", () => { drawn.text = ""; draw(); });
night.addEventListener("change", draw);
draw();
