// Talks to the server over a WebSocket, until the session ends.
const form = document.querySelector("[data-socket]");
const log = document.querySelector("[data-log]");
const status = document.querySelector("[data-status]");
const field = form.querySelector("input[name=text]");
const address = new URL(form.dataset.socket, location.href);
address.protocol = address.protocol.replace("http", "ws");
const socket = new WebSocket(address);
const KEPT_LINES = 50;

function show(text, state) {
  status.textContent = text;
  status.dataset.state = state;
}

socket.addEventListener("open", () => show("Connected", "good"));
socket.addEventListener("close", (event) => {
  const text = event.reason ? `Closed by the server: ${event.reason}` : "Closed";
  show(text, "bad");
  form.querySelector("button").disabled = true;
});
socket.addEventListener("message", (event) => {
  const answer = JSON.parse(event.data);
  const line = document.createElement("li");
  line.textContent = `${answer.account ?? "A visitor"}, message ${answer.count}: ${answer.text}`;
  log.append(line);
  while (log.children.length > KEPT_LINES) log.firstChild.remove();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN || !field.value) return;
  socket.send(field.value);
  field.value = "";
  field.focus();
});
