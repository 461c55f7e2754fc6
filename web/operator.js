// Looks at the service every two seconds, and asks it to drain when it is told to.
"use strict";

const LOOK_MS = 2000;
const ANSWER_MS = 5000;
const byId = (id) => document.getElementById(id);

// What is written again unchanged is read out again, and what is made anew can't be copied.
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function seconds(s) {
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min` : `${s} s`;
}

function cell(text, state) {
  const cell = document.createElement("td");
  cell.textContent = text;
  if (state) cell.dataset.is = state;
  return cell;
}

function row([name, part]) {
  const row = document.createElement("tr");
  const what = cell(part.detail);
  if (part.cause) {
    const cause = document.createElement("small");
    cause.textContent = part.cause;
    what.append(cause);
  }
  row.append(cell(name), cell(part.state, part.state), what);
  return row;
}

let shown = "";
function showParts(components) {
  // What does not work comes first; that no more are taken stands above.
  const order = ["failed", "starting", "degraded", "ok"];
  const parts = Object.entries(components).filter(([name]) => name !== "intake");
  parts.sort(([a, x], [b, y]) => order.indexOf(x.state) - order.indexOf(y.state) || a.localeCompare(b));
  const now = JSON.stringify(parts);
  if (now === shown) return;
  shown = now;
  byId("parts").replaceChildren(...parts.map(row));
}

function showState(is, text) {
  byId("state").dataset.is = is;
  write(byId("state"), text);
  document.title = `${text}: Viva at ${location.host}`;
}

function state(health, service) {
  if (service.drained) return ["draining", "Drained"];
  if (service.draining) return ["draining", "Draining"];
  return health.ready ? ["ready", "Ready"] : ["missing", "Not ready"];
}

function show(health, service) {
  document.body.classList.remove("gone");
  showState(...state(health, service));
  write(byId("held"), `${health.components.interviews?.detail ?? service.interviews} interviews`);
  write(byId("about"), `${health.version} at ${location.host}, up for ${seconds(health.uptime_s)}`);
  showParts(health.components);
  write(byId("what"), service.draining
    ? "No more interviews are taken, and those that are on come to their end. A restart takes interviews again."
    : "Takes no more interviews and lets those that are on come to their end. A restart takes interviews again.");
  if (service.draining) {
    byId("key").value = "";
    write(byId("said"), "");
  }
  byId("drain").hidden = !service.has_key || service.draining;
  byId("no-key").hidden = service.has_key || service.draining;
}

function showGone() {
  // What was seen last stays, and is seen to be old.
  document.body.classList.add("gone");
  showState("gone", "Does not answer");
}

async function json(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MS), cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function look() {
  const seen = await Promise.all([json("healthz"), json("api/service")]).catch(() => null);
  if (seen) show(...seen); else showGone();
}

async function drain() {
  const headers = { Authorization: `Bearer ${byId("key").value.trim()}` };
  const answer = await fetch("api/drain", { method: "POST", headers, signal: AbortSignal.timeout(ANSWER_MS) });
  if (!answer.ok) return await answer.text();
  await look();
  byId("what").focus();
  return "";
}

byId("drain").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!confirm(`Take no more interviews at ${location.host}? Only a restart takes them again.`)) return;
  const button = event.target.querySelector("button");
  button.disabled = true;
  write(byId("said"), "");
  const said = await drain().catch(() => "The service did not answer. Look at its state above before you try again.");
  write(byId("said"), said.trim());
  button.disabled = false;
});

async function follow() {
  await look();
  setTimeout(follow, LOOK_MS);
}

follow();
