"""Settings of the documentation site: ``sphinx-build -W -c docs . docs/_build``.

Its sources lie where a code host shows them, so the root of the repository is the source folder:
links between pages, and to files beside them, are the same here and there.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.domains.python import PyObject

import dds_fast

project = "dds_fast"
author = "the dds_fast developers"
version = release = dds_fast.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
root_doc = "docs/index"
include_patterns = [
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "dds_fast/models/*.md"),
    *("benchmarks/README.md", "benchmarks/results/**/README.md"),
    *("docs/*.md", "docs/api/*.rst", "docs/gallery/**.rst"),
]
templates_path = ["_templates"]
html_additional_pages = {"index": "redirect.html"}
highlight_language = "none"
default_role = "py:obj"

myst_heading_anchors = 4

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

sphinx_gallery_conf = {
    "examples_dirs": "examples/gallery",
    "gallery_dirs": "docs/gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": ("_repr_html_",),
    "write_computation_times": False,
}

html_theme = "furo"
html_title = f"dds_fast {version}"


ROOMS = re.findall(r"^   (dds_fast[\w.]*)$", Path("api.md").read_text(), re.MULTILINE)


def name_types(module: ModuleType) -> None:
    """Import what a module imports for type checkers alone, so that signatures link to it."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), vars(module))


def first_rooms(rooms: Iterable[str]) -> dict[int, str]:
    """The first room of each class and function that several show: the one that describes it."""
    first: dict[int, str] = {}
    for room in rooms:
        module = import_module(room)
        for name in getattr(module, "__all__", vars(module)):
            first.setdefault(id(getattr(module, name)), room)
    return first


def is_described_elsewhere(
    app: Sphinx, kind: str, name: str, thing: Any, skip: bool, options: Any
) -> bool | None:
    room = Path(app.env.docname).name
    if name.startswith("set_") and name.endswith("_request"):
        return True  # scikit-learn's own, with its references
    elsewhere = inspect.isclass(thing) or inspect.isfunction(thing)
    return True if elsewhere and FIRST.get(id(thing), room) != room else None


def adapt_to_site(app: Sphinx, page: str, source: list[str]) -> None:
    """A code host lists a folder that a page links to; here the gallery has a page, others none.

    Tables of results are in no list of contents.
    """
    folder = (Path(app.srcdir) / page).parent

    def resolved(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.match("examples/gallery"):
            return f"[{link[1]}](/docs/gallery/index.rst)"
        return link[1] if target.is_dir() else link[0]

    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)#\s:]+)\)", resolved, source[0])
    if page.startswith("benchmarks/results/"):
        source[0] = "---\norphan: true\n---\n" + source[0]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-skip-member", is_described_elsewhere)
    app.connect("source-read", adapt_to_site)


FIRST = first_rooms(ROOMS)
for name, module in [*sys.modules.items()]:
    if name.startswith("dds_fast."):
        name_types(module)
for field in PyObject.doc_field_types:
    if field.name == "variable":
        field.label = "Attributes"
