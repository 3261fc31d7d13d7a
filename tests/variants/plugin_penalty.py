"""A strategy as another package would have it."""

from __future__ import annotations

from typing import Literal

from variants.penalty.none import NoPenalty


class Nothing(NoPenalty):
    """No penalty, by another name."""

    class Config(NoPenalty.Config):
        """No settings."""

        name: Literal["nothing"] = "nothing"  # type: ignore[assignment]
