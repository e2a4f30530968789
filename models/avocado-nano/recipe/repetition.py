"""RepCol: whether a caption has collapsed into a loop (evaluation.md, Repetition collapse, loops A and B)."""


def collapsed(text):
    """True when a caption ends in a loop or contains a longer one."""
    text = ' '.join(text.split())
    return any(_periodic(text, period) for period in range(1, min(400, len(text)) + 1))


def _periodic(text, period):
    run = 0
    for k in range(period, len(text)):
        run = run + 1 if text[k] == text[k - period] else 0
        long_enough = run + period >= max(5 * period, 200) or (k == len(text) - 1 and run + period >= max(4 * period, 120))
        if long_enough and sum(c.isalnum() for c in text[k - period + 1:k + 1]) >= 2:
            return True
    return False
