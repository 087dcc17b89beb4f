// A word from the browser when a sweep ends, if it was asked for: only then is permission asked.
const button = document.getElementById("notify"), bar = document.getElementById("progress");

export function ended() {
  const name = document.querySelector("h1").textContent, told = bar.querySelector(".state")?.textContent || "ended";
  if (button && button.getAttribute("aria-pressed") === "true") new Notification(`${name}: ${told}`, { tag: location.pathname, body: bar.querySelector(".count")?.textContent || "" });
}

if (button && "Notification" in window) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const wanted = button.getAttribute("aria-pressed") !== "true" && (await Notification.requestPermission()) === "granted";
    button.setAttribute("aria-pressed", wanted);
    button.textContent = wanted ? "Will tell when it ends" : Notification.permission === "denied" ? "The browser does not allow it" : "Tell me when it ends";
  });
}
