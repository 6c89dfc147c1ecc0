// Runs the race without leaving the page. Without this script the form does the same.
import { refreshPanel } from "./panel.js";

const form = document.querySelector("[data-race]");
const result = document.querySelector("[data-race-result]");
const button = form.querySelector("button");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.setAttribute("aria-disabled", "true");
  result.setAttribute("aria-busy", "true");
  try {
    const body = new URLSearchParams(new FormData(form));
    const response = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.querySelector("[data-race-result]");
    if (fresh) {
      result.replaceChildren(...fresh.childNodes);
    } else {
      result.textContent = page.querySelector("h1")?.textContent ?? "That did not work.";
    }
  } catch {
    result.textContent = "The server does not answer.";
  }
  button.removeAttribute("aria-disabled");
  result.removeAttribute("aria-busy");
  await refreshPanel();
});
