// Words drawn from a model, as they come.

import { stream } from "./api.js";
import { percent } from "./parts.js";

export function generateView({ root, results, chosen, report }) {
  const temperature = root.querySelector("#temperature");
  const seed = root.querySelector("#seed");
  const stop = root.querySelector("[data-stop]");
  const summary = root.querySelector("[data-summary]");
  let running = null;

  temperature.oninput = () => {
    root.querySelector("output").textContent = Number(temperature.value).toFixed(1);
  };
  stop.onclick = () => running?.abort();
  root.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    generate();
  };

  async function generate() {
    running?.abort();
    const controller = (running = new AbortController());
    stop.disabled = false;
    results.textContent = summary.textContent = "";
    let words = 0;
    let bits = 0;
    try {
      for await (const piece of stream("generate", asked(), controller.signal)) {
        if (piece.error) throw new Error(piece.error.message);
        results.textContent = piece.text;
        if (piece.done) break;
        words += 1;
        bits -= Math.log2(piece.probability);
      }
    } catch (error) {
      report(error);
    }
    if (running !== controller) return;
    stop.disabled = true;
    const share = words ? `, each with ${percent(2 ** (-bits / words))} on (geometric) average` : "";
    summary.textContent = `${words} words${share}.`;
  }

  function asked() {
    const body = {
      model: chosen()[0].name,
      context: root.querySelector("textarea").value,
      temperature: Number(temperature.value),
      max_words: Number(root.querySelector("#max-words").value) || 60,
    };
    if (seed.value !== "") body.seed = Number(seed.value);
    return body;
  }
}
