"""Imported by the process that the cleaning processes are forked from, and nowhere else.

NLTK loads scikit-learn, SciPy and pandas for parts of it that no tokeniser needs: 130 MB and most
of a second. It does without what cannot be imported, so here they cannot.
"""

from __future__ import annotations

import sys

for _name in ("sklearn", "scipy", "pandas", "matplotlib"):
    sys.modules[_name] = None  # type: ignore[assignment]

from core.text.cleaning import tokenizer  # noqa: E402 - after what it must not load

tokenizer()
