// A tree of refinements: drawn from left to right, a column a depth; what a chosen node holds stands below it.
"use strict";
(() => {
  const { el, svg, shown } = window.sparring;
  const WIDE = 118, HIGH = 46, BOX = [76, 30], PAD = 8;

  // Leaves get a line each, in order; a parent stands in the middle of its children.
  function placed(nodes) {
    const known = new Map(nodes.map((node) => [node.id, { node, children: [], x: 0, y: 0 }]));
    const roots = [];
    for (const place of known.values()) {
      const parent = known.get(place.node.parent);
      (parent && parent !== place ? parent.children : roots).push(place);
    }
    let line = 0;
    const order = [];
    const stack = roots.toReversed().map((place) => [place, 0, false]);
    while (stack.length) { // no recursion: a tree may be as deep as it likes
      const [place, depth, left] = stack.pop();
      if (!left) {
        place.depth = depth;
        stack.push([place, depth, true], ...place.children.toReversed().map((child) => [child, depth + 1, false]));
        continue;
      }
      const inner = place.children;
      place.x = PAD + place.depth * WIDE;
      place.y = inner.length ? (inner[0].y + inner.at(-1).y) / 2 : PAD + HIGH * line++;
      order.push(place);
    }
    return { places: order.sort((a, b) => a.node.id - b.node.id), lines: Math.max(line, 1) };
  }

  const percent = (value) => (value === null || value === undefined ? "?" : `${Math.round(100 * value)} %`);

  function said(node) {
    const worth = node.value === null || node.value === undefined ? "unscored" : `${percent(node.value)} of votes say Yes`;
    return `Node ${node.id}, depth ${node.depth}, ${worth}${node.accepted ? ", accepted" : ""}`;
  }

  // The nodes between a root and one that was accepted.
  function way(nodes) {
    const known = new Map(nodes.map((node) => [node.id, node]));
    const on = new Set();
    for (const node of nodes) if (node.accepted) for (let at = node; at && !on.has(at.id); at = known.get(at.parent)) on.add(at.id);
    return on;
  }

  function edge(parent, child, chosen) {
    const [wide, high] = BOX;
    const [x, y, u, v] = [parent.x + wide, parent.y + high / 2, child.x, child.y + high / 2];
    const middle = (x + u) / 2;
    return svg("path", { class: chosen.has(child.node.id) ? "edge chosen" : "edge", d: `M${x} ${y}C${middle} ${y} ${middle} ${v} ${u} ${v}` });
  }

  function knot({ node, x, y }, choose) {
    const [wide, high] = BOX;
    const scored = node.value !== null && node.value !== undefined;
    const act = (event) => {
      if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      choose(node.id);
    };
    return svg("g", { class: `knot${node.accepted ? " accepted" : ""}${scored ? "" : " unscored"}`, transform: `translate(${x} ${y})`,
      role: "button", tabindex: 0, "aria-label": said(node), "aria-pressed": "false", onclick: act, onkeydown: act },
    svg("title", {}, said(node)),
    svg("rect", { class: "box", width: wide, height: high, rx: 7 }),
    scored ? svg("rect", { class: "share", x: 1.5, y: high - 4.5, width: Math.max(0, Math.min(1, node.value)) * (wide - 3), height: 3, rx: 1.5 }) : null,
    svg("text", { x: wide / 2, y: high / 2 + 3.5, "text-anchor": "middle" }, `${node.accepted ? "✓ " : ""}${percent(node.value)}`));
  }

  function votes(node) {
    const all = node.votes ?? [];
    const row = (vote) => el("tr", {},
      el("td", {}, el(`span.vote.${vote.verdict ?? "none"}`, {}, vote.verdict === "yes" ? "✓ Yes" : vote.verdict === "no" ? "✕ No" : "? unreadable")),
      el("td", {}, window.sparring.text(vote.text), vote.reason ? el("p.muted.small", {}, shown(vote.reason)) : null));
    return all.length ? el("details.votes", {}, el("summary", {}, `${all.length} vote${all.length > 1 ? "s" : ""}`), el("table", {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Verdict"), el("th", { scope: "col" }, "Judge's reply"))), el("tbody", {}, all.map(row)))) : null;
  }

  function opened(node, text) {
    const block = (label, whole) => (whole ? [el("h5", {}, label), text(whole)] : null);
    return [el("p.node-title", {}, `Node ${node.id}`, el("span.muted", {}, ` depth ${node.depth}`), " ",
      node.value === null || node.value === undefined ? el("span.chip", {}, "unscored") : el("span.chip", {}, `${percent(node.value)} Yes`),
      node.accepted ? el("span.chip.good", {}, "✓ accepted") : null),
    block("Response", node.text || "(empty)"), block("Critique", node.critique), votes(node),
    node.refinement && node.refinement !== node.text ? el("details.votes", {}, el("summary", {}, "All that the refiner said"), text(node.refinement)) : null];
  }

  function tree(part, text) {
    const { places, lines } = placed(part.nodes);
    const wide = Math.max(0, ...places.map((place) => place.x)) + BOX[0] + PAD, high = PAD * 2 + HIGH * (lines - 1) + BOX[1];
    const pane = el("div.node", { "aria-live": "polite" });
    const drawn = new Map();
    const choose = (id) => {
      for (const [other, node] of drawn) node.setAttribute("aria-pressed", String(other === id));
      pane.replaceChildren(el("div", {}, opened(part.nodes.find((node) => node.id === id), text)));
    };
    const chosen = way(part.nodes);
    const edges = places.flatMap((place) => place.children.map((child) => edge(place, child, chosen)));
    for (const place of places) drawn.set(place.node.id, knot(place, choose));
    const first = part.nodes.find((node) => node.accepted) ?? part.nodes[0];
    const dropped = Object.entries(part.dropped ?? {});
    if (first) choose(first.id);
    const canvas = el("div.canvas");
    const shownFirst = () => { // a tree may be larger than its frame
      const { x, y } = places.find((place) => place.node === first) ?? places[0];
      canvas.scrollTo(x + BOX[0] + PAD - canvas.clientWidth, y - canvas.clientHeight / 2);
    };
    if (first) requestAnimationFrame(shownFirst);
    if (part.nodes.length > 1) canvas.append(svg("svg", { width: wide, height: high, viewBox: `0 0 ${wide} ${high}`, role: "group",
      "aria-label": `Tree of ${part.nodes.length} nodes` }, edges, [...drawn.values()]));
    return [part.nodes.length > 1 ? canvas : null,
    part.nodes.length > 1 ? el("p.muted.small", {}, "A node says how many of the judge's votes are Yes. Choose one to read it; ✓ is the one that was accepted.") : null,
    pane,
    dropped.length ? el("p.muted.small", {}, "Refinements that became no node: ", dropped.map(([reason, n]) => `${shown(reason)} (${n})`).join(", ")) : null];
  }

  window.sparring.tree = tree;
})();
