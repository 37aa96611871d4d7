"""Pictures of a report for the gallery: python docs/screenshots.py outputs/comparison/DIGEST/report.html

Needs Chromium and the extra `dev`. Scenes of data sets that may not be passed on are left out.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
OWN_SCENES = "procedural"
PARTS = {
    "gallery_tables": ("#tables", "#training"),
    "gallery_training": ("#training", "#generalisation"),
    "gallery_generalisation": ("#generalisation", "#sources"),
}


def main(report: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"file://{Path(report).resolve()}")
        page.wait_for_function("document.body.dataset.drawn")
        page.screenshot(path=HERE / "gallery_top.png", clip={"x": 0, "y": 0, "width": 1280, "height": 900})
        for name, (first, after) in PARTS.items():
            top, bottom = (page.locator(part).bounding_box()["y"] for part in (first, after))
            clip = {"x": 0, "y": top - 8, "width": 1280, "height": bottom - top - 8}
            page.screenshot(path=HERE / f"{name}.png", full_page=True, clip=clip)
        for heading in page.locator("#flow ~ h3").all():
            if heading.inner_text().startswith(OWN_SCENES):
                cards = heading.locator("xpath=following-sibling::div[1]")
                cards.screenshot(path=HERE / "gallery_flow.png")
                break
        phone = browser.new_page(viewport={"width": 400, "height": 800})
        phone.goto(f"file://{Path(report).resolve()}")
        phone.wait_for_function("document.body.dataset.drawn")
        phone.locator("#training").scroll_into_view_if_needed()
        phone.screenshot(path=HERE / "gallery_phone.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
