"""The report in headless Chromium: axe finds nothing to complain of, and the page asks for nothing from outside.

Needs Debian's `chromium` and the npm package `axe-core`, whose axe.min.js the variable AXE_CORE names:

    apt-get install chromium && npm install --prefix ~/axe axe-core
    AXE_CORE=~/axe/node_modules/axe-core/axe.min.js make test-slow
"""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mezzotint.benchmarks.figures.results import write_results
from mezzotint.benchmarks.report.report import make_report
from tests.benchmarks.synthetic import results

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
RESULTS = Path(__file__).parents[3] / "docs" / "results"
AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]
RUN_AXE = """
<script>{axe}</script>
<script>
document.querySelectorAll("details").forEach((part) => {{ part.open = true; }});
axe.run().then((found) => {{
  const place = document.createElement("pre");
  place.id = "found";
  place.textContent = JSON.stringify({{ passes: found.passes.length, violations: found.violations }});
  document.body.append(place);
}});
</script>
"""
FIND_CLIPPED = """
<script>
document.querySelectorAll("details").forEach((part) => { part.open = true; });
const clipped = [];
document.querySelectorAll("svg text").forEach((text) => {
  const box = text.getBoundingClientRect(), room = text.ownerSVGElement.getBoundingClientRect();
  if (box.left < room.left || box.right > room.right) clipped.push(text.textContent);
});
if (document.documentElement.scrollWidth > innerWidth) clipped.push("the page");
const wide = [...document.querySelectorAll(".scroll")].filter((part) => part.scrollWidth > part.clientWidth);
const place = document.createElement("pre");
place.id = "clipped";
place.textContent = JSON.stringify({ clipped, wide: wide.map((part) => part.getAttribute("aria-label")) });
document.body.append(place);
</script>
"""
WATCH = """
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<script>
const refused = [];
document.addEventListener("securitypolicyviolation", (event) => refused.push(event.blockedURI));
addEventListener("load", () => setTimeout(() => {
  const place = document.createElement("pre");
  place.id = "refused";
  place.textContent = JSON.stringify(refused);
  document.body.append(place);
}, 500));
</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_results(results(folder), folder / "results.json")
    _, page = make_report(folder / "results.json")
    return page


def browse(page: Path, *options: str, width: int = 1280) -> str:
    """The page's DOM as Chromium leaves it after its scripts ran."""
    assert CHROMIUM is not None
    profile = page.parent / "profile"
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", *options]
    command += [f"--window-size={width},900", "--virtual-time-budget=30000", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def axe(page: Path, *options: str, width: int) -> dict[str, Any]:
    """What axe says of the page, with every folded part open."""
    if not AXE.is_file():
        pytest.skip(f"no {AXE}: npm install axe-core, and name its axe.min.js in AXE_CORE")
    script = RUN_AXE.format(axe=AXE.read_text(encoding="utf-8"))
    checked = page.with_name("checked.html")
    checked.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{script}</body>"), encoding="utf-8")
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', browse(checked, *options, width=width), flags=re.DOTALL)
    report: dict[str, Any] = json.loads(html.unescape(found))
    return report


@pytest.mark.parametrize("scheme", ["0", "1"], ids=["dark", "light"])
@pytest.mark.parametrize("width", [1280, 500])
def test_axe_has_no_complaint(page: Path, scheme: str, width: int) -> None:
    report = axe(page, f"--blink-settings=preferredColorScheme={scheme}", width=width)
    assert report["passes"] > 15
    complaints = [(found["id"], [node["target"] for node in found["nodes"]][:3]) for found in report["violations"]]
    assert complaints == []


def test_axe_would_complain(page: Path) -> None:
    spoiled = page.with_name("spoiled.html")
    text = page.read_text(encoding="utf-8").replace(' lang="en"', "").replace("--muted: #5a626c", "--muted: #dddddd")
    spoiled.write_text(text, encoding="utf-8")
    light = "--blink-settings=preferredColorScheme=1"
    ids = {found["id"] for found in axe(spoiled, light, width=1280)["violations"]}
    assert {"html-has-lang", "color-contrast"} <= ids


@pytest.fixture(scope="module", params=["synthetic", *(path.stem for path in sorted(RESULTS.glob("*.json")))])
def long_page(request: pytest.FixtureRequest, page: Path) -> Path:
    """The synthetic page, or that of committed results, which have more cases and longer figures."""
    if request.param == "synthetic":
        return page
    folder = page.parent / request.param
    folder.mkdir()
    shutil.copy(RESULTS / f"{request.param}.json", folder / "results.json")
    return make_report(folder / "results.json")[1]


@pytest.mark.parametrize("width", [1280, 500])
def test_nothing_is_cut_off(long_page: Path, width: int) -> None:
    """On a desktop the first table needs no scrolling either; on a phone tables may."""
    checked = long_page.with_name("clipped.html")
    text = long_page.read_text(encoding="utf-8")
    checked.write_text(text.replace("</body>", f"{FIND_CLIPPED}</body>"), encoding="utf-8")
    (found,) = re.findall(r'<pre id="clipped">(.*?)</pre>', browse(checked, width=width), flags=re.DOTALL)
    report = json.loads(html.unescape(found))
    assert report["clipped"] == []
    assert width < 1280 or "Summary" not in report["wide"]


def refused(page: Path, text: str) -> list[str]:
    """What a page asks for that is not in it: a policy that allows nothing else refuses it, and says so."""
    watched = page.with_name("watched.html")
    watched.write_text(text.replace("<head>", f"<head>{WATCH}", 1), encoding="utf-8")
    (found,) = re.findall(r'<pre id="refused">(.*?)</pre>', browse(watched), flags=re.DOTALL)
    asked: list[str] = json.loads(html.unescape(found))
    return asked


def test_the_page_asks_the_network_for_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert refused(page, text) == []
    outside = "http://127.0.0.1:9/image.png"
    assert refused(page, text.replace("</main>", f'<img src="{outside}" alt=""></main>')) == [outside]
