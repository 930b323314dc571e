"""Links between the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_doctests import PUBLIC

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "dds_fast/models/*.md", "examples/*.md")
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    broken = [
        link
        for link in links
        if not link.startswith(("http://", "https://")) and not (page.parent / link).exists()
    ]
    assert not broken


def test_pages_that_the_code_cites_exist() -> None:
    cited = {
        page
        for path in (ROOT / "dds_fast").rglob("*.py")
        for page in re.findall(r"docs/\w+\.md", path.read_text())
    }
    assert cited and all((ROOT / page).is_file() for page in cited)


def test_what_is_public_has_a_page() -> None:
    shown = re.findall(r"^   (dds_fast[\w.]*)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    public = {f"dds_fast.{name}" if name != "dds_fast" else name for name in PUBLIC}
    assert public <= set(shown) and len(set(shown)) == len(shown)
