"""Links to the page draw what they show; two visitors do not see each other's images."""

import pytest

from sngan_hub import WEIGHTS, blend, load_generator, morph
from space import models

from . import space_server
from .space_browser import browser, closed, decoded, field, open_advanced, press, said, same_pixels, type_into, visit

browser, closed = browser, closed
served, page_url, client = space_server.served, space_server.page_url, space_server.client


def opened(browser, url, tab, again):
    """The page of a link, once it shows what the link says."""
    page = visit(browser, url, again)
    page.wait_for_function("([id, end]) => document.querySelector(`#${id}-link input, #${id}-link textarea`)?.value.endsWith(end)",
                           arg=[tab, again], timeout=60_000)  # fmt: skip
    assert page.get_by_role("tab", name=tab.capitalize()).get_attribute("aria-selected") == "true"
    return page


@pytest.mark.slow
def test_a_link_draws_the_same_images_on_every_tab(browser, page_url, client):
    avatars, fashion = load_generator("sngan_avatars32"), load_generator("sngan_fashion32")
    *_, again, _ = client.predict("sngan_avatars32", ["planets", "moods"], 3, "41", 0.8, api_name="/sample")
    assert again.startswith("?tab=sample&") and "planets%7Cmoods" in again
    page = opened(browser, page_url, "sample", again)
    same_pixels(decoded(page, "sample"), avatars.sample(["planets", "moods"], 3, 41, 0.8))
    pressed = page.locator("#sample-thumbs [aria-pressed=true]").all_inner_texts()
    assert [name.strip() for name in pressed] == ["planets", "moods"]
    open_advanced(page, "sample")
    assert field(page, "sample-seed").input_value() == "41" and page.locator("#sample-locked input").is_checked()
    *_, again = client.predict("sngan_fashion32", ["Bag", "Coat"], "5", "9", api_name="/morph")
    page = opened(browser, page_url, "morph", again)
    same_pixels(decoded(page, "morph"), morph(fashion, ["Bag", "Coat"], 5, 4, 9).flatten(0, 1))
    *_, again = client.predict("sngan_fashion32", ["Bag", "Coat", "Dress"], "1, 1, 2", "9", api_name="/morph")
    page = opened_with_other_weights(browser, page_url, again)
    same_pixels(decoded(page, "morph"), blend(fashion, ["Bag", "Coat", "Dress"], [1, 1, 2], 16, 9))
    *_, again, _ = client.predict("sngan_fashion32", ["Bag"], 2, "9", api_name="/walk")
    page = opened(browser, page_url, "walk", again)
    assert "48 frames" in said(page, "walk") and page.locator("#walk-result video").count() == 1
    again = "?tab=score&model=sngan_fashion32&class=Bag&seed=9"
    page = opened(browser, page_url, "score", again)
    same_pixels(decoded(page, "score"), fashion.sample(["Bag"], 1, 9))


def opened_with_other_weights(browser, url, again):
    """Weights above 1 become those of the sliders: only their ratios count."""
    page = visit(browser, url, again)
    page.locator("#morph-result .said", has_text="a blend of 25% Bag, 25% Coat, 50% Dress").wait_for(timeout=60_000)
    assert page.locator("#morph-weight-3 input[type=number]").input_value() == "1"
    return page


@pytest.mark.slow
def test_a_link_that_cannot_be_drawn_says_why_and_shows_no_other_images(browser, page_url):
    page = visit(browser, page_url, "?tab=nothing&seed=%00&classes=<script>&n=x")  # rubbish is a page like any other
    for address, words in (
        ("?tab=sample&model=sngan_avatars32&classes=zebra&seed=1", "there is no class 'zebra'"),
        ("?tab=sample&n=1000&seed=1", "Images per class must be a whole number"),
        ("?tab=morph&model=/etc/passwd", "there is no model"),
        (
            "?tab=morph&model=sngan_fashion32&classes=Bag&way=8&seed=1",
            "classes must be a list of 2 to 4 classes (got 1)",
        ),
        ("?tab=walk&seed=%00&seconds=x", "must be a whole number"),
        ("?tab=morph&model=sngan_fashion32&classes=Bag|Coat&way=a,b", "weights must be"),
        ("?tab=compare&left=sngan_fashion32&left_class=<script>&seed=1", "there is no class '<script>'"),
    ):
        page.goto(f"{page_url}/{address}")
        page.locator(".field-error").wait_for(timeout=60_000)
        assert words in page.locator(".field-error").inner_text() and "/etc" not in page.content()
        assert not page.locator("[id$='-result']:visible img").count()


@pytest.mark.slow
def test_a_link_with_another_name_of_a_model_selects_it(browser, page_url):
    page = visit(browser, page_url, "?tab=sample&model=sngan_avatars32.v1&classes=moods&seed=1")
    page.locator("#sample-result h3", has_text="moods").wait_for(timeout=60_000)
    assert page.locator("#sample-model input").input_value() == models.title(WEIGHTS["sngan_avatars32.v1"])
    open_advanced(page, "sample")
    page.locator("#sample-locked input").click()  # a link keeps its seed
    assert press(page, "sample") and page.locator("#sample-result h3").all_inner_texts() == ["moods"]


@pytest.mark.slow
def test_two_visitors(browser, page_url):
    visitors = []
    for seed, name in (("11", "horse"), ("22", "truck")):
        page = visit(browser, page_url)
        page.locator(f"#sample-thumbs button[data-class={name}]").click()
        open_advanced(page, "sample")
        type_into(page, "sample-seed", seed)
        visitors.append((page, seed, name))
    for page, *_ in visitors:  # both at once
        page.locator("#sample-go").click()
    generator = load_generator("sngan_cifar10_small")
    for page, seed, name in visitors:
        page.locator("#sample-result .said", has_text=f"seed {seed}").wait_for(timeout=60_000)
        assert page.locator("#sample-result h3").all_inner_texts() == [name]
        same_pixels(decoded(page, "sample"), generator.sample([name], 8, int(seed)))
        assert f"classes={name}" in page.url and f"seed={seed}" in page.url  # the address is the link
    page = visitors[0][0]
    page.locator("#sample-locked input").click()
    assert not press(page, "sample").endswith("seed 11")
    assert said(visitors[1][0], "sample").endswith("seed 22")  # what the other sees stays
    assert all(page.outside == [] for page, *_ in visitors)
