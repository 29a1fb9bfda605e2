// One rollout: its facts, conversations, texts, tables and trees, whatever recipe made it.
"use strict";
(() => {
  const { el, shown } = window.sparring;
  const LONG = 6000; // characters of a text that are seen at once
  const MANY = 200; // messages or rows that are seen at once

  // ---- Texts, with marks and a limit ----
  const MARKS = {
    wrong: "wrong: a mistake, as feedback that is borne out says", mended: "mended: new in the text that was mended",
    learned: "learned: what of the text is trained on", quoted: "quoted: what feedback quotes, rightly or not",
  };

  function cut(text, most) {
    const last = text.charCodeAt(most - 1);
    return text.slice(0, last >= 0xd800 && last < 0xdc00 ? most - 1 : most); // no half of a character
  }

  function pieces(text, marks) {
    const edges = [...new Set([0, text.length, ...marks.flatMap(({ start, end }) => [start, end])])]
      .filter((edge) => edge >= 0 && edge <= text.length).sort((a, b) => a - b);
    return edges.slice(1).map((end, at) => {
      const piece = shown(text.slice(edges[at], end));
      const kinds = marks.filter((mark) => mark.start <= edges[at] && end <= mark.end && MARKS[mark.kind]).map((mark) => mark.kind);
      if (!kinds.length) return piece;
      const named = kinds.filter((kind) => marks.some((mark) => mark.kind === kind && mark.start === edges[at]));
      return el(`mark.${kinds.join(".")}`, {}, named.map((kind) => el("span.tip", {}, kind)), piece);
    });
  }

  function text(whole, marks = []) {
    const box = el("div.text", { dir: "auto" });
    if (whole === "") return el("div.text.muted", {}, "(empty)");
    const part = whole.length > LONG ? cut(whole, LONG) : whole;
    box.append(...pieces(part, marks));
    if (part.length === whole.length) return box;
    const more = el("button.quiet.more-text", { type: "button", onclick: () => {
      box.replaceChildren(...pieces(whole, marks));
      more.remove();
      box.tabIndex = -1;
      box.focus({ preventScroll: true });
    } }, `Show all ${whole.length.toLocaleString("en")} characters`);
    return [box, more];
  }

  // Lists that may be endless: the first of them, and the rest on demand.
  function listed(items, draw, into) {
    into.append(...items.slice(0, MANY).map(draw).flat(9));
    if (items.length <= MANY) return into;
    const more = el("button.quiet", { type: "button", onclick: () => {
      more.remove();
      into.append(...items.slice(MANY).map(draw).flat(9));
    } }, `Show all ${items.length.toLocaleString("en")}`);
    return [into, more];
  }

  // ---- Conversations ----
  const OURS = new Set(["policy", "attempt", "update", "actor", "assistant"]);
  const SIDES = new Map([["system", "system"], ["user", "asks"], ["roleplayer", "asks"]]);

  function learned(weight) {
    if (weight === undefined || weight === null) return null;
    const times = weight === 1 ? "" : ` × ${+weight.toFixed(3)}`;
    return weight > 0 ? el("span.weight.on", {}, `learned${times}`) : el("span.weight", {}, "not learned");
  }

  function message({ who, text: said, marks, weight, note }) {
    const side = OURS.has(who) ? "ours" : SIDES.get(who) ?? "other";
    return el(`li.message.${side}${weight > 0 ? ".weighed" : ""}`, {},
      el("p.who", {}, el("bdi", {}, shown(who)), learned(weight), note ? el("span.note", {}, el("bdi", {}, shown(note))) : null),
      text(said, marks));
  }

  function legend(messages) {
    const kinds = new Set(messages.flatMap((one) => (one.marks ?? []).map((mark) => mark.kind)));
    const lines = Object.keys(MARKS).filter((kind) => kinds.has(kind))
      .map((kind) => el("li", {}, el(`mark.${kind}`, {}, kind), MARKS[kind].slice(kind.length)));
    if (messages.some((one) => one.weight > 0))
      lines.unshift(el("li", {}, el("span.weight.on", {}, "learned"), " trained on, with its weight; the rest of the conversation is only read"));
    return lines.length ? el("ul.legend", { "aria-label": "Legend" }, lines) : null;
  }

  function chat(part) {
    return [legend(part.messages), listed(part.messages, message, el("ol.chat"))];
  }

  // ---- Tables: where rows lead somewhere, their first cell is the link ----
  const hashOf = (to) => "#" + new URLSearchParams({ g: to.group, e: to.entry });
  const number = (value) => (Math.abs(value) >= 1e6 || Number.isInteger(value) ? value.toLocaleString("en") : String(+value.toFixed(4))).replace("-", "−");

  function cell(value, to) {
    if (value === null || value === undefined) return el("td.n.muted", {}, "–");
    if (typeof value === "number") return el("td.n", {}, number(value));
    return el("td", {}, to ? el("a.link", { href: hashOf(to), title: shown(to.label) }, el("bdi", {}, shown(value))) : value === "" ? null : text(String(value)));
  }

  function table(part) {
    const numeric = part.head.map((_, at) => part.rows.some((row) => typeof row[at] === "number"));
    const head = el("thead", {}, el("tr", {}, part.head.map((name, at) => el(numeric[at] ? "th.n" : "th", { scope: "col" }, shown(name)))));
    const row = (cells, at) => el("tr", {}, cells.map((value, column) => cell(value, column ? null : part.links?.[at])));
    const body = listed(part.rows.map((cells, at) => [cells, at]), ([cells, at]) => row(cells, at), el("tbody"));
    const [rows, more] = Array.isArray(body) ? body : [body, null];
    return [el("div.scroll", { tabindex: 0, role: "region", "aria-label": shown(part.label) }, el("table", {}, head, rows)), more];
  }

  // ---- All of it ----
  function link(to) {
    return el("a.link", { href: hashOf(to) }, el("bdi", {}, shown(to.label)));
  }

  const draw = { chat, table, text: (part) => text(part.text), tree: (part) => window.sparring.tree(part, text) };

  function part(one) {
    return el(`section.part.of-${draw[one.kind] ? one.kind : "unknown"}`, {}, one.label ? el("h4", {}, el("bdi", {}, shown(one.label))) : null,
      draw[one.kind]?.(one) ?? null);
  }

  function facts(pairs) {
    return pairs.length ? el("dl.facts", {}, pairs.map(([name, value]) =>
      el("div", {}, el("dt", {}, shown(name).replace(/^· /, "")), el("dd", {}, text(String(value)))))) : null;
  }

  // Conversations that follow one another stand side by side where there is room: m_0 and m_t, chosen and rejected.
  function detail(row) {
    const rows = [];
    for (const one of row.parts ?? []) {
      if (one.kind === "chat" && rows.at(-1)?.[0].kind === "chat") rows.at(-1).push(one);
      else rows.push([one]);
    }
    return [facts(row.facts ?? []),
      row.links?.length ? el("nav.links", { "aria-label": "Leads to" }, row.links.map(link)) : null,
      rows.map((those) => (those.length > 1 ? el("div.beside", {}, those.map(part)) : part(those[0])))];
  }

  Object.assign(window.sparring, { detail, text });
})();
