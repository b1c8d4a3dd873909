/* Patterns are written for linear scanning: an unbounded repeat is possessive and can start only
 * where its run starts, everything else is bounded. None matches white space.
 *
 * The ten published ones mean what they mean to Python's re on str: \w is [\p{L}\p{N}_], \d is
 * \p{Nd}, and a \b beside a known word character is the look-around on its other side. Under (?i)
 * Python also lets "i" match U+0130 and U+0131, which PCRE2 does not. */
#include "runtime/text/critical_classes.h"

#include "runtime/text/route.h"

#define WORD        "[\\p{L}\\p{N}_]"
#define NO_WORD_PRE "(?<!" WORD ")" /* \b before a word character */
#define NO_WORD     "(?!" WORD ")"  /* \b after a word character */
#define I           "[i\\x{130}\\x{131}]"
#define PRE         "(?<![A-Za-z0-9_])" /* ASCII boundaries of our own classes */
#define POST        "(?![A-Za-z0-9_])"
#define NAME        "[A-Za-z0-9_.~@+%-]" /* characters of a path's component */

#define EVERYWHERE ((1U << PITH_DOMAIN_COUNT) - 2U) /* bit 0 is PITH_DOMAIN_AUTO */
#define NOT_IN(d)  (EVERYWHERE & ~(1U << (d)))
#define NOT_CODE   (NOT_IN(PITH_DOMAIN_CODE) & NOT_IN(PITH_DOMAIN_DIFF))

static const char directive[] =
    "(?i:" NO_WORD_PRE "(?:not|never|none|cannot|can't|don't|doesn't|d" I "dn't|won't|shouldn't"
    "|mustn't|" I "sn't|aren't|avo" I "d|refuse|proh" I "b" I "ted|forb" I "dden|d" I "sallow"
    "|unless|except|w" I "thout|must|should|shall|requ" I "red|always|only|mandatory)" NO_WORD ")";

/* Scanning by runs: the published form may start at every letter of a run, which is quadratic on a
 * long one without a dot; only a run's first letter matters, and \G lets a run begin where the
 * last match ended. What "allcaps" would take at that letter stays its own. */
static const char dotted[] =
    "(?:\\G|(?<![a-z0-9_]))[0-9]*+(?!_[A-Z_])\\K[a-z_][a-z0-9_]*+\\.[a-z0-9_]++";

static const char number_unit[] =
    "(?<![A-Za-z0-9_.])[0-9]{1,18}(?:[.,][0-9]{1,18}){0,6}"
    "(?:%|\\x{2030}|\\x{b0}[CFK]?|[A-Za-z\\x{b5}\\x{3bc}\\x{3a9}]{1,5}(?:/[A-Za-z]{1,4})?)"
    "(?![A-Za-z0-9])";

static const char version[] =
    "(?<![A-Za-z0-9_.])(?:[vV][0-9]{1,9}(?:\\.[0-9]{1,9}){0,5}|[0-9]{1,9}(?:\\.[0-9]{1,9}){2,5})"
    "(?:[-+][0-9A-Za-z][0-9A-Za-z.+-]{0,40}+)?" POST;

static const char hash[] = "(?<![A-Za-z0-9_])(?:(?=[A-Fa-f]*+[0-9])[0-9A-Fa-f]{7,128}+"
                           "|(?:sha(?:1|224|256|384|512)|md5)[-:=][A-Za-z0-9+/=_-]{8,128}+)" POST;

static const char key_value[] =
    "(?<![A-Za-z0-9_.-])[A-Za-z_][A-Za-z0-9_.-]{0,63}+[\"']?[=:][\"']?[+-]?[0-9]"
    "[A-Za-z0-9_.:/%+-]{0,64}+";

static const char windows_path[] =
    "(?<![A-Za-z0-9])(?:[A-Za-z]:[\\\\/]|\\\\\\\\[A-Za-z0-9._$-]{1,64}\\\\)"
    "[A-Za-z0-9._$~%()@+\\\\/-]{1,260}+";

static const char mixed_path[] = "(?<!" NAME ")" NAME "{0,128}+(?:/" NAME "{1,128}+){1,32}+/?";

static const char quoted[] =
    "(?<![A-Za-z0-9_])([\"'`])[A-Za-z_$][A-Za-z0-9_$.:/-]{0,127}+\\g{-1}(?![A-Za-z0-9_])";

static const char snake_case[] = "(?<![A-Za-z0-9_])_{0,2}+[a-z][a-z0-9]*+(?:_[a-z0-9]++)++";

static const char placeholder[] =
    "\\{\\{[!-z|~]{1,128}+\\}\\}|\\$\\{[!-z|~]{1,128}+\\}|<[A-Z][A-Z0-9_]{1,64}+>";

static const char error_name[] =
    PRE "(?:[A-Za-z0-9_]{0,64}?(?:Error|Exception|Warning|Fault|Failure|Panic)s?"
        "|(?i:error|exception|panic|panicked|fatal|traceback|segfault|segmentation|failure"
        "|failed)(?:\\[[A-Z0-9]{1,12}\\])?|[A-Z]{1,4}[0-9]{3,6})" POST;

static const char negation[] =
    "(?i:" NO_WORD_PRE "(?:no|nor|neither|nothing|nobody|nowhere|[a-z]{2,8}n['\\x{2019}]t)" NO_WORD
    ")";

const pith_critical_class pith_critical_classes[] = {
    {"hex", NO_WORD_PRE "0x[0-9A-Fa-f]++" NO_WORD, EVERYWHERE, true},
    {"number", "(?<![\\p{L}\\p{N}_.])\\p{Nd}++(?:\\.\\p{Nd}++)?(?![\\p{L}\\p{N}_.])", EVERYWHERE,
     true},
    {"allcaps", "[A-Z_]{2,}+", EVERYWHERE, true},
    {"dotted", dotted, EVERYWHERE, true},
    {"path", "/[a-z0-9/._-]{2,}+", EVERYWHERE, true},
    {"extension", "\\.[a-z]{2,4}+" NO_WORD, EVERYWHERE, true},
    {"flag", "--?[a-z][\\p{L}\\p{N}_-]*+", EVERYWHERE, true},
    {"camel", NO_WORD_PRE "[A-Z][a-z]++[A-Z]" WORD "*+", EVERYWHERE, true},
    {"directive", directive, EVERYWHERE, true},
    {"connective", "(?i:" NO_WORD_PRE "(?:and|or|nor|xor)" NO_WORD ")", EVERYWHERE, true},

    {"uuid", "(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z])",
     EVERYWHERE, false},
    {"hash", hash, EVERYWHERE, false},
    {"version", version, EVERYWHERE, false},
    {"number_unit", number_unit, EVERYWHERE, false},
    {"key_value", key_value, EVERYWHERE, false},
    {"windows_path", windows_path, EVERYWHERE, false},
    {"upper_flag", "(?<![A-Za-z0-9_-])--?[A-Z][A-Za-z0-9_=,.-]*+", EVERYWHERE, false},
    {"mixed_path", mixed_path, EVERYWHERE, false},
    /* In JSON quoting is the syntax, not emphasis: every key and value would be held. */
    {"quoted", quoted, NOT_IN(PITH_DOMAIN_JSON), false},
    {"snake_case", snake_case, NOT_CODE, false},
    {"lower_camel", PRE "[a-z][a-z0-9]*+[A-Z][A-Za-z0-9]*+", NOT_CODE, false},
    {"placeholder", placeholder, EVERYWHERE, false},
    {"error_name", error_name, EVERYWHERE, false},
    {"negation", negation, EVERYWHERE, false},
};

const size_t pith_critical_n_classes =
    sizeof pith_critical_classes / sizeof pith_critical_classes[0];
