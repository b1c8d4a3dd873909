#include "runtime/base/utf8.h"

#include <string.h>

/* Length of the valid sequence at text[pos], or 0. Bounds are those of RFC 3629 section 4. */
static size_t sequence(const unsigned char *s, size_t left, uint32_t *code) {
    unsigned char lead = s[0];
    if (lead < 0x80) {
        *code = lead;
        return 1;
    }
    size_t len = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (len == 0 || left < len) {
        return 0;
    }
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (lead == 0xE0) {
        low = 0xA0;
    } else if (lead == 0xED) {
        high = 0x9F;
    } else if (lead == 0xF0) {
        low = 0x90;
    } else if (lead == 0xF4) {
        high = 0x8F;
    }
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    uint32_t value = lead & (0xFFU >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0;
        }
        value = (value << 6) | (s[i] & 0x3FU);
    }
    *code = value;
    return len;
}

size_t pith_utf8_valid(const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    size_t pos = 0;
    while (pos < len) {
        uint64_t eight;
        if (len - pos >= sizeof eight) {
            memcpy(&eight, s + pos, sizeof eight);
            if ((eight & 0x8080808080808080U) == 0) {
                pos += sizeof eight;
                continue;
            }
        }
        uint32_t code;
        size_t step = sequence(s + pos, len - pos, &code);
        if (step == 0) {
            return pos;
        }
        pos += step;
    }
    return pos;
}

size_t pith_utf8_decode(const char *text, size_t len, size_t pos, uint32_t *code) {
    size_t step = sequence((const unsigned char *)text + pos, len - pos, code);
    if (step == 0) {
        *code = 0xFFFD;
        return 1;
    }
    return step;
}

size_t pith_utf8_encode(uint32_t code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (char)(lead[len] | code);
    return len;
}
