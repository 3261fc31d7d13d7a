"""A stored view of an experiment's run table, so that a study opens on its leaderboard.

MLflow keeps shared views as experiment tags `mlflow.sharedViewState.<id>`: JSON whose `state` is
"deflate;" and the base64 of the zlib-compressed JSON of the page's state. The format is
undocumented, so everything that knows it is here; a page that no longer understands it opens as
it would without.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Sequence
from typing import Any


def store_view(
    client: Any, experiment_id: str, columns: Sequence[str], sort: str, ascending: bool
) -> str:
    """Store the view of variants; its key, for `viewStateShareKey=`.

    Columns as the page names them: metrics.`score`, params.`sampling`.
    """
    state = {
        "orderByKey": sort,
        "orderByAsc": ascending,
        "selectedColumns": [*columns, "tags.`outcomes`"],
        "searchFilter": "tags.`level` = 'variant'",
        "viewMaximized": True,
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    key = hashlib.sha256(packed.encode()).hexdigest()[:16]
    now = int(time.time() * 1000)
    view = {"name": "leaderboard", "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}
    client.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{key}", json.dumps(view))
    return key
