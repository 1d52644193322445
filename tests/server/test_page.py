"""The page in a real Chromium: each use by pointer and keyboard, checked by axe-core.

Pictures of it for the guide: ``make screenshots``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.running import Server, running
from unrolled import train_ngram

TABS = ("surprisal", "generate", "rank", "tag", "gradients")

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
expect = sync_api.expect
expect.set_options(timeout=20_000)


class Opened:
    """The page in a window, and what its console said."""

    def __init__(self, browser: Any, url: str, **window: Any) -> None:
        self.page = browser.new_page(**window)
        self.page.set_default_timeout(20_000)
        self.messages: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.goto(f"{url}/")

    def open(self, tab: str) -> Any:
        """The panel of a tab, opened, with its first results."""
        self.page.locator(f"#tab-{tab}").click()
        panel = self.page.locator(f"#{tab}")
        expect(panel).to_be_visible()
        if tab == "generate":
            panel.locator("#seed").fill("1")
            panel.get_by_role("button", name="Generate").click()
            expect(panel.locator("[data-summary]")).to_contain_text("words")
        else:
            expect(panel.locator("[data-results] > *").first).to_be_visible()
        return panel


@pytest.fixture
def opened(browser: Any, server: Server) -> Iterator[Opened]:
    window = Opened(browser, server.url, viewport={"width": 1200, "height": 900})
    yield window
    window.page.close()
    assert window.messages == []


def words_of(card: Any) -> list[str]:
    found: list[str] = card.locator(".word").all_inner_texts()
    return found


def bits_of(card: Any) -> list[float]:
    return [float(text.split()[0]) for text in card.locator(".bits").all_inner_texts()]


def test_surprisals_of_two_models_side_by_side(opened: Opened, server: Server) -> None:
    panel = opened.open("surprisal")
    panel.locator("select").nth(1).select_option("net")
    panel.locator("textarea").fill("the cat zzz")
    cards = panel.locator(".card")
    for card, model in zip((cards.first, cards.nth(1)), ("words", "net"), strict=True):
        expect(card.locator(".word").nth(2)).to_have_text("zzz")
        assert words_of(card) == ["the", "cat", "zzz", "end"]
        wanted = server.json("/surprisal", model=model, sentence="the cat zzz")
        assert bits_of(card) == [round(word["bits"], 1) for word in wanted["words"]]
        expect(card.locator("li.unknown .word")).to_have_text("zzz")
    shades = [
        float(word.evaluate("one => getComputedStyle(one).getPropertyValue('--s')"))
        for word in cards.first.locator(".word").all()
    ]
    bits = bits_of(cards.first)
    assert sorted(shades, reverse=True) == [
        shade for _, shade in sorted(zip(bits, shades, strict=True), reverse=True)
    ]


def test_next_words_follow_the_typing_and_can_be_taken(opened: Opened, server: Server) -> None:
    panel = opened.open("surprisal")
    panel.locator("select").nth(1).select_option("")
    text = panel.locator("textarea")
    text.fill("")
    text.press_sequentially("the dog")
    wanted = server.json("/predict", model="words", context="the dog", count=8)["words"]
    likeliest = next(one["word"] for one in wanted if one["word"] not in ("</s>", "<unk>"))
    button = panel.locator(".bars button").first
    expect(button).to_contain_text(likeliest)
    button.click()
    expect(text).to_have_value(f"the dog {likeliest}")
    expect(text).to_be_focused()
    expect(panel.locator(".word").nth(2)).to_have_text(likeliest)


def test_words_of_a_character_model_are_taken_without_spaces(opened: Opened) -> None:
    panel = opened.open("surprisal")
    panel.locator("select").first.select_option("characters")
    panel.locator("select").nth(1).select_option("")
    expect(panel.locator(".card h3")).to_have_text(["characters"])
    panel.locator("textarea").fill("the ca")
    expect(panel.locator(".bars button span").first).to_have_text("t")
    panel.locator(".bars button").first.click()
    expect(panel.locator("textarea")).to_have_value(re.compile("^the ca.$"))


def test_words_are_generated_as_they_come(opened: Opened, server: Server) -> None:
    panel = opened.open("generate")
    panel.locator("textarea").fill("the cat")
    panel.locator("#seed").fill("7")
    slider = panel.locator("#temperature")
    slider.focus()
    slider.press("ArrowRight")
    expect(panel.locator("output")).to_have_text("0.9")
    panel.get_by_role("button", name="Generate").click()
    wanted = server.json(
        "/generate", model="words", context="the cat", seed=7, temperature=0.9, max_words=60,
        stream=False,
    )  # fmt: skip
    expect(panel.locator("[data-results]")).to_have_text(wanted["text"])
    expect(panel.locator("[data-summary]")).to_contain_text(f"{len(wanted['words'])} words")


def test_generation_can_be_stopped(browser: Any, tmp_path: Path) -> None:
    model = train_ngram(texts=["the cat sat " * 10_000], order=2, smoothing="witten-bell")
    model.save(tmp_path / "endless.safetensors")
    with running(tmp_path / "endless.safetensors") as server:
        window = Opened(browser, server.url)
        panel = window.open("generate")
        panel.locator("#seed").fill("")
        panel.locator("#max-words").fill("10000")
        panel.get_by_role("button", name="Generate").click()
        panel.get_by_role("button", name="Stop").click()
        expect(panel.get_by_role("button", name="Stop")).to_be_disabled()
        expect(panel.locator("[data-summary]")).to_contain_text("words")
        assert not panel.locator("[data-summary]").inner_text().startswith("10000 ")
        window.page.close()


def test_two_sentences_are_ranked_word_by_word(opened: Opened, server: Server) -> None:
    panel = opened.open("rank")
    panel.locator("input").first.fill("the mat ran dog")
    panel.locator("input").nth(1).fill("the dog ran .")
    cards = panel.locator(".card")
    expect(cards.first.locator("h3")).to_have_text("1. the dog ran .")
    wanted = server.json("/rank", model="words", sentences=["the mat ran dog", "the dog ran ."])
    for card, one in zip((cards.first, cards.nth(1)), wanted["sentences"], strict=True):
        assert bits_of(card) == [round(word["bits"], 1) for word in one["words"]]
    expect(panel.locator(".verdict")).to_contain_text("“the dog ran .” is")


def test_tags_are_marked_with_confidences(opened: Opened, server: Server) -> None:
    panel = opened.open("tag")
    sentence = "Ann met Bob in Rome ."
    panel.locator("textarea").fill(sentence)
    wanted = server.json("/tag", sentence=sentence)
    rows = panel.locator("tbody tr")
    expect(rows).to_have_count(len(wanted["words"]))
    expect(rows.nth(2)).to_contain_text("Bob")
    tags = [row.locator("td").nth(1).inner_text() for row in rows.all()]
    assert tags == [word["tag"] for word in wanted["words"]]
    assert all("%" in row.locator("td").nth(2).inner_text() for row in rows.all())
    marked = [mark.inner_text() for mark in panel.locator("mark").all()]
    for text, span in zip(marked, wanted["spans"], strict=True):
        assert text.startswith(span["text"])
        assert span["label"] in text


def test_gradients_of_two_nets_as_heat_maps(opened: Opened, server: Server) -> None:
    panel = opened.open("gradients")
    panel.locator("textarea").fill("the cat sat on the mat .")
    maps = panel.locator("svg.heat")
    expect(maps).to_have_count(2)
    expect(maps.first.locator("rect")).to_have_count(8 * 9 // 2)
    wanted = server.json("/gradients", model="net", sentence="the cat sat on the mat .")
    heat = wanted["layers"][0]["heat"]
    at_lag_0 = max(range(8), key=lambda step: heat[0][step])
    shades = {
        (int(cell.get_attribute("y")), int(cell.get_attribute("x"))): float(
            cell.evaluate("one => one.style.getPropertyValue('--s')")
        )
        for cell in maps.first.locator("rect").all()
    }
    assert max(range(8), key=lambda step: shades[0, step]) == at_lag_0
    maps.first.focus()
    for key in ("ArrowLeft", "ArrowUp"):
        maps.first.press(key)
    expect(panel.locator(".read").first).to_contain_text("words back")
    panel.locator("summary").first.click()
    expect(panel.locator("table").first.locator("tbody tr")).to_have_count(8)


def test_tabs_work_by_keyboard_and_are_in_the_address(opened: Opened, server: Server) -> None:
    page = opened.page
    page.locator("#tab-surprisal").focus()
    for key, tab in (("ArrowRight", "generate"), ("End", "gradients"), ("ArrowRight", "surprisal"),
                     ("ArrowLeft", "gradients"), ("Home", "surprisal")):  # fmt: skip
        page.keyboard.press(key)
        expect(page.locator(f"#tab-{tab}")).to_be_focused()
        expect(page.locator(f"#{tab}")).to_be_visible()
        assert page.url.endswith(f"#{tab}")
    page.goto(f"{server.url}/#rank")
    page.reload()
    expect(page.locator("#rank")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (360, "dark")])
def test_nothing_to_complain_of_for_axe_on_any_screen(
    browser: Any, server: Server, width: int, scheme: str
) -> None:
    window = Opened(browser, server.url, viewport={"width": width, "height": 800},
                    color_scheme=scheme)  # fmt: skip
    for tab in TABS:
        window.open(tab)
        found = axe.Axe().run(window.page)
        assert found.violations_count == 0, f"{tab}: {found.generate_report()}"
        # Nothing is wider than the screen: only tables scroll, in themselves.
        assert window.page.evaluate("document.documentElement.scrollWidth") <= width, tab
    window.page.close()
    assert window.messages == []


def test_words_from_outside_are_text_and_nothing_else(opened: Opened) -> None:
    panel = opened.open("surprisal")
    panel.locator("textarea").fill("<img/src=x/onerror=alert(1)> <b>the</b>")
    expect(panel.locator(".card").first.locator(".word").first).to_have_text(
        "<img/src=x/onerror=alert(1)>"
    )
    assert panel.locator("img, b").count() == 0


def test_a_tab_chosen_before_the_models_are_known_opens(browser: Any, server: Server) -> None:
    page = browser.new_page()
    held: list[Any] = []
    page.route("**/models", lambda route: held.append(route))
    page.goto(f"{server.url}/")
    page.locator("#tab-rank").click()
    expect(page.locator("#rank")).to_be_visible()
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator("#rank [data-results] > *").first).to_be_visible()
    page.close()


def test_errors_are_the_servers_sentences(browser: Any, models: Path) -> None:
    with running(models / "words.safetensors", "--max-tokens", 30) as server:
        window = Opened(browser, server.url)
        panel = window.open("rank")
        panel.locator("input").first.fill("the cat sat " * 10)
        alert = window.page.get_by_role("alert")
        expect(alert).to_contain_text("30 tokens")
        panel.locator("input").first.fill("the")
        panel.locator("input").nth(1).fill("a")
        expect(alert).to_be_hidden()
        window.page.locator("#tab-tag").click()
        expect(window.page.locator("#tag")).to_contain_text("it needs a tagger")
        server.stop()
        window.page.locator("#tab-rank").click()
        panel.locator("input").first.fill("the dog")
        expect(alert).to_contain_text("does not answer")
        window.page.close()


def test_a_token_is_asked_for(browser: Any, models: Path) -> None:
    environment = {"UNROLLED_TOKEN": "s3cret"}
    with running(models / "words.safetensors", environment=environment) as server:
        window = Opened(browser, server.url)
        field = window.page.get_by_label("The server asks for its token")
        expect(field).to_be_focused()
        field.fill("s3cret")
        field.press("Enter")
        expect(window.page.locator("#surprisal .word").first).to_be_visible()
        expect(window.page.get_by_role("alert")).to_be_hidden()
        window.page.close()


@pytest.mark.slow
def test_pictures_for_the_guide(browser: Any, tmp_path: Path) -> None:
    """Writes them to the folder ``PICTURES`` of the environment, with models of the demo's text."""
    from unrolled.comparison.demo_tagger import train_demo_tagger
    from unrolled.neural.training import train_net
    from unrolled.text.demo_text import demo_text

    folder = Path(os.environ.get("PICTURES", tmp_path))
    text = str(demo_text().train)
    train_ngram(text).save(tmp_path / "kneser-ney.safetensors")
    for name, cell in (("lstm", "lstm"), ("tanh", "elman")):
        train_net(text, cell=cell, hidden=100, epochs=2).save(tmp_path / f"{name}.safetensors")
    train_demo_tagger(tmp_path / "punctuation.safetensors")
    names = ("kneser-ney", "lstm", "tanh", "punctuation")
    with running(*(tmp_path / f"{name}.safetensors" for name in names)) as server:
        window = Opened(browser, server.url, viewport={"width": 900, "height": 700})
        text_of_surprisals = "and the lord said to moses , go to pharaoh"
        for tab, typed in (
            ("surprisal", [text_of_surprisals]), ("generate", ["in the beginning"]),
            ("rank", ["he said to them", "he says to them"]),
            ("tag", ["moses said to pharaoh let my people go but he would not"]),
            ("gradients", ["jane walked into the room . john walked in too . it was late in the "
                           "day . jane said hi to"]),
        ):  # fmt: skip
            panel = window.open(tab)
            for field, words in zip(panel.locator("textarea, [type=text]").all(), typed,
                                    strict=True):  # fmt: skip
                field.fill(words)
            if tab == "generate":
                window.open(tab)
            window.page.wait_for_timeout(2000)
            window.page.screenshot(path=folder / f"page-{tab}.png", full_page=True)
        window.page.close()
