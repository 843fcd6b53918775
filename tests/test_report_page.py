import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from minadv import report, run_folder
from minadv.result import Trace
from tests.runs_by_hand import run

NASTY = '<script>document.title="owned"</script>'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_from_elsewhere():
    parser = _Tags()
    page = report.render(run())
    parser.feed(page)
    assert {tag for tag, _ in parser.tags}.isdisjoint({"script", "iframe", "object", "embed"})
    addresses = [facts.get(name) for _, facts in parser.tags for name in ("src", "href", "xlink:href")]
    assert all(address.startswith(("data:", "#")) for address in addresses if address)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_ids_are_unique_on_a_page_with_two_drawings():
    trace = Trace(torch.tensor([[1] * 6, [3] * 6]), torch.tensor([[2.0] * 6, [1.0] * 6]))
    page = report.render(replace(run(), trace=trace))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert 'id="progress"' in page
    assert "The curve begins" in page


def test_every_name_is_escaped():
    page = report.render(
        run(
            model=NASTY,
            data=NASTY,
            attack=NASTY,
            classes=(NASTY, NASTY),
            distance=NASTY,
            device=NASTY,
            command=("minadv", NASTY),
            settings={"budget": None, "levels": None, NASTY: NASTY},
        )
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 10


def test_the_verification_statement_says_what_was_checked():
    found = run(settings={"levels": 256, "budget": 77})
    text = " ".join(re.sub("<[^>]*>", " ", report.render(found)).split())
    assert "Every success (4 of 6) was classified again" in text
    assert "in float32" in text
    assert "at least 0.0001 logits beyond" in text
    assert "256 levels" in text
    assert "The budget was 77 propagations per sample" in text
    assert "3 of 4 successes are still adversarial after rounding to 8 bits" in text


def test_what_was_warned_of_is_said_at_the_top():
    page = report.render(run(warnings=("1 of 2 < 3", "another")))
    head = page[: page.index("</header>")]
    assert "<li>1 of 2 &lt; 3</li>" in head
    assert "<li>another</li>" in head
    assert "<li>" not in report.render(run())


def test_the_page_is_a_function_of_the_folder(tmp_path: Path):
    run_folder.write(tmp_path, run())
    path = report.write(tmp_path)
    first = path.read_bytes()
    path.unlink()
    assert report.write(tmp_path).read_bytes() == first


# the browser


PROBE = """<!doctype html><title>waiting</title>
<iframe id="page" style="border:0;height:900px;width:{width}px" src="report.html"></iframe><script>
document.getElementById("page").onload = event => {{
  const page = event.target.contentDocument, root = page.documentElement;
  const images = [...page.images];
  const beyond = [...page.querySelectorAll("body *:not(svg *)")]
    .filter(e => e.getBoundingClientRect().right > root.clientWidth + 1).length;
  document.body.dataset.found = JSON.stringify([root.clientWidth, root.scrollWidth, beyond, images.length,
    images.filter(image => image.naturalWidth > 0).length, page.querySelector("h1").textContent,
    page.querySelector("#curve svg").getBoundingClientRect().width > 200, page.title]);
}};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH to look at the report with")
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_the_page(tmp_path: Path, width: int):
    long = "zoo:" + "a_very_long_name_without_a_break" * 3
    run_folder.write(tmp_path, run(model=long, classes=(NASTY, "dog")))
    report.write(tmp_path)
    (tmp_path / "probe.html").write_text(PROBE.format(width=width))
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--v=0",
            "--allow-file-access-from-files",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000",
            "--window-size=1300,1000",
            "--dump-dom",
            (tmp_path / "probe.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found, done.stdout[-2000:]
    seen = found[1].replace("&quot;", '"')
    heading = f"ALMA on {long}"
    assert seen == f'[{width},{width},0,14,14,"{heading}",true,"{heading} · minadv"]'
