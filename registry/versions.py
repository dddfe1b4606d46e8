"""Version numbers of code. Raise one when the code changes what comes out of equal inputs.

A stage's is in its fingerprint, that of the rewritings in the fingerprint of a curation that rewrites. The others are
in the names of the stores that all experiments share, which hold what older code computed and would hand it to a stage
that runs anew.
"""

from __future__ import annotations

from registry.schema import Stage

STAGE_VERSION: dict[Stage, int] = {"curation": 4, "training": 2, "eval": 2}
REWRITING_VERSION = 1  # raise it with every prompt, check and draw of curation/rewriting that other texts can come of
TOKENS_VERSION = 1
ANSWERS_VERSION = 1
EMBEDDINGS_VERSION = 1
