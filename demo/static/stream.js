// Shows the session as the server's event stream tells it.
const view = document.querySelector("[data-events]");
const status = document.querySelector("[data-status]");
const source = new EventSource(view.dataset.events);

function show(text, state) {
  status.textContent = text;
  status.dataset.state = state;
}

// As the other pages write it.
function moment(value) {
  return `${new Date(value).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium", timeZone: "UTC" })} UTC`;
}

source.addEventListener("open", () => show("Connected", "good"));
source.addEventListener("error", () => show("Connecting again …", "wait"));
source.addEventListener("state", (event) => {
  const session = JSON.parse(event.data);
  for (const [name, value] of Object.entries(session)) {
    const cell = view.querySelector(`[data-field="${name}"]`);
    if (cell) cell.textContent = name === "expires_at" && value ? moment(value) : (value ?? "nobody");
  }
});
source.addEventListener("ended", (event) => {
  source.close();
  show(`No session: ${JSON.parse(event.data).reason}`, "bad");
});
