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

from windows import NO_WORD

VOCABULARY = 8192  # study: 8,192 pieces keep the embedding table under half of a 12 MB model
SPECIAL_TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
PAD_ID, CLS_ID, SEP_ID = 0, 1, 2


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


def load(path):
    return Tokenizer.from_file(path)


def encode(tokenizer, text, spans):
    """(ids, word index per token) of a whole text, without special tokens.

    A token belongs to the word that holds its last non-space character; white space belongs to
    NO_WORD. spans are labels.word_spans(text); text is NFC already.
    """
    encoding = tokenizer.encode(text, add_special_tokens=False)
    words, at = [], 0
    for start, end in encoding.offsets:
        last = end - 1
        while last > start and text[last].isspace():
            last -= 1
        word = NO_WORD
        if last >= 0 and not text[last].isspace():
            while at < len(spans) and spans[at][1] <= last:
                at += 1
            if at < len(spans) and spans[at][0] <= last:
                word = at
        words.append(word)
    return encoding.ids, words


def framed(ids):
    """[CLS] ids [SEP]: what the model is shown of one window."""
    return [CLS_ID, *ids, SEP_ID]
