"""How the site is built: `make docs`. It needs no network, and the pages ask for nothing from outside."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from sparring import __version__

project = "Sparring"
author = "The Sparring authors"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "command_reference", "settings_reference"]
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True
# The output of a command, and what a model said, are not code.
highlight_language = "none"
smartquotes = False

html_theme = "furo"
html_title = "Sparring"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
