"""The report in a real browser: what a reader sees, does and prints."""

import math
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from chromium import FOUND, SHIFT, Chromium
from located_runs import row, rows_of

from edgewise.report import viewer
from edgewise.report.page import write

pytestmark = pytest.mark.skipif(
    FOUND is None, reason="no Chromium in PATH (chromium, chromium-browser, google-chrome); set EDGEWISE_CHROMIUM"
)
EVIL = (
    "<img src=x onerror=alert(1)>",
    "</script><script>window.evil=1</script>",
    "\"' onmouseover=window.evil=1 x='",
    "{{ 7*7 }} &lt;b&gt; $& \\u003c",
)
STACKS = '[...document.querySelectorAll("[data-slices] > script")].map(script => JSON.parse(script.textContent))'
CONTRAST = """
(() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (top, under) => [0, 1, 2].map(i => top[3] * top[i] + (1 - top[3]) * under[i]);
  const shine = rgb => rgb.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const result = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent).join(" ").trim();
    if (!text || !element.checkVisibility({ visibilityProperty: true }) || element.closest(".panel, script")) continue;
    const style = getComputedStyle(element), under = ground(element);
    const ink = parse(element instanceof SVGElement ? style.fill : style.color);
    if (element instanceof SVGElement) ink[3] *= Number(style.fillOpacity);
    const pair = [shine(over(ink, under)), shine(under)].sort((a, b) => b - a);
    result.push([(pair[0] + .05) / (pair[1] + .05), text.slice(0, 60)]);
  }
  return result;
})()
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


PAGES = {}


@pytest.fixture
def page(make_study, loader, tmp_path_factory):
    """A report on two runs with three cases in three planes, which located objects; written once."""
    if "study" not in PAGES:
        runs = make_study(cases=8, seeds=1, methods=("dice_ce", "region_wise"))
        loads = [loader(skill, (48, 48, 32), (6.0, 6.0, 6.5)) for skill in (0.0, 0.1)]
        PAGES["study"] = tmp_path_factory.mktemp("report") / "my report.html"
        reference = loads[0]("case_001").reference
        located = {"located": tuple(rows_of("case_001", reference, 2)), "heat": lambda _: reference / np.float32(4)}
        runs = [replace(run, load=load, **located) for run, load in zip(runs, loads, strict=True)]
        write(runs, PAGES["study"])
    return PAGES["study"]


@pytest.fixture
def hostile(make_run, loader, tmp_path_factory):
    """A report in which everything a user can name is an attack; written once."""
    if "hostile" not in PAGES:
        load = loader(0.0, (40, 40, 12), (8.0, 8.0, 20.0))
        case = "{:03d} " + " ".join(EVIL).replace("{", "{{").replace("}", "}}")
        runs = [make_run(f"run{number}", case_name=case, load=load) for number in range(len(EVIL))]
        runs = [
            replace(
                run,
                name=evil,
                dataset={**run.dataset, "classes": ["background", evil, EVIL[0]]},
                located=tuple(row(case, evil, iou=iou) for case in run.dataset["validation"] for iou in (0.0, 0.5)),
            )
            for run, evil in zip(runs, EVIL, strict=True)
        ]
        PAGES["hostile"] = tmp_path_factory.mktemp("hostile") / "report.html"
        write(runs, PAGES["hostile"])
    return PAGES["hostile"]


def until(chromium, expression, expected):
    """Wait until an expression has a value: wheels turn and pages scroll in their own time."""
    deadline = time.monotonic() + 10
    while (found := chromium.run(expression)) != expected:
        assert time.monotonic() < deadline, f"{expression} is {found!r}, not {expected!r}"
        time.sleep(0.05)


def slider(case, plane):
    return f'document.querySelectorAll("[data-slices]")[{case}].querySelectorAll("input[type=range]")[{plane}]'


def captions(chromium, case, plane):
    return chromium.run(
        f'[...document.querySelectorAll("[data-slices]")[{case}].querySelectorAll(\'.slice[data-plane="{plane}"]\')]'
        '.map(figure => figure.querySelector("figcaption").textContent)'
    )


def shown(chromium, case, plane):
    """Picture and outlines of a plane in every run."""
    return chromium.run(
        f'[...document.querySelectorAll("[data-slices]")[{case}].querySelectorAll(\'.slice[data-plane="{plane}"]\')]'
        '.map(figure => [figure.querySelector("image").getAttribute("href"),'
        ' [...figure.querySelectorAll("path[data-label]")].map(path => path.getAttribute("d"))])'
    )


def test_the_page_loads_without_a_complaint_and_asks_for_nothing(chromium, page):
    chromium.open(page)
    assert chromium.complaints() == []
    assert chromium.requests() == [page.as_uri()]
    assert chromium.run("document.querySelectorAll('th button').length") > 10


def numbers(texts):
    plain = [text.replace("−", "-").replace("∞", "inf").split(" ")[0] for text in texts]
    return [math.nan if text in {"", "–"} else float(text) for text in plain]


def test_tables_sort_by_number_with_infinity_last_and_gaps_at_the_end(chromium, hostile):
    chromium.open(hostile)
    tables = "[...document.querySelectorAll('table.sortable')]"
    column = chromium.run(
        f"(() => {{ for (const [t, table] of {tables}.entries()) for (const [c, head] of"
        " [...table.tHead.rows[0].cells].entries()) if (head.classList.contains('n') && [...table.tBodies[0].rows]"
        ".some(row => row.cells[c].textContent.includes('∞'))) return [t, c]; })()"
    )
    table, at = column
    cells = f"[...{tables}[{table}].tBodies[0].rows].map(row => row.cells[{at}].textContent.trim())"
    head = f"{tables}[{table}].tHead.rows[0].cells[{at}]"
    chromium.run(f"{head}.querySelector('button').click()")
    assert chromium.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    up = numbers(chromium.run(cells))
    finite = [value for value in up if not math.isnan(value)]
    assert finite == sorted(finite)
    assert math.isinf(finite[-1])
    assert all(map(math.isnan, up[len(finite) :]))
    chromium.run(f"{head}.querySelector('button').click()")
    assert chromium.run(f"{head}.getAttribute('aria-sort')") == "descending"
    down = numbers(chromium.run(cells))
    assert down[: len(finite)] == finite[::-1]
    assert all(map(math.isnan, down[len(finite) :]))


def test_words_sort_as_words_and_digits_in_them_as_numbers(chromium, page):
    chromium.open(page)
    heads = "[...document.querySelectorAll('table.sortable th')].filter(h => /^case$/i.test(h.textContent.trim()))"
    assert chromium.run(f"{heads}.length") > 0
    chromium.run(f"{heads}[0].closest('details')?.setAttribute('open', '')")
    chromium.run(f"{heads}[0].querySelector('button').click()")
    order = chromium.run(f"[...{heads}[0].closest('table').tBodies[0].rows].map(r => r.cells[0].textContent.trim())")
    assert order == sorted(order)
    assert len(set(order)) > 2


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_every_case_opens_at_its_first_slice_and_all_runs_show_the_same(chromium, page, plane):
    chromium.open(page)
    for case, stacks in enumerate(chromium.run(STACKS)):
        stack = stacks[plane]
        title = f"{stack['name']}, slice {stack['slices'][stack['start']]}"
        assert captions(chromium, case, plane) == [title] * 2
        assert {picture for picture, _ in shown(chromium, case, plane)} == {stack["pictures"][stack["start"]]}


def test_the_arrow_keys_scroll_one_plane_of_one_case_in_every_run(chromium, page):
    chromium.open(page)
    stack = chromium.run(STACKS)[1][0]
    before, other = shown(chromium, 0, 0), shown(chromium, 1, 1)
    chromium.run(f"{slider(1, 0)}.focus()")
    chromium.press("ArrowRight", 2)
    at = stack["start"] + 2
    title = f"axial, slice {stack['slices'][at]}"
    assert captions(chromium, 1, 0) == [title] * 2
    for run, (picture, paths) in enumerate(shown(chromium, 1, 0)):
        assert picture == stack["pictures"][at]
        roles = [stack["reference"], stack["predictions"][run]]
        assert paths == [role[label][at] for role in roles for label in sorted(role)]
    assert shown(chromium, 0, 0) == before
    assert shown(chromium, 1, 1) == other
    assert chromium.run(f"{slider(1, 0)}.getAttribute('aria-valuetext')") == f"slice {stack['slices'][at]}"
    labels = chromium.run(
        "[...document.querySelectorAll('[data-slices]')[1].querySelectorAll('.slice[data-plane=\"0\"] svg')]"
        ".map(svg => svg.getAttribute('aria-label'))"
    )
    assert all(label.endswith(f": {title}") for label in labels)
    assert len(set(labels)) == 2
    chromium.press("End")
    assert captions(chromium, 1, 0)[0] == f"axial, slice {stack['slices'][-1]}"
    chromium.press("ArrowRight")
    assert captions(chromium, 1, 0)[0] == f"axial, slice {stack['slices'][-1]}"


def test_dragging_the_slider_scrolls(chromium, page):
    chromium.open(page)
    stack = chromium.run(STACKS)[0][0]
    chromium.click("[data-slices] input[type=range]")
    middle = int(chromium.run(f"{slider(0, 0)}.value"))
    assert abs(middle - (len(stack["slices"]) - 1) / 2) <= 1
    assert captions(chromium, 0, 0) == [f"axial, slice {stack['slices'][middle]}"] * 2


def test_the_wheel_scrolls_slices_only_where_the_reader_asked_for_it(chromium, page):
    chromium.open(page)
    start = int(chromium.run(f"{slider(0, 0)}.value"))
    picture = '[data-slices] .slice[data-plane="0"] svg'
    chromium.middle(picture)
    top = chromium.run("scrollY")
    chromium.wheel(picture, by=120)
    until(chromium, f"scrollY > {top}", True)
    assert int(chromium.run(f"{slider(0, 0)}.value")) == start
    chromium.wheel(picture, by=100, modifiers=SHIFT)
    until(chromium, f"Number({slider(0, 0)}.value)", start - 1)
    chromium.click(picture)
    assert chromium.run(f"document.activeElement === {slider(0, 0)}")
    top = chromium.run("scrollY")
    chromium.wheel(picture, number=1, by=-100)
    until(chromium, f"Number({slider(0, 0)}.value)", start)
    chromium.wheel(picture, by=-100)
    until(chromium, f"Number({slider(0, 0)}.value)", start + 1)
    assert abs(chromium.run("scrollY") - top) < 2
    assert len(set(captions(chromium, 0, 0))) == 1


def test_one_plane_can_be_shown_alone_and_outlines_hidden(chromium, page):
    chromium.open(page)
    visible = (
        "[...document.querySelectorAll('[data-slices]')[0].querySelectorAll('.slice')].filter(f => f.checkVisibility())"
    )
    width = f"{visible}[0].getBoundingClientRect().width"
    assert chromium.run(f"{visible}.length") == 6
    narrow = chromium.run(width)
    chromium.run(
        "(s => { s.value = '1'; s.dispatchEvent(new Event('change')); })(document.querySelector('.scroller select'))"
    )
    assert chromium.run(f"{visible}.map(f => f.dataset.plane)") == ["1", "1"]
    assert chromium.run(width) > 2 * narrow
    chromium.click(".scroller input[type=checkbox]")
    paths = f"{visible}[0].querySelectorAll('path')"
    assert chromium.run(f"[...{paths}].some(p => getComputedStyle(p).display !== 'none')") is False


def test_the_layers_of_located_objects_can_be_hidden_without_scripts(chromium, page):
    chromium.open(page)
    layers = {
        "heat": "image.heat",
        "box": ".reference.box, .prediction.box, .roi, .halo.boxes",
        "mask": ".reference:not(.box), .prediction:not(.box), .halo:not(.boxes)",
    }
    shown = "[...document.querySelectorAll('.located .panel')].flatMap(e => [...e.querySelectorAll('{}')])"
    shown += ".map(part => getComputedStyle(part).display !== 'none')"
    for name in layers:
        chromium.click(f"#localisation [name={name}]")
        for other, parts in layers.items():
            assert set(chromium.run(shown.format(parts))) == {other != name}
        chromium.click(f"#localisation [name={name}]")


def test_without_scripts_the_first_slices_are_there_and_no_dead_controls(chromium, page):
    chromium.open(page, scripts=False)
    try:
        assert chromium.run("document.querySelectorAll('.scroller:not([hidden])').length") == 0
        assert captions(chromium, 0, 0)[0].startswith("axial, slice ")
        assert all(picture.startswith("data:image/webp") for picture, _ in shown(chromium, 0, 0))
        assert chromium.run("document.querySelectorAll('th button').length") == 0
    finally:
        chromium.open(page)


def test_what_a_user_wrote_is_text_and_runs_nothing(chromium, hostile):
    chromium.open(hostile)
    text = re.sub(r"\s+", " ", chromium.run("document.body.textContent"))
    for evil in EVIL:
        assert evil in text
    assert chromium.run("typeof window.evil") == "undefined"
    assert chromium.run("document.querySelectorAll('img, [onerror], [onmouseover]').length") == 0
    assert chromium.run("document.querySelectorAll('body > script').length") == 1
    assert chromium.complaints() == []
    assert chromium.requests() == [hostile.as_uri()]
    labels = " ".join(
        chromium.run("[...document.querySelectorAll('[aria-label]')].map(e => e.getAttribute('aria-label'))")
    )
    assert EVIL[1] in labels
    chromium.run(f"{slider(0, 0)}.focus()")
    chromium.press("ArrowRight")
    labels = chromium.run(
        "[...document.querySelectorAll('[data-slices] .slice svg')].map(e => e.getAttribute('aria-label'))"
    )
    assert any(EVIL[2] in label for label in labels)


def test_it_prints_the_slices_without_controls(chromium, page):
    chromium.open(page)
    document = chromium.pdf()
    assert document.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", document)) <= 40
    chromium.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert chromium.run("[...document.querySelectorAll('.scroller, nav')].some(e => e.checkVisibility())") is False
        assert chromium.run("[...document.querySelectorAll('.slice svg, .error svg')].every(e => e.checkVisibility())")
    finally:
        chromium.send("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("name", ["page", "hostile"])
def test_nothing_is_wider_than_the_window(chromium, request, name, width):
    chromium.open(request.getfixturevalue(name), width=width)
    assert chromium.run("document.documentElement.scrollWidth") <= width
    assert chromium.run("document.body.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_has_contrast(chromium, page, dark):
    chromium.open(page, dark=dark)
    chromium.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    found = chromium.run(CONTRAST)
    assert len(found) > 200
    faint = sorted({text: ratio for ratio, text in found if ratio < 4.5}.items(), key=lambda pair: pair[1])
    assert faint == []
    paper = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == dark


def test_the_keyboard_reaches_everything_and_shows_where_it_is(chromium, page):
    chromium.open(page)
    kinds, unseen = set(), []
    reachable = "[...document.querySelectorAll('a[href], button, input, select, summary')]"
    last = f"{reachable}.filter(e => e.checkVisibility()).at(-1)"
    for _ in range(400):
        chromium.press("Tab")
        kind, seen, done = chromium.run(
            f"(e => {{ const s = getComputedStyle(e); return [e.matches('th button') ? 'head' : e.type || e.localName,"
            f" s.outlineStyle !== 'none' || e.localName === 'body', e === {last}]; }})(document.activeElement)"
        )
        kinds.add(kind)
        if not seen:
            unseen.append(kind)
        if done:
            break
    else:
        pytest.fail("Tab does not reach the end of the page")
    assert {"head", "range", "checkbox", "select-one", "summary", "a"} <= kinds
    assert not unseen


def test_enter_sorts_by_the_head_that_has_the_focus(chromium, page):
    chromium.open(page)
    chromium.run("document.querySelector('th.n button').focus()")
    chromium.press("Enter")
    assert chromium.run("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"


def test_pictures_and_controls_have_names(chromium, page):
    chromium.open(page)
    chromium.send("Accessibility.enable")
    nodes = chromium.send("Accessibility.getFullAXTree")["nodes"]
    chromium.send("Accessibility.disable")
    wanted = {"image", "img", "slider", "checkbox", "combobox", "button", "link", "region", "group", "table"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node.get("ignored") and node["role"]["value"] in wanted - {"group", "table"}
    ]
    assert {"slider", "checkbox", "combobox", "button", "link"} <= {role for role, _ in named}
    assert len([role for role, _ in named if role in {"image", "img"}]) > 10
    assert [role for role, name in named if not name] == []
    bare = "[...document.querySelectorAll('svg')].filter(s => !s.closest('[aria-hidden=true]') && !s.ariaLabel)"
    assert chromium.run(f"{bare}.length") == 0
    ids = chromium.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.skipif(not viewer.installed(), reason="the extra `viewer` is not installed")
def test_the_3d_viewer_draws_the_case(chromium, page):
    chromium.open(page)
    address = chromium.run("document.querySelector('.case header a').href")
    chromium.run("document.querySelector('.case header a').click()")
    until(chromium, "location.href", address)
    until(chromium, "document.body?.dataset.ready", "yes")
    assert chromium.complaints() == []
    assert chromium.run("document.getElementById('trouble').textContent") == ""
    assert all(each.startswith(("file:", "blob:")) for each in chromium.requests())
    colours = "(c => { const g = c.getContext('webgl2'); return [g.drawingBufferWidth, g.drawingBufferHeight]; })"
    assert min(chromium.run(f"{colours}(document.getElementById('scene'))")) > 100
