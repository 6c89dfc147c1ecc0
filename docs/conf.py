"""Configuration of the documentation: ``make docs``."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent / "_ext")]

import aiohttp_spry_session  # noqa: E402

project = "aiohttp-spry-session"
author = "The aiohttp-spry-session authors"
project_copyright = "2026, The aiohttp-spry-session authors"
version = release = aiohttp_spry_session.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sequence"]
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# Nothing is fetched while building, so names of other projects are no links, and no warnings either.
nitpicky = True
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(abc|aiohttp|aiosignal|asyncpg|collections|contextlib|datetime|enum|os|redis|typing|types)\..*",
    ),
    (r"py:.*", r"(web|aioredis|msgspec)\..*"),
    (r"py:.*", r"[A-Za-z]+"),
    (r"py:.*", r"aiohttp_spry_session\..*\.(T|D|R|S|V|H|Q_co|TypedKey)"),
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 110
add_module_names = False

html_theme = "furo"
html_title = "aiohttp-spry-session"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
