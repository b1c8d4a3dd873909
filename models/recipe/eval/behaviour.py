"""Small made-up texts whose right answer is known."""

import floor

LINES = 8
BEAT = "2026-01-0{} INFO scheduler heartbeat accepted from remote worker process"
FAULT = "ERROR worker lost lease for shard alpha while flushing the queue to disk"


def repetition(engine):
    """Mean score of free words: first of eight heartbeat lines, the other seven, an error line."""
    text = "\n".join([*(BEAT.format(i) for i in range(1, LINES + 1)), FAULT])
    words = floor.look(text).words
    units = engine.compress(text, explain=True).units
    found = {"first": [], "repeated": [], "error": []}
    for word, unit in zip(words, units, strict=True):
        if not word.forced:
            line = text.count("\n", 0, word.start)
            found["error" if line == LINES else "repeated" if line else "first"].append(unit.score)
    return {group: sum(scores) / len(scores) for group, scores in found.items()}
