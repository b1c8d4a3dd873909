#include "runtime/model/rope.h"

#include <math.h>

void pith_rope_fill(float *table, double theta, size_t positions, size_t head_dim) {
    size_t half = head_dim / 2;
    for (size_t d = 0; d < half; d++) {
        double frequency = pow(theta, -2.0 * (double)d / (double)head_dim);
        for (size_t p = 0; p < positions; p++) {
            double angle = (double)p * frequency;
            table[p * 2 * half + d] = (float)cos(angle);
            table[p * 2 * half + half + d] = (float)sin(angle);
        }
    }
}
