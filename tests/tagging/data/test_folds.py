from __future__ import annotations

from dataclasses import replace

import pytest

from unrolled.errors import SettingError, TextError
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.folds import (
    Split,
    mpqa_fold,
    read_conll2003,
    read_mpqa,
    read_mpqa_fold,
    read_sentiment,
)


@pytest.fixture
def mpqa(tmp_path):
    """Twelve documents of one or two sentences; fold n tests on document n, two are in no fold."""
    tags, ids = [], []
    for document in range(13):
        for rank in range(1 + document % 2):
            tags.append(f"w{document}\tNN\tB\nx\tVB\tO\n")
            ids.append(f"{document} {rank} doc/{document}\n")
    (tmp_path / "dse.txt").write_text("\n".join(tags) + "\n")
    (tmp_path / "ese.txt").write_text("\n".join(tags).replace("B\n", "O\n"))
    (tmp_path / "sentenceid.txt").write_text("".join(ids))
    lists = tmp_path / "datasplit"
    lists.mkdir()
    (lists / "doclist.mpqaOriginalSubset").write_text("".join(f"doc/{n}\n" for n in range(12)))
    for fold in range(10):
        (lists / f"filelist_test{fold}").write_text(f"doc/{fold}\n")
        others = (f"doc/{n}\n" for n in range(10) if n != fold)
        (lists / f"filelist_train{fold}").write_text("".join(others))
    return tmp_path


def test_the_published_folds_of_mpqa(mpqa):
    assert mpqa_fold(mpqa, 3) == (
        frozenset(f"doc/{n}" for n in range(10) if n != 3),
        frozenset({"doc/10", "doc/11"}),
        frozenset({"doc/3"}),
    )
    split = read_mpqa_fold(mpqa, "dse", 3)
    assert [s.words[0] for s in split.test] == ["w3", "w3"]
    assert [s.words[0] for s in split.dev] == ["w10", "w11", "w11"]
    assert len(split.train) == 9 + 4
    assert split.test[0].columns == (("NN", "VB"),)
    assert {tag for s in read_mpqa(mpqa, "ese") for tag in s.tags} == {"O"}


def test_damaged_mpqa_is_refused(mpqa):
    with pytest.raises(SettingError, match="allowed are dse and ese"):
        read_mpqa(mpqa, "xse")
    with pytest.raises(SettingError, match="the fold is 10, allowed are 0 to 9"):
        mpqa_fold(mpqa, 10)
    (mpqa / "datasplit/filelist_test0").write_text("doc/5\n")
    with pytest.raises(TextError, match="filelist_test0: doc/5 is in the training part"):
        mpqa_fold(mpqa, 0)
    (mpqa / "sentenceid.txt").write_text("0 0 doc/0\n")
    with pytest.raises(TextError, match=r"sentenceid.txt: 1 lines for 19 sentences of dse.txt"):
        read_mpqa(mpqa)
    (mpqa / "sentenceid.txt").write_text("0 doc/0\n" * 19)
    with pytest.raises(TextError, match="sentenceid.txt:1: 2 columns, not the ranks"):
        read_mpqa(mpqa)
    (mpqa / "sentenceid.txt").unlink()
    with pytest.raises(TextError, match="no such file. Fetch the data of"):
        read_mpqa(mpqa)


def test_splits_of_three_files(tmp_path):
    for name in ("laptop14_train.txt", "laptop14_dev.txt", "laptop14_test.txt"):
        (tmp_path / name).write_text(f"{name} S-POS\n")
    split = read_sentiment(tmp_path, "laptop14")
    assert split.dev[0].words == ("laptop14_dev.txt",)
    with pytest.raises(TextError, match=r"eng.train: there is no such file"):
        read_conll2003(tmp_path)
    for name in ("eng.train", "eng.testa", "eng.testb"):
        (tmp_path / name).write_text(f"{name} NN I-NP I-PER\n")
    assert read_conll2003(tmp_path).test[0].words == ("eng.testb",)


def test_splits_are_shortened_changed_and_put_together() -> None:
    one = TaggedSentence(("a",), ("O",))
    split = Split([one] * 3, [one], [])
    both = split.shortened(2) + split
    assert [len(part) for part in (both.train, both.dev, both.test)] == [5, 2, 0]
    assert split.shortened(None) == split
    changed = split.changed(lambda sentence: replace(sentence, words=("b",)))
    assert {sentence.words for sentence in changed.train + changed.dev} == {("b",)}
