// Parts of the page that several views draw.

const NAMES = { "</s>": "end of the sentence", "<unk>": "an unknown word" }; // no words to take
const HIGH_BITS = 16; // a surprisal with the darkest shade

// An element with properties, attributes (data-, aria-, role) and children.
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

export function shade(element, share) {
  element.style.setProperty("--s", Math.min(Math.max(share, 0), 1).toFixed(4));
  return element;
}

export function shownWord(word) {
  return word === "</s>" ? "end" : word.replaceAll("▁", "␣");
}

export function number(value, digits = 1) {
  return value === null ? "∞" : value.toFixed(digits);
}

// A size of any magnitude, in two digits.
export function size(value) {
  return value >= 0.001 && value < 1000 ? String(Number(value.toPrecision(2))) : value.toExponential(1);
}

export function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.01) return "< 0.01 %";
  return `${value.toFixed(value < 1 ? 2 : value < 10 ? 1 : 0)} %`;
}

// Words shaded by their surprisal, with the bits below each.
export function wordList(words) {
  return make("ol", { className: "words" }, ...words.map((one) => {
    const word = shade(make("span", { className: "word" }, shownWord(one.word)), bitsOf(one) / HIGH_BITS);
    const note = one.oov ? `${number(one.bits)} unknown` : number(one.bits);
    return make("li", { className: one.oov ? "unknown" : "" }, word, make("span", { className: "bits" }, note));
  }));
}

function bitsOf(one) {
  return one.bits === null ? HIGH_BITS : one.bits;
}

// The next words as bars; `take` is called with the one that is chosen.
export function bars(words, take) {
  const most = Math.max(...words.map((one) => one.probability), 1e-9);
  return make("ol", { className: "bars" }, ...words.map((one) => {
    const share = make("span", { className: "share" }, percent(one.probability));
    const parts = [make("span", {}, NAMES[one.word] ?? shownWord(one.word)), share];
    const line = one.word in NAMES
      ? make("span", { className: "end" }, ...parts)
      : make("button", { type: "button", onclick: () => take(one.word) }, ...parts);
    return make("li", {}, shade(line, one.probability / most));
  }));
}

// A text with one more word, as the model's tokens are written.
export function withWord(text, word, tokens) {
  if (tokens === "char" || tokens === "byte") return text + word.replaceAll("▁", " ");
  if (tokens === "sentencepiece") return (text + word.replaceAll("▁", " ")).trimStart();
  return text.trim() ? `${text.trimEnd()} ${word}` : word;
}
