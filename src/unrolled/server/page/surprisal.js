// Each word shaded by its surprisal, and the next words as bars to take one from.

import { post } from "./api.js";
import { bars, make, number, withWord, wordList } from "./parts.js";

const START = "Jane walked into the room . John walked in too . Jane said hi to";
const NEXT = 8;

export function surprisalView({ root, results, chosen, update }) {
  const text = root.querySelector("textarea");
  const draw = update(async (signal) => {
    const sentence = text.value;
    const cards = await Promise.all(chosen().map((model) => card(model, sentence, signal)));
    results.replaceChildren(...cards);
  }, text);

  async function card(model, sentence, signal) {
    const asked = [post("surprisal", { model: model.name, sentence }, signal)];
    if (model.can.includes("predict")) asked.push(post("predict", { model: model.name, context: sentence, count: NEXT }, signal));
    const [found, next] = await Promise.all(asked);
    const parts = [
      make("h3", {}, model.name),
      wordList(found.words),
      make("p", { className: "about" }, `${number(found.bits)} bits in all, perplexity ${number(found.perplexity)}`),
    ];
    if (next) parts.push(make("h4", {}, "Next word"), bars(next.words, (word) => take(word, model)));
    return make("div", { className: "card" }, ...parts);
  }

  function take(word, model) {
    text.value = withWord(text.value, word, model.tokens);
    text.focus();
    draw();
  }

  text.value = START;
  draw();
}
