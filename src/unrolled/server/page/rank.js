// Two sentences, the likelier one first, word by word.

import { post } from "./api.js";
import { make, number, wordList } from "./parts.js";

const START = ["the meeting is on Monday", "the meeting are on Monday"];

export function rankView({ root, results, chosen, update }) {
  const fields = [...root.querySelectorAll("input")];
  const draw = update(async (signal) => {
    const sentences = fields.map((field) => field.value);
    const { sentences: found } = await post("rank", { model: chosen()[0].name, sentences }, signal);
    results.replaceChildren(make("p", { className: "verdict" }, verdict(found)), ...found.map(card));
  }, ...fields);

  fields.forEach((field, place) => {
    field.value = START[place];
  });
  draw();
}

function verdict([first, second]) {
  if (second.bits === null) return first.bits === null ? "Both are impossible under this model." : "The second is impossible under this model.";
  const difference = second.bits - first.bits;
  if (difference === 0) return "Both are equally likely.";
  const times = 2 ** difference;
  const shown = times < 1e6 ? times.toPrecision(3) : times.toExponential(1);
  return `“${first.sentence}” is ${Number(shown).toLocaleString("en")} times as likely: ${number(difference)} bits less.`;
}

function card(one, place) {
  return make("div", { className: "card" },
    make("h3", {}, `${place + 1}. ${one.sentence || "(empty)"}`),
    wordList(one.words),
    make("p", { className: "about" }, `${number(one.bits)} bits, perplexity ${number(one.perplexity)}`));
}
