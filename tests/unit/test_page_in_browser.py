"""The status page in a real browser: its numbers, its curves, what changes while one looks, names that are markup."""

import json
from pathlib import Path

import pytest

from browser import CHROMIUM, Browser
from bunchtrain.page import state as states
from bunchtrain.page.document import page
from bunchtrain.page.state import Watched
from invented import BEGUN, Invented, half_way, serving

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; make browser installs it"),
]

MARKUP = "<img src=x onerror=\"document.title='hit'\"></script><script>document.title='hit'</script>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(states, "driven", lambda results: True)


@pytest.fixture(autouse=True)
def without_errors(browser):
    browser.errors.clear()
    yield
    assert browser.errors == []


@pytest.fixture
def serve():
    """A way to serve campaigns; servers end with the test."""
    with serving() as start:
        yield start


def exported(*made):
    watched = Watched([one.file for one in made])
    Path("page.html").write_text(page(watched.title, watched.state(BEGUN + 170))[0])
    return Path("page.html").resolve().as_uri()


def test_a_file_shows_the_state_without_a_server(browser, tmp_path):
    made = half_way(tmp_path)
    made.journal(46, wanted=80, going=2)
    made.history(9, done=False)
    browser.open(exported(made))
    assert browser.text("h1") == ["invented running"]
    assert browser.text("#overview dd") == ["73 of 86", "2", "3", "8"]
    rows = [json.loads(row) for row in browser.js(ROWS)]
    assert rows[:3] == [
        ["simulate", "", "40 / 40", "", "", "", "9 s", "28 / min", ""],
        ["convert", "", "33 / 40", "2", "3", "2", "5 s", "0.87 / s", "4.6 s"],
        ["prepare", "", "0 / 1", "", "", "1", "", "", ""],
    ]
    assert browser.text("#failures h3") == ["convert: 3 jobs: a ROOT file is truncated"]
    assert "fetch it again" in browser.text("#failures pre")[0]
    assert browser.text("#failures .command") == [f"bunchtrain campaign run {made.file} --cores 2"]
    assert browser.text("#running .age") == ["for 10 s", "for 9 s"]
    assert "9 of at most 12 epochs; step 470, 821.5 jets per second" in browser.text("#training li")[0]
    assert "46 of 80 evaluations have ended; 6 of them failed" in browser.text("#scan .why")[0]
    assert browser.js("document.querySelectorAll('#scan circle.c0.dot').length") == 32 + 1  # and the legend's
    # Every epoch is a point of each curve.
    points = browser.js("[...document.querySelectorAll('#training path.curve')].map((one) => one.getAttribute('d'))")
    assert sorted(path.count("L") for path in points if "H" not in path) == [8, 8, 8]
    assert browser.js("document.querySelectorAll('.box.failed, .box.done').length") == 2
    assert browser.js("performance.getEntriesByType('resource').length") == 0


ROWS = """[...document.querySelectorAll('#stages tbody tr')].map(
  (row) => JSON.stringify([...row.children].map((cell) => cell.textContent)))"""


@pytest.mark.parametrize("width", [400, 1240])
def test_nothing_is_wider_than_the_page_and_figures_have_names(browser, tmp_path, width):
    made = half_way(tmp_path)
    made.journal(46, going=2)
    made.history(9)
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.open(exported(made))
    assert browser.js("document.documentElement.scrollWidth") <= width
    named = "[...document.querySelectorAll('[role=img]')].map((one) => one.getAttribute('aria-label').length)"
    assert len(browser.js(named)) > 10 and min(browser.js(named)) > 10
    scrolls = "[...document.querySelectorAll('.scroll, pre')].every((one) => one.tabIndex === 0)"
    assert browser.js(scrolls)
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_a_change_arrives_without_a_reload_and_leaves_the_rest_alone(browser, tmp_path, serve):
    made = half_way(tmp_path)
    server = serve(made)
    browser.open(server.address)
    browser.until("document.querySelectorAll('#overview dd').length === 4")
    assert browser.text("#overview dd") == ["73 of 86", "2", "3", "8"] and browser.text(".fresh") == ["live"]
    browser.js("document.querySelector('#failures details').open = true")
    browser.js("document.querySelector('#failures summary').focus()")
    browser.js("window.kept = [...document.querySelectorAll('#failures pre, #overview .tiles, #stages tbody')]")
    made.done("convert", BEGUN + 170, 5.0, sample="qcd", group="0002")
    browser.until("document.querySelector('#overview dd').textContent === '74 of 86'")
    assert browser.js("window.kept.length === 3 && window.kept.every((one) => one.isConnected)")
    assert browser.js("document.querySelector('#failures details').open")
    assert browser.js("document.activeElement.matches('#failures summary')")
    made.history(3, done=False)
    browser.until("document.querySelectorAll('#training path.curve').length > 0")


def test_a_server_that_is_gone_is_told_and_what_was_known_stays(browser, tmp_path, serve):
    server = serve(half_way(tmp_path))
    browser.open(server.address)
    browser.until("document.querySelectorAll('#overview dd').length === 4")
    server.shutdown()
    server.server_close()
    browser.until("document.querySelector('.fresh').textContent.startsWith('not reached since')")
    assert browser.text("#overview dd")[0] == "73 of 86"
    browser.open("data:text/html,gone")
    assert browser.errors and all("ERR_CONNECTION_REFUSED" in error for error in browser.errors)
    browser.errors.clear()


def test_names_and_logs_that_are_markup_are_text(browser, tmp_path, serve):
    made = half_way(tmp_path, samples=10)
    job = made.start("prepare", BEGUN + 161, log=f"error: {MARKUP}\n  file     {MARKUP}\n", sample=MARKUP)
    made.fail(job, BEGUN + 162)
    made.start(MARKUP, BEGUN + 163, log=f"{MARKUP}\n", sample=MARKUP)
    made.start("__proto__", BEGUN + 164, log="plain\n", __proto__="x")
    journal = made.journal(3).read_text()
    (made.results / "scan/journal.jsonl").write_text(journal.replace("model.hidden", json.dumps(MARKUP)[1:-1]))
    made.history(3, seed="<b>seed")
    for address in (exported(made), serve(made).address):
        browser.open(address)
        browser.until("document.querySelectorAll('#failures h3').length === 2")
        assert browser.js("document.title") == "running: invented"
        assert browser.js("document.querySelectorAll('img, #main script, h1 script, #training b b').length") == 0
        assert any(MARKUP[:60] in text for text in browser.text("#failures pre"))
        assert any(MARKUP in text for text in browser.text("#running p"))
        assert any(MARKUP[:60] in text for text in browser.text("#scan td.point"))
        assert "__proto__" in browser.text("#stages tbody th") and "<b>seed" in browser.text("#training b")


def test_one_of_several_campaigns_is_chosen_by_its_place_in_the_address(browser, tmp_path):
    first, second, third = half_way(tmp_path, "first"), Invented(tmp_path, "second"), Invented(tmp_path, "third")
    second.begin({"convert": 1})
    second.done("convert", BEGUN, 3.0)
    browser.open(exported(first, second, third))
    assert browser.text("nav a small") == ["73 of 86 jobs done", "1 of 1 job done", str(third.file)]
    browser.js("document.querySelectorAll('nav a')[2].click()")
    browser.until("document.querySelector('h1').textContent === 'third not run yet'")
    assert browser.text("#overview .command") == [f"bunchtrain campaign run {third.file} --cores 2"]
    assert browser.js("document.querySelectorAll('#stages, #failures').length") == 0
    browser.js("location.hash = '#1'")
    browser.until("document.querySelectorAll('#stages tbody tr').length === 8")


def test_a_run_that_has_only_begun_is_drawn(browser, tmp_path):
    made = Invented(tmp_path)
    made.note("run", BEGUN, host="login1")
    browser.open(exported(made))
    assert browser.text("h1") == ["invented beginning"] and browser.text("#overview dd")[0] == "0 of 0"


def test_a_token_lets_a_browser_in_and_leaves_the_address(browser, tmp_path, serve):
    server = serve(half_way(tmp_path), guarded=True)
    browser.open(server.address)
    browser.until("document.querySelectorAll('#overview dd').length === 4")
    assert browser.js("location.search") == "" and browser.js("document.cookie") == ""
    browser.open(server.address.partition("?")[0])  # the browser has kept it
    browser.until("document.querySelectorAll('#overview dd').length === 4")
