"""Train the byte-level BPE tokenizer on training text, and map tokens to words."""

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

VOCABULARY = 8192  # study: 8,192 pieces keep the embedding table under half of a 12 MB model
SPECIAL_TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
PAD_ID, CLS_ID, SEP_ID = 0, 1, 2
TOKENS_MAX = 768  # config key pith.window_tokens, [CLS] and [SEP] included
NO_WORD = -1


def train(texts):
    """A byte-level BPE tokenizer; ids 0-4 are the special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS],
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS_ID), ("[SEP]", SEP_ID)]
    )
    return tokenizer


def encode(tokenizer, text, spans):
    """(ids, word index per token): [CLS] ... [SEP], at most TOKENS_MAX, cut at a word start.

    A token belongs to the word that holds its last non-space character; white space and special
    tokens belong to NO_WORD. spans are labels.word_spans(text); text is NFC already.
    """
    encoding = tokenizer.encode(text, add_special_tokens=False)
    ids, words, at = [], [], 0
    for token, (start, end) in zip(encoding.ids, encoding.offsets):
        last = end - 1
        while last > start and text[last].isspace():
            last -= 1
        word = NO_WORD
        if last >= 0 and not text[last].isspace():
            while at < len(spans) and spans[at][1] <= last:
                at += 1
            if at < len(spans) and spans[at][0] <= last:
                word = at
        ids.append(token)
        words.append(word)
    limit = TOKENS_MAX - 2
    if len(ids) > limit:
        while limit and (words[limit] == NO_WORD or words[limit] == words[limit - 1]):
            limit -= 1
        ids, words = ids[:limit], words[:limit]
    return [CLS_ID] + ids + [SEP_ID], [NO_WORD] + words + [NO_WORD]
