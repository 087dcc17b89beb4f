// Keyboard: one key leads to a page or a part of it; `?` lists them. Never while something is written, nor with a modifier.
const root = document.querySelector(".brand").href;
const KEYS = [
  ["?", "this list", () => listed()],
  ["e", "experiments", () => location.assign(root)],
  ["s", "submit a grid", () => location.assign(`${root}submit`)],
  ["c", "cluster", () => location.assign(`${root}cluster`)],
  ["/", "the first field to search or filter", () => focused("main input[type=search], main input[name=where]")],
  ["f", "the figure", () => focused("#figure")],
  ["r", "results", () => focused("#results .scroll")],
  ["t", "trials", () => focused("#trials")],
  ["0", "reset the figure's view", () => document.getElementById("again")?.click()],
  ["j", "the next row's link", () => moved(1)],
  ["k", "the row before", () => moved(-1)],
];

function focused(selector) {
  const found = document.querySelector(selector);
  if (!found) return;
  found.focus();
  found.scrollIntoView({ block: "nearest" });
}

function moved(by) {
  const links = [...document.querySelectorAll("main tbody a")].filter((one) => one.offsetParent);
  const at = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
}

function listed() {
  let list = document.getElementById("keys");
  if (!list) {
    list = document.body.appendChild(document.createElement("dialog"));
    list.id = "keys"; list.setAttribute("aria-label", "Keyboard shortcuts");
    const title = document.createElement("h2"), rows = document.createElement("dl"), close = document.createElement("button");
    title.textContent = "Keyboard"; close.textContent = "Close";
    for (const [key, what] of KEYS) {
      const name = document.createElement("dt"), told = document.createElement("dd"), kbd = document.createElement("kbd");
      kbd.textContent = key; told.textContent = what; name.append(kbd); rows.append(name, told);
    }
    close.addEventListener("click", () => list.close());
    list.append(title, rows, close);
  }
  if (list.open) list.close(); else list.showModal();
}

function writing(target) {
  return target instanceof Element && (target.matches("input:not([type=checkbox]), select, textarea, [contenteditable]") || target.shadowRoot);
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || writing(event.target)) return;
  if (document.querySelector("dialog[open]") && event.key !== "?") return;
  const known = KEYS.find(([key]) => key === event.key);
  if (!known) return;
  event.preventDefault();
  known[2]();
});
