"use strict";
const { nodes, edges } = JSON.parse(document.getElementById("data").textContent);
const [LAYER, TABLE, COLUMN, ZH, EN, FILE] = [0, 1, 2, 3, 4, 5];
const HEIGHT = 42, GAP_X = 40, GAP_Y = 8, TOP = 46, NARROWEST = 150, WIDEST = 230, CENTRED_UP_TO = 800;
let width = NARROWEST;
const SVG = "http://www.w3.org/2000/svg";
const next = nodes.map(() => []), previous = nodes.map(() => []);
for (const [a, b, rows] of edges) { next[a].push([b, rows]); previous[b].push([a, rows]); }
const layerOf = (n) => LAYERS[nodes[n][LAYER]][0];
const full = (n) => `${nodes[n][TABLE]}.${nodes[n][COLUMN]}`;
const id = (n) => `${layerOf(n)}:${full(n)}`;
const byId = new Map(nodes.map((_, n) => [id(n), n]));
const $ = (name) => document.getElementById(name);
let picked = -1;

function reached(start, links, indirect) {
  const found = new Set([start]), open = [start];
  while (open.length) for (const [other, rows] of links[open.pop()])
    if ((!rows || indirect) && !found.has(other)) { found.add(other); open.push(other); }
  return found;
}

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const pen = document.createElement("canvas").getContext("2d");
function fit(text, room, size) {
  pen.font = `${size}px system-ui, "Noto Sans CJK SC", sans-serif`;
  if (pen.measureText(text).width <= room) return text;
  let out = text;
  while (out && pen.measureText(`${out}…`).width > room) out = out.slice(0, -1);
  return `${out}…`;
}

function depths(shown, indirect) {
  // Longest path from what has nothing before it: a model may stand on another of its own layer.
  const depth = new Map();
  const visit = (n, trail) => {
    if (depth.has(n)) return depth.get(n);
    let deepest = 0;
    for (const [m, rows] of previous[n])
      if (shown.has(m) && (!rows || indirect) && !trail.has(m)) deepest = Math.max(deepest, visit(m, new Set([...trail, n])) + 1);
    depth.set(n, deepest);
    return deepest;
  };
  shown.forEach((n) => visit(n, new Set()));
  return depth;
}

function columnsOf(shown, indirect) {
  const depth = depths(shown, indirect), groups = new Map();
  for (const n of shown) {
    const key = `${String(depth.get(n)).padStart(3, "0")}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(n);
  }
  const columns = [...groups.entries()].sort((a, b) => a[0] < b[0] ? -1 : 1).map(([, members]) => members);
  // A few sweeps of ordering by the mean place of the neighbours keep the lines from crossing.
  const place = new Map();
  const settle = (column) => column.forEach((n, i) => place.set(n, i / Math.max(1, column.length - 1)));
  columns.forEach((column) => { column.sort((a, b) => full(a) < full(b) ? -1 : 1); settle(column); });
  for (let sweep = 0; sweep < 6; sweep++) {
    const links = sweep % 2 ? next : previous;
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const mean = new Map(column.map((n) => {
        const near = links[n].map(([m]) => m).filter((m) => place.has(m)).map((m) => place.get(m));
        return [n, near.length ? near.reduce((a, b) => a + b) / near.length : place.get(n)];
      }));
      column.sort((a, b) => mean.get(a) - mean.get(b) || (full(a) < full(b) ? -1 : 1));
      settle(column);
    }
  }
  return columns;
}

function titles(column) {
  const layers = [...new Set(column.map((n) => nodes[n][LAYER]))].sort();
  return [layers.map((l) => LAYERS[l][1]).join("、"), layers.map((l) => LAYERS[l][2]).join(", ")];
}

function draw() {
  const indirect = $("indirect").checked, box = $("graph");
  const shown = new Set([...reached(picked, previous, indirect), ...reached(picked, next, indirect)]);
  const columns = columnsOf(shown, indirect), at = new Map();
  width = Math.min(WIDEST, Math.max(NARROWEST, box.clientWidth / columns.length - GAP_X));
  const tallest = Math.max(...columns.map((column) => column.length)) * (HEIGHT + GAP_Y);
  columns.forEach((column, c) => {
    const start = TOP + (tallest > CENTRED_UP_TO ? 0 : (tallest - column.length * (HEIGHT + GAP_Y)) / 2);
    column.forEach((n, i) => at.set(n, [c * (width + GAP_X) + 2, start + i * (HEIGHT + GAP_Y)]));
  });
  const svg = element("svg", { width: columns.length * (width + GAP_X) - GAP_X + 4, height: TOP + tallest + 4, role: "img", "aria-label": `血缘图 lineage of ${full(picked)}` });
  columns.forEach((column, c) => {
    const [zh, en] = titles(column);
    svg.append(element("text", { x: c * (width + GAP_X) + 2, y: 14, class: "head" }, zh), element("text", { x: c * (width + GAP_X) + 2, y: 30, class: "head-en" }, en));
  });
  const lines = [];
  for (const [a, b, rows] of edges) {
    if (!shown.has(a) || !shown.has(b) || (rows && !indirect)) continue;
    const [x, y] = at.get(a), [u, v] = at.get(b), from = x + width, bend = Math.max(24, (u - from) / 2);
    const line = element("path", { d: `M${from},${y + HEIGHT / 2} C${from + bend},${y + HEIGHT / 2} ${u - bend},${v + HEIGHT / 2} ${u},${v + HEIGHT / 2}`, class: rows ? "rows" : "" });
    lines.push([a, b, line]);
    svg.append(line);
  }
  const boxes = new Map();
  for (const n of shown) {
    const [x, y] = at.get(n);
    const group = element("g", { class: n === picked ? "node root" : "node", transform: `translate(${x},${y})`, tabindex: 0, role: "button" });
    const reason = layerOf(n) === "reason";
    const first = reason ? nodes[n][ZH] : nodes[n][COLUMN];
    const second = reason ? nodes[n][EN] : ["source", "feature", "submodel"].includes(layerOf(n)) ? `${nodes[n][TABLE]} · ${nodes[n][ZH]}` : nodes[n][TABLE];
    group.append(element("title", {}, `${full(n)}\n${nodes[n][ZH]} ${nodes[n][EN]}\n${nodes[n][FILE]}`), element("rect", { width, height: HEIGHT, rx: 6 }),
      element("text", { x: 8, y: 17 }, fit(first, width - 16, 12)), element("text", { x: 8, y: 33, class: "sub" }, fit(second, width - 16, 11)));
    const go = () => pick(n);
    group.addEventListener("click", go);
    group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); } });
    group.addEventListener("mouseenter", () => light(n, indirect, boxes, lines));
    group.addEventListener("mouseleave", () => light(-1, indirect, boxes, lines));
    boxes.set(n, group);
    svg.append(group);
  }
  box.replaceChildren(svg);
  box.scrollLeft = Math.max(0, at.get(picked)[0] - box.clientWidth / 2 + width / 2);
  reasons(shown);
}

function light(n, indirect, boxes, lines) {
  const hot = n < 0 ? new Set() : new Set([...reached(n, previous, indirect), ...reached(n, next, indirect)]);
  boxes.forEach((group, m) => { group.classList.toggle("hot", hot.has(m)); group.classList.toggle("dim", n >= 0 && !hot.has(m)); });
  for (const [a, b, line] of lines) {
    const on = hot.has(a) && hot.has(b);
    line.classList.toggle("hot", on);
    line.classList.toggle("dim", n >= 0 && !on);
  }
}

function reasons(shown) {
  const found = [...shown].filter((n) => layerOf(n) === "reason"), box = $("reasons");
  box.replaceChildren();
  if (!found.length) return;
  const table = document.createElement("table"), caption = table.createCaption();
  caption.textContent = "向申请人说明的原因 · Reasons shown to an applicant";
  for (const n of found) {
    const row = table.insertRow();
    for (const text of [nodes[n][COLUMN], nodes[n][ZH], nodes[n][EN]]) row.insertCell().textContent = text;
  }
  box.append(table);
}

function pick(n) {
  picked = n;
  const layer = LAYERS[nodes[n][LAYER]];
  $("picked").textContent = full(n);
  $("detail").textContent = [`${layer[1]} ${layer[2]}`, `${nodes[n][ZH]} ${nodes[n][EN]}`.trim(), nodes[n][FILE]].filter(Boolean).join(" · ");
  history.replaceState(null, "", `#${encodeURIComponent(id(n))}`);
  document.querySelectorAll("#list button").forEach((button) => button.setAttribute("aria-current", String(Number(button.dataset.node) === n)));
  draw();
}

function list() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kinds = new Set([...document.querySelectorAll(".kind:checked")].map((box) => box.value));
  const found = nodes.map((_, n) => n).filter((n) => kinds.has(layerOf(n)) && words.every((word) => `${full(n)} ${nodes[n][ZH]} ${nodes[n][EN]}`.toLowerCase().includes(word)));
  $("count").textContent = `${found.length} 列 columns`;
  $("list").replaceChildren(...found.map((n) => {
    const item = document.createElement("li"), button = document.createElement("button"), name = document.createElement("b"), label = document.createElement("span");
    button.dataset.node = n;
    button.setAttribute("aria-current", String(n === picked));
    name.textContent = nodes[n][COLUMN];
    label.textContent = `${LAYERS[nodes[n][LAYER]][1]} · ${nodes[n][TABLE]} · ${nodes[n][ZH]} ${nodes[n][EN]}`;
    button.append(name, label);
    button.addEventListener("click", () => pick(n));
    item.append(button);
    return item;
  }));
}

$("search").addEventListener("input", list);
document.querySelectorAll(".kind").forEach((box) => box.addEventListener("change", list));
$("indirect").addEventListener("change", draw);
window.addEventListener("resize", () => { if (picked >= 0) draw(); });
window.addEventListener("hashchange", () => { const n = byId.get(decodeURIComponent(location.hash.slice(1))); if (n !== undefined && n !== picked) pick(n); });
list();
const asked = byId.get(decodeURIComponent(location.hash.slice(1)));
const first = nodes.findIndex((node, n) => layerOf(n) === "feature");
if (asked !== undefined) pick(asked); else if (first >= 0) pick(first);
