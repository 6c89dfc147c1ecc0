// Brings the panel at the foot of the page up to date: the page itself is part of what happened.
const panel = document.querySelector("[data-panel]");

export async function refreshPanel() {
  if (!panel) return;
  const response = await fetch(panel.dataset.panel, { headers: { Accept: "text/html" } });
  if (response.ok) panel.innerHTML = await response.text();
}

await refreshPanel();
