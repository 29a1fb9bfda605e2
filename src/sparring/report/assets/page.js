// What every part of the page is made with. Text of a run goes through `shown` into text nodes, and nowhere else.
"use strict";
(() => {
  const root = document.documentElement;
  const SVG = "http://www.w3.org/2000/svg";

  // ---- Characters that cannot be seen, as pictures (as in report/visible.py) ----
  const NAMED = {
    0xad: "SHY", 0x61c: "ALM", 0x180e: "MVS", 0x200b: "ZWSP", 0x200e: "LRM", 0x200f: "RLM", 0x2028: "LSEP", 0x2029: "PSEP",
    0x202a: "LRE", 0x202b: "RLE", 0x202c: "PDF", 0x202d: "LRO", 0x202e: "RLO", 0x2060: "WJ", 0x2066: "LRI", 0x2067: "RLI",
    0x2068: "FSI", 0x2069: "PDI", 0xfeff: "BOM",
  };
  const UNSEEN = new RegExp(
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f" +
    "\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}]", "gu");

  function picture(character) {
    const code = character.codePointAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "␡";
    return `⟮${NAMED[code] ?? "U+" + code.toString(16).toUpperCase().padStart(4, "0")}⟯`;
  }

  function shown(text) {
    return String(text).replace(UNSEEN, picture);
  }

  // ---- Elements: el("a.quiet", {href: "#"}, "text", child, null) ----
  // Attributes are ours, `on…` are functions, strings become text nodes.
  function made(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function" && name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (!name.startsWith("on")) node.setAttribute(name, value === true ? "" : String(value));
    }
    node.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  }

  function el(tag, attributes, ...children) {
    const [name, ...classes] = tag.split(".");
    const node = document.createElement(name);
    if (classes.length) node.className = classes.join(" ");
    return made(node, attributes, children);
  }

  function svg(tag, attributes, ...children) {
    return made(document.createElementNS(SVG, tag), attributes, children);
  }

  // ---- Blocks: gzip of JSON, in the page, beside it, or from the server ----
  const KEPT = 40; // blocks that stay unpacked
  const unpacked = new Map();
  const waiting = new Map();

  async function json(base64) {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  function beside(name) {
    return new Promise((resolve, reject) => {
      const script = el("script", { src: `${root.dataset.beside}/${name}.js` });
      waiting.set(name, resolve);
      script.addEventListener("error", () => reject(new Error(
        `${name}.js is missing: the folder ${root.dataset.beside} belongs beside this page.`)));
      script.addEventListener("load", () => {
        script.remove();
        if (waiting.delete(name)) reject(new Error(`${name}.js is not what this page has beside it.`));
      });
      document.head.append(script);
    });
  }

  function arrived(name, base64) {
    waiting.get(name)?.(json(base64));
    waiting.delete(name);
  }

  async function fetched(name) {
    const response = await fetch(`${root.dataset.live}/${name}.json`, { cache: "no-store" });
    if (!response.ok) throw new Error(`The server did not give ${name} (${response.status}).`);
    return response.json();
  }

  function load(name) {
    const known = unpacked.get(name);
    unpacked.delete(name);
    const inside = known ? null : document.getElementById(`block-${name}`);
    const block = known ?? (inside ? json(inside.textContent) : root.dataset.live ? fetched(name) : beside(name));
    unpacked.set(name, block);
    block.catch(() => unpacked.delete(name));
    if (unpacked.size > KEPT) unpacked.delete(unpacked.keys().next().value);
    return block;
  }

  const again = new Set();
  function refresh() {
    unpacked.clear();
    for (const listener of again) listener();
  }

  // ---- Theme, copy buttons, help ----
  const stored = { get: () => { try { return localStorage.getItem("sparring-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("sparring-theme", value); } catch { /* a page from disk may not store */ } } };
  const theme = stored.get();
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;

  function turned() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    stored.set(root.dataset.theme);
  }

  async function copied(button, text) {
    const label = button.dataset.label ??= button.textContent;
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch { button.textContent = "Press Ctrl+C"; }
    setTimeout(() => { button.textContent = label; }, 1600);
  }

  function copyFrom(button) {
    const node = document.getElementById(button.dataset.copy);
    getSelection()?.selectAllChildren(node);
    copied(button, node.textContent);
  }

  const HELP = [["/", "search"], ["j  k  ↓  ↑", "next, previous"], ["Enter", "open"], ["Esc", "back"], ["t", "light or dark"], ["?", "this list"]];
  let help = null;
  function helped() {
    help ??= document.body.appendChild(el("dialog.help", { "aria-labelledby": "help-title" },
      el("h2", { id: "help-title" }, "Keyboard"),
      el("dl", {}, HELP.map(([keys, does]) => el("div", {},
        el("dt", {}, keys.split("  ").map((key) => el("kbd", {}, key))), el("dd", {}, does)))),
      el("form", { method: "dialog" }, el("button.quiet", {}, "Close"))));
    help.showModal();
  }

  function typing(event) {
    return event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select, [contenteditable], dialog");
  }

  function start() {
    for (const button of document.querySelectorAll("button[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", () => copyFrom(button));
    }
    for (const [id, act] of [["theme", turned], ["keys", helped]]) {
      const button = document.getElementById(id);
      button.hidden = false;
      button.addEventListener("click", act);
    }
    document.addEventListener("keydown", (event) => {
      if (typing(event)) return;
      if (event.key === "?") helped();
      else if (event.key === "t") turned();
    });
    addEventListener("beforeprint", () => { for (const more of document.querySelectorAll("main details")) more.open = true; });
  }

  window.sparring = { el, svg, shown, load, arrived, refresh, copied, typing, again };
  document.addEventListener("DOMContentLoaded", start);
})();
