// A talk with the run's model: what a person writes goes to the server, and events come back a line each.
"use strict";
(() => {
  const { el, shown, text, tree } = window.sparring;
  const root = document.documentElement;
  const at = (id) => document.getElementById(id);
  const PAGE = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const BUTTONS = { __proto__: null, "/answer": "Answer now", "/compare": "Compare with m_0", "/example": "Example", "/new": "Begin anew", "/help": "Help" };
  const VERDICTS = { __proto__: null, correct: "nothing is wrong", wrong: "wrong", unreadable: "cannot be read" };
  const OTHERS = new Set(["m_0", "judge", "refiner"]);
  let turn = null, wanted = "";

  function post(path, body) {
    return fetch(path, { method: "POST", cache: "no-store", body: JSON.stringify({ page: PAGE, ...body }),
      headers: { "Content-Type": "application/json", "X-Sparring-Token": root.dataset.token } });
  }

  // ---- The log: an exchange is what a person wrote and all that came of it; m_0 gets a lane of its own ----
  function near() {
    const log = at("chat-log");
    return log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  }

  // Does something to the log, and stays at its end where the reader was there.
  function following(act) {
    const follow = near();
    act();
    if (follow) at("chat-log").scrollTop = at("chat-log").scrollHeight;
  }

  function put(parent, node) {
    parent.append(node);
    return node;
  }

  function begin(said) {
    const log = at("chat-log"), lanes = el("div.lanes");
    log.hidden = false;
    const you = said ? el("div.message.you", {}, el("p.who", {}, "you"), text(said)) : null;
    turn = { lanes, byName: new Map(), lane: null, coming: new Map(), trees: new Map(), ended: false };
    put(log, el("div.exchange", {}, you, lanes));
    log.scrollTop = log.scrollHeight;
  }

  function lane(who) {
    const speaks = who === undefined || who === "judge" || who === "refiner" ? null : who;
    if (speaks && !turn.byName.has(speaks)) {
      turn.byName.set(speaks, turn.lanes.appendChild(turn.byName.size ? el("div.lane") : turn.lane ?? el("div.lane")));
      turn.lanes.classList.toggle("several", turn.byName.size > 1);
    }
    if (speaks) turn.lane = turn.byName.get(speaks);
    return turn.lane ??= turn.lanes.appendChild(el("div.lane"));
  }

  function bubble({ who, part }) {
    const words = el("div.text", { dir: "auto" });
    const node = el(`div.message.${OTHERS.has(who) ? "other" : "ours"}`, {},
      el("p.who", {}, el("bdi", {}, shown(who)), el("span.note", {}, shown(part))), words);
    const where = lane(who), last = where.lastElementChild;
    if (who === "judge" && last?.classList.contains("grown")) last.before(node); // what was said of its root; it grows below
    else where.append(node);
    return { node, words, part };
  }

  const key = ({ who, part }) => `${who}\n${part}`;

  function delta(event) {
    let at = turn.coming.get(key(event));
    if (!at) {
      at = bubble(event);
      at.node.classList.add("coming");
      turn.coming.set(key(event), at);
    }
    put(at.words, document.createTextNode(shown(event.text)));
  }

  function message(event) {
    const known = turn.coming.get(key(event)), made = known ?? bubble(event), facts = event.facts ?? {};
    turn.coming.delete(key(event));
    made.node.classList.remove("coming");
    const told = worded(facts), where = lane(event.who);
    made.words.replaceWith(...[text(event.text || (told ? "" : "(nothing)"))].flat());
    if (!event.text && told) made.node.querySelector(".text").remove();
    if (told) made.node.querySelector(".who").append(el("span.note", {}, shown(told)));
    if (event.part === "attempt" || event.part === "update") where.attempt = made.node;
    if (facts.mark && where.attempt) quote(where.attempt, facts);
  }

  // What feedback quotes is marked in the attempt that it is about. Characters are counted as Python counts them.
  function quote(node, { attempt, mark: [start, end] }) {
    const units = (n) => [...attempt].slice(0, n).join("").length;
    node.querySelector(".text").replaceWith(...[text(attempt, [{ start: units(start), end: units(end), kind: "quoted" }])].flat());
  }

  function worded(facts) {
    const words = [];
    if (facts.verdict) words.push(VERDICTS[facts.verdict] ?? facts.verdict);
    if (facts.step !== undefined && facts.step !== null) words.push(`step (${facts.step})`);
    if (facts.script) words.push(`a script finds it ${facts.script}`);
    if (facts.value !== undefined) words.push(facts.value === null ? "unscored" : `${Math.round(100 * facts.value)} % of votes say Yes`);
    if (facts.yes !== undefined) words.push(`${facts.yes} Yes, ${facts.no} No${facts.unreadable ? `, ${facts.unreadable} unreadable` : ""}`);
    if (facts.accepted !== undefined) words.push(facts.accepted ? "accepted" : "not accepted");
    if (facts.finish) words.push(facts.finish);
    return words.join(" · ");
  }

  // ---- A tree that grows: drawn anew at most once a frame, with the node that was chosen still chosen ----
  function node({ tree: name, node: row }) {
    let grown = turn.trees.get(name);
    if (!grown) {
      grown = { nodes: new Map(), box: put(lane(), el("div.grown")), due: false };
      turn.trees.set(name, grown);
    }
    grown.nodes.set(row.id, row);
    if (grown.due) return;
    grown.due = true;
    requestAnimationFrame(() => following(() => draw(grown)));
  }

  function draw(grown) {
    grown.due = false;
    const chosen = grown.box.querySelector("[aria-pressed=true]")?.getAttribute("aria-label");
    const nodes = [...grown.nodes.values()].sort((a, b) => a.id - b.id);
    grown.box.replaceChildren(...tree({ nodes, dropped: {} }, text).flat(9).filter(Boolean));
    const done = nodes.some((one) => one.accepted);
    if (chosen && !done) [...grown.box.querySelectorAll(".knot")].find((knot) => knot.getAttribute("aria-label") === chosen)
      ?.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  }

  function line(kind, said) {
    put(lane(), el(`p.${kind}-line`, {}, shown(said)));
  }

  function note({ text: said }) {
    if (wanted) { // an example goes where it can be sent from
      at("chat-text").value = said;
      wanted = "";
      at("chat-text").focus();
    } else line("note", said);
  }

  function opened(event) {
    turn.opening?.remove();
    line("note", event.greeting);
    at("chat-end").hidden = false;
    at("chat-compare").closest("label").hidden = true; // how it was opened; from here on there is the button
    at("chat-commands").replaceChildren(...Object.keys(BUTTONS).filter((name) => name in event.commands)
      .map((name) => el("button.quiet", { type: "button", title: event.commands[name], onclick: () => send(name) }, BUTTONS[name])));
  }

  const HEARD = {
    __proto__: null,
    opening: () => { turn.opening = put(lane(), el("p.note-line", {}, "Opening the model …")); },
    open: opened, delta, message, node, note,
    turn: (event) => { turn.ended = true; at("chat-hint").textContent = shown(event.hint); },
    error: (event) => { turn.opening?.remove(); line("error", event.text); turn.ended = true; },
  };

  // ---- Sending ----
  async function heard(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const one of lines) if (one) { const event = JSON.parse(one); following(() => HEARD[event.event]?.(event)); }
    }
  }

  async function send(said) {
    if (at("chat-send").disabled || !said.trim()) return;
    wanted = said === "/example" ? said : "";
    busy(true);
    begin(wanted ? "" : BUTTONS[said] ?? said);
    try {
      const response = await post("/say", { text: said, compare: at("chat-compare").checked });
      if (response.ok) await heard(response);
      else {
        line("error", await response.text());
        at("chat-text").value ||= said; // it was not taken, and need not be written again
      }
      if (response.ok && !turn.ended) line("error", "It broke off. The terminal of sparring view may say why.");
    } catch {
      line("error", "No answer from sparring view: was it stopped?");
    } finally {
      for (const { node } of turn.coming.values()) node.classList.remove("coming");
      turn.opening?.remove();
      if (!turn.lanes.textContent) turn.lanes.parentElement.remove();
      wanted = "";
      busy(false);
    }
  }

  function busy(now) {
    at("chat-send").disabled = now;
    at("chat-stop").hidden = !now;
    for (const button of at("chat-commands").children) button.disabled = now;
    at("chat-end").disabled = now;
  }

  async function end() {
    await post("/end", {}).catch(() => null);
    at("chat-end").hidden = true;
    at("chat-compare").closest("label").hidden = false;
    at("chat-commands").replaceChildren();
    at("chat-hint").textContent = "The model is closed; the next message opens the one that was trained last.";
  }

  document.addEventListener("DOMContentLoaded", () => {
    const box = at("chat-text");
    const submit = () => { const said = box.value; if (said.trim() && !at("chat-send").disabled) { box.value = ""; send(said); } };
    at("chat-form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
    });
    at("chat-stop").addEventListener("click", () => post("/stop", {}).catch(() => null));
    at("chat-end").addEventListener("click", end);
  });
})();
