// Tags of a text: spans are marked, other tags stand in the table.

import { post } from "./api.js";
import { make, percent } from "./parts.js";

const START = "Angela Merkel visited the University of Toronto in Canada last May .";

export function tagView({ root, results, chosen, update }) {
  const text = root.querySelector("textarea");
  const draw = update(async (signal) => {
    const sentence = text.value;
    if (!sentence.trim()) return results.replaceChildren();
    const found = await post("tag", { model: chosen()[0].name, sentence }, signal);
    results.replaceChildren(marked(sentence, found), make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Tags" }, table(found)));
  }, text);

  text.value = START;
  draw();
}

function confidence(value) {
  return value === null ? "" : percent(value);
}

// The text itself, with each span marked; plain tags mark every word.
function marked(sentence, { spans, words }) {
  const places = spans.length
    ? spans.map((span) => ({ start: span.begin_char, end: span.end_char, label: span.label, confidence: span.confidence }))
    : words.filter((word) => word.tag !== "O").map((word) => ({ ...word, label: word.tag }));
  const parts = [];
  let at = 0;
  for (const place of places) {
    if (place.start === undefined || place.start < at) continue;
    parts.push(sentence.slice(at, place.start));
    const note = [place.label, confidence(place.confidence)].filter(Boolean).join(" ");
    parts.push(make("mark", {}, sentence.slice(place.start, place.end), make("small", {}, note)));
    at = place.end;
  }
  return make("p", { className: "tagged" }, ...parts, sentence.slice(at));
}

function table({ words }) {
  const head = make("tr", {}, ...["Word", "Tag", "Confidence"].map((name) => make("th", { scope: "col" }, name)));
  const rows = words.map((word) => make("tr", {}, ...[word.word, word.tag, confidence(word.confidence)].map((value) => make("td", {}, value))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}
