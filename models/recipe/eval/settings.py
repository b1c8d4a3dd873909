"""What the shipped settings keep, as the engine itself replies it: tokens, words, critical spans."""

import bisect
import collections

import engine
import floor


def covered(ranges, start, end):
    """Whether one of the ascending ranges holds [start, end)."""
    at = bisect.bisect_right(ranges, (start, float("inf"))) - 1
    return at >= 0 and ranges[at][0] <= start and end <= ranges[at][1]


class Tally:
    """Sums over documents of one domain (or all)."""

    def __init__(self):
        self.sums = collections.Counter()
        self.spans = collections.defaultdict(lambda: [0, 0, 0])  # class: all, before, after

    def add_spans(self, spans, before, after):
        for span in spans:
            kept = covered(before, span.start, span.end), covered(after, span.start, span.end)
            for name in {"all", *span.classes}:
                counts = self.spans[name]
                counts[0] += 1
                counts[1] += kept[0]
                counts[2] += kept[1]

    def figures(self):
        total = max(self.sums["input_tokens"], 1)
        share = lambda counts: {
            "spans": counts[0],
            "before": counts[1] / counts[0],
            "after": counts[2] / counts[0],
        }
        return {
            "documents": self.sums["documents"],
            "kept_tokens": self.sums["kept_tokens"] / total,
            "floor_tokens": self.sums["floor_tokens"] / total,
            "kept_tokens_folded": self.sums["folded_tokens"] / total,
            "kept_words": self.sums["kept_words"] / max(self.sums["input_words"], 1),
            "routed_elsewhere": self.sums["routed_elsewhere"],
            "critical": {name: share(counts) for name, counts in sorted(self.spans.items())},
        }


class Probe:
    """The shipped engine, and the same without its floor."""

    def __init__(self, model_dir):
        self.shipped = engine.Engine(model_dir)
        self.bare = engine.Engine(model_dir, patterns=engine.NO_PATTERNS)

    def close(self):
        self.shipped.close()
        self.bare.close()

    def add(self, tally, text, domain):
        """One text with default settings. domain: where it came from."""
        reply = self.shipped.compress(text)
        alone = self.shipped.compress(text, budget=engine.THRESHOLD, value=1.0)
        nothing = alone.passthrough == engine.PASS_NOTHING_KEPT
        bare = self.bare.compress(text)
        before = [] if bare.passthrough == engine.PASS_NOTHING_KEPT else bare.ranges
        tally.sums.update(
            documents=1,
            input_tokens=reply.input_tokens,
            kept_tokens=reply.kept_tokens,
            floor_tokens=0 if nothing else alone.kept_tokens,
            folded_tokens=self.shipped.compress(text, fold=True).kept_tokens,
            input_words=reply.input_words,
            kept_words=reply.kept_words,
            routed_elsewhere=reply.domain != domain,
        )
        spans = floor.look(text).spans
        if len(spans) != reply.critical_total or reply.critical_kept != reply.critical_total:
            raise ValueError(
                f"{reply.critical_kept} of {reply.critical_total} critical spans were kept; the "
                f"floor finds {len(spans)}"
            )
        tally.add_spans(spans, before, reply.ranges)


def at_default_settings(model_dir, texts):
    """{domain: figures} and "all" of [(domain, text)]."""
    probe, tallies = Probe(model_dir), collections.defaultdict(Tally)
    try:
        for domain, text in texts:
            probe.add(tallies[domain], text, domain)
    finally:
        probe.close()
    whole = Tally()
    for tally in tallies.values():
        whole.sums.update(tally.sums)
        for name, counts in tally.spans.items():
            whole.spans[name] = [a + b for a, b in zip(whole.spans[name], counts)]
    figures = {domain: tally.figures() for domain, tally in sorted(tallies.items())}
    mean = lambda key: sum(f[key] for f in figures.values()) / len(figures)
    figures["all"] = whole.figures()
    figures["all"]["mean_of_domains"] = {
        key: mean(key) for key in ("kept_tokens", "floor_tokens", "kept_tokens_folded")
    }
    return figures
