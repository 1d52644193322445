"""Several processes train one net as one process would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import unrolled
from small_nets import SMALL, write_text
from unrolled.errors import SettingError, UnrolledError
from unrolled.neural.model import NeuralModel
from unrolled.neural.streams import contiguous_batches, steps_of
from unrolled.neural.training import train_net
from unrolled.training import distributed
from unrolled.training.distributed import Group, join, refuse_standard_input

TIMES = {"seconds": 0, "tokens_per_second": 0}
SOURCE = str(Path(__file__).resolve().parents[2] / "src")
ENVIRONMENT = {**os.environ, "PYTHONPATH": SOURCE}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def test_torchrun_trains_what_one_process_does(tmp_path: Path) -> None:
    text, valid = write_text(tmp_path, 60), write_text(tmp_path, 30, "valid.txt", seed=2)
    settings = {
        **SMALL,
        "batch": 5,
        "bptt": 6,
        "warmup": 5,
        "epochs": 3,
        "accumulate": 2,
        "maxent_size": 500,
    }
    alone = train_net(text, valid=valid, **settings)
    output = tmp_path / "net.safetensors"
    options = [f"--set {name}={value}" for name, value in settings.items()]
    done = subprocess.run(
        [*TORCHRUN, "-m", "unrolled", "train", "net", text, "--valid", valid, "-o", str(output),
         *" ".join(options).split()],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not Path(f"{output}.checkpoint").exists()
    both = unrolled.load(output)
    assert isinstance(both, NeuralModel)
    for one, other in zip(alone.net.parameters(), both.net.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    curves = [model.provenance["training"]["curve"] for model in (alone, both)]
    for one, other in zip(*curves, strict=True):
        assert one["tokens"] == other["tokens"]
        for name in ("train_perplexity", "valid_perplexity"):
            assert one[name] == pytest.approx(other[name], rel=1e-4)


# Two processes train to the end; train again and stop in the middle of an epoch; go on from there;
# and at last the first one fails to write a checkpoint.
PROGRAM = """
import sys
from pathlib import Path
from unrolled.text.corpus import read_corpus
from unrolled.training.distributed import join
from unrolled.neural.task import LanguageModelTask
from unrolled.neural.config import split_settings
from unrolled.training.loop import TrainingLoop
folder = Path(sys.argv[1])
group = join()
net, training = split_settings(dict(
    hidden=12, classes=4, batch=5, bptt=6, warmup=5, epochs=2, dropout_output=0.3, maxent_size=200))

def loop(kept):
    task = LanguageModelTask(
        read_corpus(folder / "text.txt"), None, net, training, group=group)
    loop = TrainingLoop(task, group)
    loop.enable_checkpoints(folder / kept, 0, resume=True)
    return loop

def run(loop, name):
    loop.run()
    loop.task.model(loop.curve).save(folder / f"{name}.{group.rank}")

run(loop("other"), "whole")
stopped = loop("kept")
save = stopped.save
def save_and_stop():
    save()
    if stopped.position == 3:
        raise InterruptedError
stopped.save = save_and_stop
try:
    stopped.run()
except InterruptedError:
    pass
resumed = loop("kept")
print(resumed.epoch, resumed.position)
run(resumed, "again")
loop("missing/kept").run()
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, str, str]]]:
    """Runs PROGRAM without torchrun, which takes a while to start; codes, outputs and errors."""
    folder = tmp_path_factory.mktemp("two")
    write_text(folder, 60)
    port = str(29500 + os.getpid() % 1000)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)],
            env={
                **ENVIRONMENT, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            },
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    told = [process.communicate(timeout=200) for process in processes]
    return folder, [(p.returncode, *texts) for p, texts in zip(processes, told, strict=True)]


Two = tuple[Path, list[tuple[int, str, str]]]


def test_resumed_in_the_middle_two_processes_reach_the_same_bits(two: Two) -> None:
    folder, results = two
    assert [output for _, output, _ in results] == ["0 3\n"] * 2, results
    models = [unrolled.load(folder / f"{path}.{n}") for path in ("whole", "again") for n in "01"]
    for parameters in zip(*(model.net.parameters() for model in models), strict=True):
        for other in parameters[1:]:
            assert torch.equal(parameters[0], other)
    curves = [model.provenance["training"]["curve"] for model in models]
    for curve in curves[1:]:
        for one, other in zip(curves[0], curve, strict=True):
            assert {**one, **TIMES} == {**other, **TIMES}


def test_a_process_that_ends_takes_the_others_along_with_a_sentence(two: Two) -> None:
    _, results = two
    assert all(code != 0 for code, _, _ in results)
    assert "missing" in results[0][2]
    assert "another process of this training has ended, so this one ends too" in results[1][2]


def test_shares_are_the_batch_cut_in_pieces() -> None:
    ids = np.array([1, *range(3, 40), 2])
    batches = list(contiguous_batches(steps_of(ids), 7, 4))
    groups = [Group(rank, 3) for rank in range(3)]
    for batch in batches:
        shares = [batch.columns(group.share(batch.steps.shape[1])) for group in groups]
        for name in ("inputs", "targets", "steps"):
            pieces = np.concatenate([getattr(share, name) for share in shares], 1)
            assert np.array_equal(pieces, getattr(batch, name))
        assert [share.steps.shape[1] for share in shares] == [2, 2, 3]
        assert all(share.fresh == batch.fresh for share in shares)
    state = torch.arange(14.0).view(7, 2)
    assert torch.equal(torch.cat([state[group.share(7)] for group in groups]), state)


def test_a_process_alone_needs_no_messages() -> None:
    group = Group()
    net = torch.nn.Linear(2, 1)
    assert group.sum_gradients(list(net.parameters()), True)
    assert net.weight.grad is None
    assert group.sum([2.0, 3.0]) == [2, 3]
    assert group.broadcast_from_rank0(4.0) == 4
    group.require_equal(1, "text")
    assert [group.threads(n) for n in (1, 4)] == [1, 4]
    assert Group(1, 4, 2).threads(5) == 2


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "3"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert join() == Group()  # not all that torchrun says
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SettingError, match=r"3 processes are to share 2 GPUs.*nproc-per-node 2"):
        join()


def test_standard_input_cannot_be_shared() -> None:
    refuse_standard_input(Path("a.txt"))
    for sources in ("-", ["a.txt", "-"]):
        with pytest.raises(SettingError, match="cannot share standard input. Write the text to a"):
            refuse_standard_input(sources)


def test_processes_with_other_texts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        distributed.Group, "all_rows", lambda self, tensor: [tensor, torch.tensor([8])]
    )
    with pytest.raises(UnrolledError, match="the 2 processes do not have the same text to train"):
        Group(0, 2).require_equal(7, "text to train")
