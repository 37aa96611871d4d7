"""The documentation site: sphinx-build docs docs/_build, or make docs."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

project = "rwtl"
author = "the authors of rwtl"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
default_role = "literal"  # `name` in a docstring
nb_execution_mode = "off"  # the notebook is shown with the outputs that it holds: make notebook
nb_merge_streams = True
exclude_patterns = ["_build", "outputs"]
html_theme = "furo"
html_title = "rwtl: Retinal-Wave Transfer Learning"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
# What lies outside of the site is on the project's page, whose address the site does not know.
myst_url_schemes = ("http", "https", "mailto")


def setup(app):
    from reference import reference

    (HERE / "configuration.md").write_text(reference())
