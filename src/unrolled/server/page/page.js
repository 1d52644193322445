// The page: tabs, the choice of models, and one view for each tab.

import { get, ServerError, setToken } from "./api.js";
import { make } from "./parts.js";
import { generateView } from "./generate.js";
import { gradientsView } from "./gradients.js";
import { rankView } from "./rank.js";
import { surprisalView } from "./surprisal.js";
import { tagView } from "./tag.js";

const VIEWS = { surprisal: surprisalView, generate: generateView, rank: rankView, tag: tagView, gradients: gradientsView };
const NEEDS = { surprisal: "an n-gram model or a net", generate: "a language model with probabilities", rank: "an n-gram model or a net", tag: "a tagger", gradients: "a recurrent net" };
const TYPING = 120; // milliseconds without a key before an answer is asked for

const problem = document.getElementById("problem");
let models = null; // that the server has; its answer may take a while, and tabs work meanwhile

function report(error) {
  if (error.name === "AbortError") return;
  problem.textContent = error.message;
  problem.hidden = false;
  if (error instanceof ServerError && error.status === 401) {
    document.getElementById("token").hidden = false;
    document.getElementById("token-value").focus();
  }
}

// Run the newest call only: those before it are aborted, and their answers dropped.
function latest(run) {
  let current = null;
  return async () => {
    current?.abort();
    const controller = (current = new AbortController());
    try {
      await run(controller.signal);
      if (current === controller) problem.hidden = true;
    } catch (error) {
      if (current === controller) report(error);
    }
  };
}

function afterTyping(run) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, TYPING);
  };
}

// What a view knows of its part of the page.
function tools(id) {
  const root = document.getElementById(id);
  const selects = [...root.querySelectorAll("select")];
  return {
    root,
    results: root.querySelector("[data-results]"),
    chosen: () => selects.map((one) => models.find((model) => model.name === one.value)).filter(Boolean),
    // Calls `run` with a signal now, when a model is chosen, and shortly after each key.
    update(run, ...fields) {
      const newest = latest(run);
      for (const field of fields) field.addEventListener("input", afterTyping(newest));
      for (const select of selects) select.addEventListener("change", newest);
      return newest;
    },
    report,
  };
}

function fillSelects(id) {
  const usable = models.filter((model) => model.can.includes(id));
  for (const select of document.querySelectorAll(`#${id} select`)) {
    const second = "second" in select.dataset;
    select.replaceChildren(...usable.map((model) => make("option", { value: model.name }, model.name)));
    if (second) {
      select.prepend(make("option", { value: "" }, "no other"));
      select.value = usable[1]?.name ?? "";
    }
  }
  return usable.length > 0;
}

function startView(id) {
  const root = document.getElementById(id);
  if (models === null || root.dataset.started) return;
  root.dataset.started = "true";
  if (fillSelects(id)) VIEWS[id](tools(id));
  else root.replaceChildren(root.querySelector("h2"), make("p", {}, `None of the served models can do this: it needs ${NEEDS[id]}. Start the server with one more model file.`));
}

function show(id) {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const selected = tab.id === `tab-${id}`;
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !selected;
  }
  startView(id);
}

function startTabs() {
  const ids = Object.keys(VIEWS);
  const open = (id, focus) => {
    history.replaceState(null, "", `#${id}`);
    show(id);
    if (focus) document.getElementById(`tab-${id}`).focus();
  };
  const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -ids.length, End: ids.length };
  ids.forEach((id, place) => {
    const tab = document.getElementById(`tab-${id}`);
    tab.onclick = () => open(id, false);
    tab.onkeydown = (event) => {
      const step = steps[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const next = Math.abs(step) === 1 ? (place + step + ids.length) % ids.length : step < 0 ? 0 : ids.length - 1;
      open(ids[next], true);
    };
  });
  window.onhashchange = () => show(asked());
  show(asked());
}

function asked() {
  const id = location.hash.slice(1);
  return id in VIEWS ? id : "surprisal";
}

async function start() {
  try {
    ({ models } = await get("models"));
    problem.hidden = true;
    document.getElementById("models").textContent = models.map((one) => `${one.name} (${one.model})`).join(" · ");
    show(asked());
  } catch (error) {
    report(error);
  }
}

document.getElementById("token").onsubmit = (event) => {
  event.preventDefault();
  setToken(document.getElementById("token-value").value);
  document.getElementById("token").hidden = true;
  start();
};
startTabs();
start();
