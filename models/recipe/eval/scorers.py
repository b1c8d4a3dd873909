"""Simple scorers that the model is compared with: {name: [scores per word of each document]}."""

import collections
import math

import numpy as np

import labels
from eval import text

SEED = 0
# TextRank (Mihalcea and Tarau, 2004): damping and window of the paper's keyword ranking.
DAMPING, NEIGHBOURS, ROUNDS = 0.85, 3, 30


def stop_words(words, rng):
    """Stop-words and punctuation go first, the rest at random."""
    kept = [0.0 if not w or w in labels.STOP_WORDS else 1.0 for w in words]
    return np.array(kept) + 0.5 * rng.rand(len(words))


def tf_idf(words, table):
    counts = collections.Counter(words)
    return np.array([(1 + math.log(counts[w])) * table.idf(w) if w else 0.0 for w in words])


def text_rank(words):
    """Stationary weight of each word in the graph of words that stand near each other."""
    index = {}
    for word in words:
        if word and word not in labels.STOP_WORDS:
            index.setdefault(word, len(index))
    if not index:
        return np.zeros(len(words))
    graph = np.zeros((len(index), len(index)))
    for at, word in enumerate(words):
        for other in words[at + 1 : at + 1 + NEIGHBOURS]:
            if word in index and other in index and word != other:
                graph[index[word], index[other]] += 1
                graph[index[other], index[word]] += 1
    spread = graph / np.maximum(graph.sum(0), 1)
    rank = np.full(len(index), 1 / len(index))
    for _ in range(ROUNDS):
        rank = (1 - DAMPING) / len(index) + DAMPING * spread @ rank
    return np.array([rank[index[w]] if w in index else 0.0 for w in words])


def simple(documents, table):
    rng = np.random.RandomState(SEED)
    normal = [text.normal_words(doc) for doc in documents]
    return {
        "random": [rng.rand(len(words)) for words in normal],
        "stop-word deletion": [stop_words(words, rng) for words in normal],
        "TF-IDF": [tf_idf(words, table) for words in normal],
        "TextRank": [text_rank(words) for words in normal],
        "rules R": [doc.source["rules"] for doc in documents],
        "n-gram N": [doc.source["surprisal"] for doc in documents],
        "labels N + R": [doc.source["target"] for doc in documents],
    }
