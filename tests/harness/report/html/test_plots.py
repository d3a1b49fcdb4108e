"""Plots in a real browser: which points they have, their colours, and what they offer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rerank_bench.evaluation import Evaluation, records, results_of

SHOWN = ":root[data-shown]"
PLOTS = {
    "Plots": ("cost", "gains", "quality"),
    "Queries": ("ranks",),
    "Robustness": ("promotions",),
}
CONTRASTS = """(plot) => {
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const numbers = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const ground = light(numbers(getComputedStyle(document.body).backgroundColor));
  return [...document.querySelectorAll(`#${plot} .points path`)].map((point) => {
    const { stroke, fill } = getComputedStyle(point);
    const seen = light(numbers(fill === "none" || fill.endsWith(", 0)") ? stroke : fill));
    return (Math.max(seen, ground) + 0.05) / (Math.min(seen, ground) + 0.05);
  });
}"""


def test_every_plot_is_drawn_and_its_toolbar_saves_a_picture_and_no_more(opened: Any) -> None:
    for tab, sections in PLOTS.items():
        page = opened.show(f"tab={tab}")
        for section in sections:
            assert page.locator(f"#{section} .plot .points path").count() > 0, section
            buttons = page.locator(f"#{section} .modebar-btn")
            titles = buttons.evaluate_all("all => all.map(e => e.dataset.title ?? e.ariaLabel)")
            assert titles == ["Download plot as a PNG", "Reset axes"], section


def test_gains_have_intervals_and_symbols_for_what_they_are(opened: Any, hostile: str) -> None:
    page = opened.show("tab=Plots")
    points = {y: (x, symbol) for x, y, symbol in opened.points("gains")["bm25"]}
    assert points == {
        "good": (0.2, "circle"),
        hostile: (0.05, "circle-open"),
        "harmful": (-0.1, "circle-open"),
        "broken": (0.3, "x-thin-open"),
        "random": (-0.2, "diamond-open"),
    }
    widths = page.evaluate("document.querySelector('#gains .plot').data[0].error_x.array")
    assert widths == pytest.approx([0.04] * 5)
    texts = page.locator("#gains .plot text").all_text_contents()
    assert any(text.startswith("<b>b</b></script><img") for text in texts)
    assert page.locator(".plot tspan[style*=bold], .plot image[href=x]").count() == 0


def test_a_cost_plot_is_of_one_machine_and_its_front_of_what_compares(opened: Any) -> None:
    page = opened.show("tab=Plots")
    assert {"harmful", "random"} & set(opened.points("cost")) == set()
    cost = page.locator("#cost")
    assert "price" not in cost.get_by_label("Cost", exact=True).inner_text()
    front = [(x, y) for x, y, _ in opened.points("cost")["front"]]
    assert front == [(0.25, 0.05), (0.5, 0.2)]
    assert opened.points("cost")["broken"] == [(0.25, 0.3, "x-thin-open")]
    cost.get_by_label("On", exact=True).select_option("slow machine")
    page.wait_for_selector(SHOWN)
    assert set(opened.points("cost")) == {"front", "harmful"}
    assert opened.points("cost")["front"] == []  # worse than the first stage
    cost.get_by_label("Cost", exact=True).select_option("ideal_flops")
    page.wait_for_selector(SHOWN)
    assert [x for x, _, _ in opened.points("cost")["harmful"]] == [2e12]
    assert "cost.x=ideal_flops" in page.url


def test_equal_ranks_are_one_point_and_failed_queries_are_left_out(opened: Any) -> None:
    page = opened.show("tab=Queries")
    assert {x: y for x, y, _ in opened.points("ranks")["rose"]} == dict.fromkeys(range(2, 9), 1)
    texts = page.evaluate("document.querySelector('#ranks .plot').data[0].text")
    assert texts[0].endswith("4 queries")
    assert "Not in the plot: 4 of 36 rows." in page.locator("#ranks").inner_text()


def test_many_points_are_drawn_for_one_reranker_at_a_time(
    open_report: Callable[..., Any], opened: Any, found: Evaluation
) -> None:
    opened.show("tab=Plots")
    few = opened.page.locator("#quality").get_by_label("Reranker").locator("option")
    assert "all" in few.all_inner_texts()
    rows = [row for row in records(found.results.rows("nDCG@10")) if row["task"] == "Nano/de"]
    many = results_of([row | {"task": f"Nano/{i}"} for i in range(251) for row in rows])
    own = open_report(replace(found, results=many))
    own.show("tab=Plots")
    options = own.page.locator("#quality").get_by_label("Reranker").locator("option")
    assert "all" not in options.all_inner_texts()


def test_points_are_seen_on_either_ground_and_paper_is_light(opened: Any) -> None:
    page = opened.show("tab=Plots&theme=light")
    assert min(page.evaluate(CONTRASTS, "gains")) > 2
    page = opened.show("tab=Plots&theme=dark")
    for plot in PLOTS["Plots"]:
        assert min(page.evaluate(CONTRASTS, plot)) > 4.5, plot
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_selector(SHOWN)
    colour = "document.querySelector('#gains .plot')._fullLayout.font.color"
    assert page.evaluate(colour) == "#1b1f23"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_selector(SHOWN)
    assert page.evaluate(colour) == "#e4e7ea"
