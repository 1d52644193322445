// How much of each word's error reaches earlier states: a heat map for each net and layer.

import { post } from "./api.js";
import { make, percent, shade, shownWord, size } from "./parts.js";

const START = "Jane walked into the room . John walked in too . It was late in the day , and everyone was walking home after a long day at work . Jane said hi to";
const MOST_DECADES = 8; // powers of ten from the darkest shade to the background, at most
const SVG = "http://www.w3.org/2000/svg";

export function gradientsView({ root, results, chosen, update }) {
  const text = root.querySelector("textarea");
  const draw = update(async (signal) => {
    const sentence = text.value;
    if (!sentence.trim()) return results.replaceChildren();
    const found = await Promise.all(chosen().map((model) => post("gradients", { model: model.name, sentence }, signal)));
    const scale = scaleOf(found);
    drawLegend(root, scale);
    results.replaceChildren(...found.map((one) => card(one, scale)));
  }, text);

  text.value = START;
  draw();
}

// The largest norm of all nets, and the decades down to the smallest.
function scaleOf(found) {
  const values = found.flatMap((one) => one.layers.flatMap((layer) => layer.heat.flat())).filter((value) => value > 0);
  const most = values.reduce((a, b) => Math.max(a, b), 1e-30);
  const least = values.reduce((a, b) => Math.min(a, b), most);
  return { most, decades: Math.min(Math.max(Math.log10(most / least), 1), MOST_DECADES) };
}

function drawLegend(root, { most, decades }) {
  root.querySelector("[data-legend]").hidden = false;
  root.querySelector("[data-high]").textContent = size(most);
  root.querySelector("[data-low]").textContent = size(most / 10 ** decades);
}

function card(found, scale) {
  return make("div", { className: "card" }, make("h3", {}, found.model), ...found.layers.flatMap((layer) => layerParts(found, layer, scale)));
}

function layerParts({ words: given, layers }, layer, scale) {
  const words = given.map(shownWord);
  const read = make("p", { className: "read", role: "status" });
  const last = words.length - 1;
  const parts = [
    heatMap(words, layer, scale, (lag, step) => { read.textContent = sentenceOf(words, layer, lag, step); }),
    make("div", { className: "heat-words", "aria-hidden": "true" }, make("span", {}, `predicting “${words[0]}”`), make("span", {}, `“${words[last]}”`)),
    read,
    make("p", { className: "about" }, `Lags beyond ${layer.reach} have less than 1 % of the total.`),
    numbers(layer),
  ];
  return layers.length > 1 ? [make("h4", {}, layer.name), ...parts] : parts;
}

function sentenceOf(words, layer, lag, step) {
  const value = layer.heat[lag]?.[step];
  if (value === null || value === undefined) return "";
  const state = step - lag;
  const after = state === 0 ? "the start" : `“${words[state - 1]}”`;
  const share = value / layer.heat[0][step];
  return `Error at “${words[step]}”, ${lag} words back, in the state after ${after}: ${size(value)}, ${percent(share)} of that without a lag.`;
}

// Cells of lag (down) and predicted word (across); arrow keys, touch and pointer choose one.
function heatMap(words, layer, scale, choose) {
  const steps = words.length;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "heat");
  svg.setAttribute("viewBox", `0 0 ${steps} ${steps}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("tabindex", "0");
  svg.setAttribute("aria-label", `${layer.name}: gradient by lag (down) and predicted word (across); lags beyond ${layer.reach} have less than 1 % of the total. Arrow keys choose a cell.`);
  const cells = new Map();
  for (let lag = 0; lag < steps; lag++) {
    for (let step = lag; step < steps; step++) {
      const value = layer.heat[lag][step];
      if (value === null) continue;
      const cell = document.createElementNS(SVG, "rect");
      for (const [name, size] of [["x", step], ["y", lag], ["width", 1], ["height", 1]]) cell.setAttribute(name, size);
      shade(cell, value > 0 ? 1 + Math.log10(value / scale.most) / scale.decades : 0);
      cells.set(`${lag} ${step}`, cell);
      svg.append(cell);
    }
  }
  let chosen = null;
  let place = [0, steps - 1];
  const pick = (lag, step) => {
    const cell = cells.get(`${lag} ${step}`);
    if (!cell) return;
    chosen?.classList.remove("chosen");
    chosen = cell;
    cell.classList.add("chosen");
    place = [lag, step];
    choose(lag, step);
  };
  svg.addEventListener("pointermove", (event) => pickAt(event));
  svg.addEventListener("pointerdown", (event) => pickAt(event));
  function pickAt(event) {
    const box = svg.getBoundingClientRect();
    pick(Math.floor(((event.clientY - box.top) / box.height) * steps), Math.floor(((event.clientX - box.left) / box.width) * steps));
  }
  const moves = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
  svg.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    pick(place[0] + move[0], place[1] + move[1]);
  });
  pick(Math.min(Math.max(layer.reach, 1), steps - 1), steps - 1);
  return svg;
}

function numbers(layer) {
  const head = make("tr", {}, ...["Lag", "Mean norm", "Share"].map((name) => make("th", { scope: "col" }, name)));
  const rows = layer.norms.map((norm, lag) => make("tr", {}, ...[String(lag), norm.toExponential(2), percent(layer.shares[lag])].map((value) => make("td", {}, value))));
  return make("details", {}, make("summary", {}, "Numbers by lag"), make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}
