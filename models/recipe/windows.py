"""Windows of a long text: runtime/text/windows.c in a few lines of Python, for training text.

Words over 64 tokens and white space over 16 are cut by the engine and not here.
"""

import bisect

TOKENS_MAX = 768  # config key pith.window_tokens, [CLS] and [SEP] included
HALO_TOKENS = 64  # pith.halo_tokens: the reach of one local layer
NO_WORD = -1


def cut(words):
    """[(begin, end, first word owned, word after the last)] of a text's tokens, as the engine cuts.

    Every window begins and ends where a word begins; neighbours share about two halos; a word is
    decided in the window where it lies farther from the nearer edge. words: tokenizer.encode()[1].
    """
    starts, ends = {}, {}
    for at, word in enumerate(words):
        if word != NO_WORD:
            starts.setdefault(word, at)
            ends[word] = at + 1
    order = sorted(starts)
    firsts = [starts[word] for word in order]
    room, n, begin, owned, found = TOKENS_MAX - 2, len(words), 0, 0, []
    while True:
        end = after = n
        if n - begin > room:
            end = firsts[max(0, bisect.bisect_right(firsts, begin + room) - 1)]
            after = firsts[max(0, bisect.bisect_right(firsts, end - 2 * HALO_TOKENS) - 1)]
            if after <= begin:
                raise ValueError("a word longer than a window; the engine cuts such words")
        first = owned
        while owned < len(order) and (
            after == n or starts[order[owned]] + ends[order[owned]] <= end + after
        ):
            owned += 1
        last = order[owned - 1] + 1 if owned else 0
        found.append((begin, end, order[first] if first < len(order) else last, last))
        if after == n:
            return found
        begin = after
