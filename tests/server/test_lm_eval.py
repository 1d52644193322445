"""lm-evaluation-harness scores a model through the server, unchanged, and gets our numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import unrolled
from server.running import Server

CONTEXTS = ["the cat", "the dog ran on", "a", "the zebra saw", "the cat sat .\na"]
CONTINUATIONS = [" sat", " the mat", " zebra ran", " cat\n"]
PAGES = ["the cat sat .\nthe dog ran on the mat .", "a dog saw the zebra", "the cat"]


def expected(model: Any, context: str, continuation: str) -> float:
    """log p(continuation | context): the difference of two texts' scores."""
    return whole(model, context + continuation) - whole(model, context)


def whole(model: Any, text: str) -> float:
    """A text's log-probability; newlines are predicted, its end is not."""
    *lines, last = text.split("\n")
    scores = [model.score(line) for line in lines]
    return sum(scores) + float(unrolled.score_sentences(model, [last], eos=False)[0])


@pytest.mark.parametrize("name", ["words", "characters", "net"])
@pytest.mark.parametrize(
    "options",
    [{}, {"batch_size": 3}, {"num_concurrent": 3}, {"tokenized_requests": False}],
    ids=["as it comes", "batches", "concurrent", "as text"],
)
def test_its_numbers_are_ours(
    server: Server, models: Path, name: str, options: dict[str, Any]
) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    model: Any = unrolled.load(models / f"{name}.safetensors")
    client = LocalCompletionsAPI(
        model=name, base_url=f"{server.url}/models/{name}/v1/completions", **options
    )
    pairs = [(context, more) for context in ["", *CONTEXTS] for more in CONTINUATIONS]
    asked = [Instance("loglikelihood", {}, pair, at) for at, pair in enumerate(pairs)]
    found = apart(client.loglikelihood, asked)
    for (context, more), (log_prob, greedy) in zip(pairs, found, strict=True):
        assert log_prob == pytest.approx(expected(model, context, more), abs=1e-6, rel=1e-6)
        assert greedy == is_greedy(model, context, more)
    asked = [Instance("loglikelihood_rolling", {}, (page,), at) for at, page in enumerate(PAGES)]
    rolling = apart(client.loglikelihood_rolling, asked)
    assert rolling == pytest.approx([whole(model, page) for page in PAGES], abs=1e-6, rel=1e-6)
    client.tokenizer.session.close()


def apart(call: Any, asked: Any) -> Any:
    """Call in a thread: the browser of other tests has an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, asked, disable_tqdm=True).result()


def is_greedy(model: Any, context: str, more: str) -> bool:
    """Whether every token of the continuation is the likeliest one."""
    from unrolled.server.prompts import encode_text

    before = len(encode_text(model, context))
    state = model.start()
    for place, id in enumerate(encode_text(model, context + more)):
        row = model.next_log_probs(state)
        if place >= before and row[id] < row.max():
            return False
        state = model.start() if id == 2 else model.advance(state, id)
    return True


def test_it_generates(server: Server) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    client = LocalCompletionsAPI(model="words", base_url=f"{server.url}/v1/completions")
    settings = {"until": [" .", "\n"], "max_gen_toks": 12}
    (found,) = client.generate_until([Instance("generate_until", {}, ("the dog", settings), 0)])
    answer = server.json(
        "/v1/completions", model="words", prompt="the dog", temperature=0, max_tokens=12,
        stop=[" .", "\n"],
    )  # fmt: skip
    assert found == answer["choices"][0]["text"]
    client.tokenizer.session.close()


@pytest.mark.slow
def test_its_command_runs_unchanged(server: Server, models: Path, tmp_path: Path) -> None:
    """``lm_eval --model local-completions`` on two local tasks, with no tokenizer named."""
    model: Any = unrolled.load(models / "words.safetensors")
    choices = [{"query": one, "choices": ["sat", "ran"], "gold": 0} for one in CONTEXTS]
    _write_task(tmp_path, "choices", choices, _CHOICES)
    _write_task(tmp_path, "pages", [{"page": page} for page in PAGES], _PAGES)
    command = [
        *(sys.executable, "-m", "lm_eval", "--model", "local-completions"),
        *("--model_args", f"model=words,base_url={server.url}/v1/completions"),
        *("--tasks", "choices,pages", "--include_path", str(tmp_path)),
        *("--output_path", str(tmp_path / "out"), "--log_samples"),
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    home = {"HF_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env={**offline, **home})
    assert done.returncode == 0, done.stderr[-3000:]
    seen = 0
    for path in (tmp_path / "out").rglob("samples_*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            seen += 1
            if "page" in sample["doc"]:
                (found,) = (float(one[0]) for one in sample["resps"])
                wanted = [whole(model, sample["doc"]["page"])]
                assert [found] == pytest.approx(wanted, abs=1e-6)
            else:
                values = [float(one[0][0]) for one in sample["resps"]]
                wanted = [expected(model, sample["doc"]["query"], f" {one}")
                          for one in sample["doc"]["choices"]]  # fmt: skip
                assert values == pytest.approx(wanted, abs=1e-6)
    assert seen == len(CONTEXTS) + len(PAGES)


_CHOICES = """output_type: multiple_choice
doc_to_text: "{{query}}"
doc_to_choice: "{{choices}}"
doc_to_target: gold
metric_list: [{metric: acc}]
"""
_PAGES = """output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{page}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
"""


def _write_task(folder: Path, name: str, rows: list[dict[str, Any]], more: str) -> None:
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    head = (
        f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\n"
        "test_split: test\n"
    )
    (folder / f"{name}.yaml").write_text(head + more, encoding="utf-8")
