// How the run stands, asked of the server again and again; and what is new since the page was loaded.
"use strict";
(() => {
  const { el, svg, shown, refresh } = window.sparring;
  const root = document.documentElement;
  const SOON = 1000, LATER = 5000, HIDDEN = 15000; // milliseconds between two questions
  const RENEWED = [".hero", "#loop", "#results", "#cost"]; // parts of the page that an edition may change
  const at = (id) => document.getElementById(id);
  const drawn = new Map();
  let asking = 0, wait = SOON, failures = 0;

  // ---- Small updates in place, so that nothing moves under the reader's eyes ----
  function say(id, text) {
    const node = at(id);
    node.hidden = text === null || text === undefined || text === "";
    const wanted = node.hidden ? "" : shown(text);
    if (node.textContent !== wanted) node.textContent = wanted;
  }

  function redraw(id, value, draw) {
    const key = JSON.stringify(value ?? null);
    if (drawn.get(id) === key) return;
    drawn.set(id, key);
    const node = at(id);
    node.hidden = !value;
    if (value) draw(node, value);
  }

  function going(bar) {
    at("live-going").hidden = !bar;
    if (!bar) return;
    say("live-stage", bar.label);
    say("live-count", `${bar.done.toLocaleString("en")} of ${bar.of.toLocaleString("en")}`);
    say("live-rate", [bar.rate, bar.left].filter(Boolean).join(" · ") || "…");
    Object.assign(at("live-bar"), { max: Math.max(bar.of, 1), value: Math.min(bar.done, bar.of) });
  }

  function loss(node, training) {
    const points = training.points.filter(([, value]) => value !== null);
    at("live-loss-label").textContent = shown(training.label);
    const losses = points.map(([, value]) => value), low = Math.min(...losses), high = Math.max(...losses);
    const x = (step) => (100 * step) / Math.max(training.of, 1), y = (value) => 80 - (76 * (value - low)) / (high - low || 1);
    const line = points.map(([step, value]) => `${x(step).toFixed(2)},${y(value).toFixed(2)}`).join(" ");
    at("live-loss-drawn").replaceChildren(points.length > 1 ? svg("svg", { viewBox: "0 0 100 84", preserveAspectRatio: "none", role: "img",
      "aria-label": `Training loss, from ${losses[0].toFixed(3)} to ${losses.at(-1).toFixed(3)}` }, svg("polyline", { points: line })) : "");
  }

  function rounds(node, { head, rows }) {
    node.replaceChildren(el("table.figures", {}, el("caption", {}, "Rounds so far"),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Metric"), head.map((name) => el("th.n", { scope: "col" }, name)))),
      el("tbody", {}, rows.map((row) => el(row.label.startsWith("·") ? "tr.under" : "tr", {}, el("th", { scope: "row" }, shown(row.label)), row.cells.map((cell) => el("td.n", {}, cell)))))));
  }

  function stages(node, latest) {
    at("live-stages").replaceChildren(...latest.map(({ label, took }) => el("div", {}, el("dt", {}, shown(label)), el("dd", {}, took))));
  }

  function stands(row) {
    at("live-dot").className = `dot ${row.state}`;
    say("live-says", row.says + (row.problem ? " The figures below could not be read anew; the terminal says why." : ""));
    say("live-error", row.error);
    say("live-left", row.left);
    say("live-spend", row.spend);
    say("live-quiet", row.quiet);
    going(row.bar);
    redraw("live-loss", row.training?.ended && row.state === "done" ? null : row.training, loss);
    redraw("live-rounds", row.rounds, rounds);
    redraw("live-latest", row.latest.length && row.state !== "done" ? row.latest : null, stages);
    at("chat-during").hidden = row.state !== "underway";
  }

  // ---- What is new: said quietly, shown when the reader asks for it ----
  function news(row) {
    const fresh = row.edition !== Number(root.dataset.edition);
    const named = row.news.slice(0, 3).join(", ") + (row.news.length > 3 ? ` and ${row.news.length - 3} more` : "");
    at("news").hidden = !fresh;
    say("news-says", fresh ? (row.state === "done" ? "The run is done: its results are in." : named ? `New: ${named}` : "New figures") : "");
    at("news-says").hidden = false;
  }

  async function renew() {
    const button = at("news-show");
    button.disabled = true;
    try {
      const response = await fetch("/", { cache: "no-store" });
      if (!response.ok) throw new Error();
      exchange(new DOMParser().parseFromString(await response.text(), "text/html"));
      at("news").hidden = true;
      refresh();
    } catch {
      say("news-says", "It could not be loaded. Is sparring view still running?");
    } finally {
      button.disabled = false;
    }
  }

  function exchange(page) {
    const anchor = [...document.querySelectorAll("main > section")].find((section) => section.getBoundingClientRect().bottom > 60);
    const id = anchor?.id, top = anchor?.getBoundingClientRect().top;
    root.style.overflowAnchor = "none";
    for (const part of RENEWED) {
      const [old, fresh] = [document.querySelector(part), page.querySelector(part)];
      if (!old || !fresh) continue;
      const open = [...old.querySelectorAll("details")].map((more) => more.open);
      old.replaceWith(document.adoptNode(fresh));
      fresh.querySelectorAll("details").forEach((more, index) => { more.open = open[index] ?? false; });
    }
    for (const name of ["edition", "live", "token"]) root.dataset[name] = page.documentElement.dataset[name];
    const now = (id ? at(id) : document.querySelector("main > section"))?.getBoundingClientRect().top;
    if (now !== undefined && top !== undefined) scrollBy({ top: now - top, behavior: "instant" });
    requestAnimationFrame(() => { root.style.overflowAnchor = ""; });
  }

  // ---- Asking ----
  async function ask() {
    clearTimeout(asking);
    let why = "No answer from sparring view: it was stopped, or the run's folder is gone. What is below stays readable.";
    try {
      const response = await fetch(`/now?edition=${root.dataset.edition}`, { cache: "no-store" });
      if (!response.ok) {
        why = await response.text();
        throw new Error();
      }
      const row = await response.json();
      failures = 0;
      stands(row);
      news(row);
      wait = row.state === "underway" ? SOON : LATER;
    } catch {
      failures += 1;
      if (failures > 1) {
        at("live-dot").className = "dot lost";
        say("live-says", why);
      }
      wait = LATER;
    }
    asking = setTimeout(ask, document.hidden ? HIDDEN : wait);
  }

  document.addEventListener("DOMContentLoaded", () => {
    at("news-show").addEventListener("click", renew);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
    ask();
  });
})();
