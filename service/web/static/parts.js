// A part of a page by itself: its links and forms change that part and the address, and nothing else is drawn anew.
const USED = "a, button, input, select, summary";

async function replaced(name, address) {
  const answer = await fetch(address);
  if (!answer.ok) return location.assign(address);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const part = document.getElementById(name), next = fresh.getElementById(name);
  const open = [...part.querySelectorAll("details")].map((one) => one.open);
  const at = [...part.querySelectorAll(USED)].indexOf(document.activeElement);
  part.replaceChildren(...next.childNodes);
  part.querySelectorAll("details").forEach((one, place) => { one.open = open[place]; });
  if (at >= 0) part.querySelectorAll(USED)[at]?.focus({ preventScroll: true });
  // what other forms take along to their next address
  for (const carried of document.querySelectorAll("[data-carried]")) {
    const now = fresh.getElementById(carried.id);
    if (now) carried.replaceChildren(...now.childNodes);
  }
  // what takes longer than a page may wait is asked for again
  part.dataset.live = next.dataset.live || "";
  if (part.dataset.live) dispatchEvent(new Event("pending"));
  history.pushState(null, "", address);
  known = location.search;
  for (const field of document.querySelectorAll("[name=shown]")) field.value = known.slice(1);
}

let known = location.search;
addEventListener("popstate", () => { if (location.search !== known) location.reload(); });
addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-part]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  replaced(link.dataset.part, link.href);
});
addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.part) return;
  event.preventDefault();
  const address = new URL(form.action);
  address.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  replaced(form.dataset.part, address);
});
// a box that is ticked is an answer; a field that is being written in is not yet
addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-auto]");
  if (form && (event.target.tagName === "SELECT" || (form.dataset.part && event.target.type === "checkbox"))) form.requestSubmit();
});
