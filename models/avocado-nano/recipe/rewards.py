"""The paper's rewards in this world: R_C by exact match, R_D by the dynamic programme, R_L by length (Eq. 8).

`reward` is the one door. A later stage may put the project's reward service behind it (POST /v1/rewards) without touching GRPO.
"""
import scorer

SHORTEST, LONGEST = 192, 256      # tokens: where R_L starts to fall, and where it is 0 (2,048 and 4,096 at full size)


def reward(text, tokens, script, sound=True):
    """(R_C, R_D, R_L) of a caption of so many tokens."""
    scored = scorer.score(text, script, sound)
    return scored['recall'], 1.0 if scored['dialogue'] is None else scored['dialogue'], length_reward(tokens)


def length_reward(tokens, shortest=SHORTEST, longest=LONGEST):
    """Eq. 8."""
    return min(1.0, max(0.0, 1 - (tokens - shortest) / (longest - shortest)))
