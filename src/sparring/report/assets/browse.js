// The browser of rollouts: groups, a list that draws only what is in view, filters, search, and the detail of one entry.
"use strict";
(() => {
  const { el, shown, load, typing, copied, again, detail } = window.sparring;
  const ROW = 60; // pixels of a line of the list, as in browse.css
  const SPARE = 8; // lines drawn above and below what is in view
  const KINDS = { conversations: "Conversations", trajectories: "Trajectories", trees: "Trees", answers: "Answers", rows: "Training rows",
    failures: "Failures", comparison: "Side by side" };
  const SORTS = { run: "As in the run", high: "Highest value", low: "Lowest value", rank: "Best rank" };

  let groups = [], group = null, index = null, lines = [], active = -1, opening = 0, searching = 0;
  const chosen = new Set(); // tags to filter by
  let found = null; // entries whose text holds the query, once all text was searched
  const ui = {};

  // ---- Small things ----
  const whole = (n) => n.toLocaleString("en");
  const worth = (value) => (Math.abs(value) >= 100 ? value.toFixed(1) : String(+value.toFixed(3))).replace("-", "−");
  const unitOf = (at) => index.units[index.unit[at] ?? 0] ?? "";
  const narrow = () => matchMedia("(max-width: 860px)").matches;
  const hashOf = (at) => "#" + new URLSearchParams({ g: group.id, e: index.ids[at] });
  const plural = (n, word) => `${whole(n)} ${n === 1 ? word : word.replace(/y$/, "ie") + "s"}`;

  function failed(error) {
    ui.detail.replaceChildren(el("p.problem", { role: "alert" }, shown(error.message)));
  }

  // ---- Groups ----
  function drawGroups() {
    const rounds = new Map([[null, []]]); // what is of no round comes first
    for (const one of groups) rounds.set(one.round ?? null, [...rounds.get(one.round ?? null) ?? [], one]);
    if (!rounds.get(null).length) rounds.delete(null);
    ui.groups.replaceChildren(...[...rounds].map(([round, those]) => el("div.round-groups", {},
      el("p.label", {}, round === null ? "The whole run" : `Round ${round}`),
      el("ul", {}, those.map((one) => el("li", {}, el("button.group", { type: "button", "aria-current": one === group ? "true" : null,
        title: shown(one.about), onclick: () => open(one.id) }, el("span", {}, el("bdi", {}, shown(one.label))), el("span.n", {}, whole(one.n)))))))));
  }

  async function open(id, entry = null) {
    const next = groups.find((one) => one.id === id);
    if (!next) return;
    const turn = ++opening;
    const read = await load(next.index);
    if (turn !== opening) return;
    if (group !== next) { chosen.clear(); ui.search.value = ""; ui.sort.value = "run"; active = -1; }
    [group, index, found] = [next, read, null];
    index.lower ??= index.titles.map((title) => title.toLowerCase());
    searching++;
    drawGroups();
    ui.about.textContent = shown(group.about);
    ui.kind.textContent = KINDS[group.kind] ?? "Entries";
    sift();
    const at = entry === null ? -1 : index.ids.indexOf(entry);
    if (entry !== null && at < 0) return failed(new Error(`There is no ${entry} in ${group.label}.`));
    if (at >= 0 && !lines.includes(at)) { chosen.clear(); ui.search.value = ""; sift(); }
    if (at >= 0) await show(lines.indexOf(at), true);
    else if (!narrow() && lines.length) await show(0, false, false);
    else { active = -1; ui.detail.replaceChildren(); ui.panes.classList.remove("reading"); draw(); }
  }

  // ---- Which lines, in which order ----
  function sift() {
    const query = ui.search.value.trim().toLowerCase();
    const tags = [...chosen].map((tag) => index.tags.indexOf(tag));
    const kept = active >= 0 ? lines[active] : -1;
    lines = index.ids.map((_, at) => at).filter((at) => tags.every((tag) => index.tagged[at].includes(tag)) &&
      (!query || index.lower[at].includes(query) || index.ids[at].toLowerCase().includes(query) || found?.has(at)));
    const by = { high: (at) => -(index.values[at] ?? -Infinity), low: (at) => index.values[at] ?? Infinity, rank: (at) => index.ranks[at] ?? Infinity }[ui.sort.value];
    if (by) lines.sort((a, b) => (by(a) === by(b) ? 0 : by(a) - by(b)) || a - b);
    active = lines.indexOf(kept);
    ui.count.textContent = lines.length === index.ids.length ? plural(lines.length, "entry") : `${whole(lines.length)} of ${plural(index.ids.length, "entry")}`;
    ui.deep.hidden = !query || found !== null || !index.blocks.length;
    ui.deep.textContent = "Search all text";
    drawTags();
    ui.list.scrollTop = 0;
    draw();
  }

  function drawTags() {
    const focused = document.activeElement?.dataset?.tag;
    ui.tags.replaceChildren(...index.tags.map((tag, number) => {
      const on = chosen.has(tag);
      const n = index.tagged.reduce((sum, those) => sum + those.includes(number), 0);
      return el("button.tag", { type: "button", "aria-pressed": String(on), "data-tag": tag, onclick: () => {
        if (!chosen.delete(tag)) chosen.add(tag);
        sift();
      } }, el("bdi", {}, shown(tag)), " ", el("span.n", {}, whole(n)));
    }));
    if (focused !== undefined) [...ui.tags.children].find((one) => one.dataset.tag === focused)?.focus();
  }

  // ---- The list ----
  function line(place) {
    const at = lines[place], value = index.values[at], rank = index.ranks[at];
    return el("div.line", { role: "option", id: `line-${place}`, "aria-selected": String(place === active), "aria-setsize": lines.length,
      "aria-posinset": place + 1, "data-place": place },
    el("span.title", {}, el("bdi", {}, shown(index.titles[at]) || "(no title)")),
    el("span.meta", {},
      value === null ? null : el("span.worth", {}, el("b", {}, worth(value)), unitOf(at) ? ` ${shown(unitOf(at))}` : ""),
      rank === null ? null : el("span.rank", {}, `rank ${rank} of ${index.of[at]}`),
      index.tagged[at].map((tag) => el("span.chip", {}, el("bdi", {}, shown(index.tags[tag]))))));
  }

  function draw() {
    const from = Math.max(0, Math.floor(ui.list.scrollTop / ROW) - SPARE);
    const to = Math.min(lines.length, Math.ceil((ui.list.scrollTop + (ui.list.clientHeight || 600)) / ROW) + SPARE);
    ui.space.style.height = `${lines.length * ROW}px`;
    ui.space.replaceChildren(...Array.from({ length: Math.max(0, to - from) }, (_, i) => {
      const node = line(from + i);
      node.style.transform = `translateY(${(from + i) * ROW}px)`;
      return node;
    }));
    if (active >= from && active < to) ui.list.setAttribute("aria-activedescendant", `line-${active}`);
    else ui.list.removeAttribute("aria-activedescendant");
    ui.none.hidden = lines.length > 0;
  }

  function reveal() {
    const top = active * ROW, high = ui.list.clientHeight;
    if (top < ui.list.scrollTop) ui.list.scrollTop = top;
    else if (top + ROW > ui.list.scrollTop + high) ui.list.scrollTop = top + ROW - high;
    draw();
  }

  // ---- One entry ----
  async function detailOf(at) {
    let before = 0;
    for (const [name, n] of index.blocks) {
      if (at < before + n) return (await load(name)).details[at - before];
      before += n;
    }
    throw new Error("This entry is in no block.");
  }

  function header(at, place) {
    const step = (by, label) => el("button.quiet", { type: "button", disabled: !(place + by >= 0 && place + by < lines.length),
      onclick: () => show(place + by, true) }, label);
    const share = el("button.quiet", { type: "button", onclick: () => copied(share, location.href.split("#")[0] + hashOf(at)) }, "Copy link");
    return el("header", {},
      el("div.steps", {}, el("button.quiet.back", { type: "button", onclick: back }, "← List"), step(-1, "↑ Previous"), step(1, "↓ Next"), share),
      el("h3", { tabindex: -1 }, el("bdi", {}, shown(index.titles[at]) || "(no title)")),
      el("p.meta", {}, index.values[at] === null ? null : el("span.worth", {}, el("b", {}, worth(index.values[at])), ` ${shown(unitOf(at))}`),
        index.ranks[at] === null ? null : el("span.rank", {}, `rank ${index.ranks[at]} of ${index.of[at]} siblings`),
        index.tagged[at].map((tag) => el("span.chip", {}, el("bdi", {}, shown(index.tags[tag])))),
        el("span.id.code", {}, el("bdi", {}, shown(index.ids[at])))));
  }

  async function show(place, asked, marked = true) {
    if (place < 0 || place >= lines.length) return;
    active = place;
    reveal();
    const at = lines[place], turn = ++opening;
    if (marked) { try { history.replaceState(null, "", hashOf(at)); } catch { /* some browsers keep the address of a file */ } }
    if (asked) ui.panes.classList.add("reading");
    try {
      const row = await detailOf(at);
      if (turn !== opening) return;
      const focused = ui.detail.contains(document.activeElement);
      ui.detail.replaceChildren(header(at, place), el("div.parts", {}, detail(row)));
      ui.detail.scrollTop = 0;
      if (focused || (asked && narrow())) ui.detail.querySelector("h3").focus({ preventScroll: !narrow() });
    } catch (error) { if (turn === opening) failed(error); }
  }

  function back() {
    ui.panes.classList.remove("reading");
    ui.list.focus();
    draw();
  }

  // ---- All text ----
  const UNSEEN = new Set(["kind", "group"]); // names of ours, which are shown in other words
  function* texts(value) {
    if (typeof value === "string") yield value;
    else if (value && typeof value === "object") for (const [name, inner] of Object.entries(value)) if (!UNSEEN.has(name)) yield* texts(inner);
  }

  async function searchAll() {
    const query = ui.search.value.trim().toLowerCase(), turn = ++searching, hits = new Set();
    let before = 0, done = 0;
    for (const [name, n] of index.blocks) {
      const { details } = await load(name);
      if (turn !== searching) return;
      details.forEach((row, at) => { for (const text of texts(row)) if (text.toLowerCase().includes(query)) { hits.add(before + at); break; } });
      before += n;
      ui.deep.textContent = `Searched ${++done} of ${index.blocks.length} blocks`;
    }
    found = hits;
    sift();
  }

  // ---- Keyboard and addresses ----
  const MOVES = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };

  function keyed(event) {
    if (event.defaultPrevented || (typing(event) && event.target !== ui.search)) return;
    const inList = document.activeElement === ui.list, letter = event.key === "j" || event.key === "k";
    if (event.target === ui.search) {
      if (event.key === "Escape") { ui.search.value = ""; searched(); ui.list.focus(); }
      else if (event.key === "Enter" && !ui.deep.hidden) searchAll().catch(failed);
      else if (event.key === "ArrowDown") { event.preventDefault(); ui.list.focus(); }
    } else if (event.key === "/") {
      event.preventDefault();
      ui.panes.classList.remove("reading");
      ui.search.focus();
      ui.search.select();
    } else if (event.key in MOVES && (inList || letter)) {
      event.preventDefault();
      const to = Math.max(0, Math.min(lines.length - 1, active + MOVES[event.key]));
      if (narrow() && !ui.panes.classList.contains("reading")) { active = to; reveal(); } else show(to, letter || ui.panes.classList.contains("reading"));
    } else if (event.key === "Enter" && inList) show(Math.max(0, active), true).then(() => ui.detail.querySelector("h3")?.focus());
    else if (event.key === "Escape") back();
  }

  function searched() {
    found = null;
    searching++;
    sift();
  }

  function addressed() {
    const at = new URLSearchParams(location.hash.slice(1));
    if (!at.has("g")) return false;
    ui.panes.closest("section").scrollIntoView();
    open(at.get("g"), at.get("e")).catch(failed);
    return true;
  }

  // ---- Start ----
  function built(box) {
    ui.groups = el("nav.groups", { "aria-label": "Groups of rollouts" });
    ui.search = el("input", { type: "search", id: "search", placeholder: "Search titles", "aria-label": "Search titles", autocomplete: "off", spellcheck: "false", oninput: searched });
    ui.deep = el("button.quiet", { type: "button", hidden: true, onclick: () => searchAll().catch(failed) }, "Search all text");
    ui.sort = el("select", { "aria-label": "Order", onchange: sift }, Object.entries(SORTS).map(([value, label]) => el("option", { value }, label)));
    ui.tags = el("div.tags", { role: "group", "aria-label": "Filter by tag" });
    ui.count = el("p.count", { role: "status" });
    ui.about = el("p.about.muted");
    ui.kind = el("h3.sr");
    ui.space = el("div.space", { role: "presentation" });
    ui.list = el("div.list", { role: "listbox", tabindex: 0, "aria-label": "Entries", onscroll: () => requestAnimationFrame(draw),
      onclick: (event) => { const on = event.target.closest(".line"); if (on) show(Number(on.dataset.place), true); } }, ui.space);
    ui.none = el("p.none.muted", { hidden: true }, "Nothing matches.");
    ui.detail = el("article.detail", { "aria-label": "Chosen entry", tabindex: 0 });
    ui.panes = el("div.panes", {}, ui.groups, el("div.entries", {}, el("div.tools", {}, ui.kind, ui.about, el("div.searching", {}, ui.search, ui.sort), ui.tags,
      el("div.counted", {}, ui.count, ui.deep)), ui.list, ui.none), ui.detail);
    box.replaceChildren(ui.panes);
  }

  async function catalogued() {
    const known = group?.id, entry = active >= 0 ? index.ids[lines[active]] : null;
    groups = (await load("groups")).groups;
    group = groups.find((one) => one.id === known) ?? null;
    drawGroups();
    if (known && group) return open(known, entry);
    if (!groups.length) return ui.about.replaceChildren("No rollouts yet.");
    if (addressed()) return;
    await open((groups.find((one) => one.kind === "comparison" && one.n) ?? groups.find((one) => one.n) ?? groups[0]).id);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const box = document.getElementById("browser");
    if (!box) return;
    built(box);
    document.addEventListener("keydown", keyed);
    addEventListener("hashchange", addressed);
    addEventListener("resize", () => index && draw());
    again.add(() => catalogued().catch(failed));
    setTimeout(() => catalogued().catch(failed)); // after what stands still was painted
  });
})();
