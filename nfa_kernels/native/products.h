/* Passes over matrices whose rows are padded to whole vectors and lie one behind the other; of one real type, REAL.

REAL, MASK (an integer of its size) and LANES (numbers in a vector) are defined before.
T rows of the thin side are kept in registers while the rows of a wide matrix stream past.
*/

typedef REAL vector __attribute__((vector_size(VECTOR_BYTES)));
typedef vector aliased __attribute__((may_alias));
typedef MASK mask __attribute__((vector_size(VECTOR_BYTES)));
#define AT(place) (*(aliased *)(place))

/* In a register from here on: read once, where a compiler would read it from memory anew for every product. */
#if defined(__AVX512F__)
#define HELD(x) __asm__("" : "+v"(x))
#elif defined(__x86_64__)
#define HELD(x) __asm__("" : "+x"(x))
#elif defined(__aarch64__)
#define HELD(x) __asm__("" : "+w"(x))
#else
#define HELD(x)
#endif

#if defined(__clang__)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

/* Sums of neighbours of a and b by turns: a and b folded into one vector, at distance 1, 2, 4 or 8. */
#if LANES == 2
#define FOLDED_1(a, b) (SHUFFLED(a, b, 0, 2) + SHUFFLED(a, b, 1, 3))
#elif LANES == 4
#define FOLDED_1(a, b) (SHUFFLED(a, b, 0, 4, 2, 6) + SHUFFLED(a, b, 1, 5, 3, 7))
#define FOLDED_2(a, b) (SHUFFLED(a, b, 0, 1, 4, 5) + SHUFFLED(a, b, 2, 3, 6, 7))
#elif LANES == 8
#define FOLDED_1(a, b) (SHUFFLED(a, b, 0, 8, 2, 10, 4, 12, 6, 14) + SHUFFLED(a, b, 1, 9, 3, 11, 5, 13, 7, 15))
#define FOLDED_2(a, b) (SHUFFLED(a, b, 0, 1, 8, 9, 4, 5, 12, 13) + SHUFFLED(a, b, 2, 3, 10, 11, 6, 7, 14, 15))
#define FOLDED_4(a, b) (SHUFFLED(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLED(a, b, 4, 5, 6, 7, 12, 13, 14, 15))
#elif LANES == 16
#define FOLDED_1(a, b)                                                                     \
    (SHUFFLED(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +           \
     SHUFFLED(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
#define FOLDED_2(a, b)                                                                     \
    (SHUFFLED(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +            \
     SHUFFLED(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
#define FOLDED_4(a, b)                                                                     \
    (SHUFFLED(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +            \
     SHUFFLED(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
#define FOLDED_8(a, b)                                                                     \
    (SHUFFLED(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +              \
     SHUFFLED(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#endif

/* sums[k] of the numbers of v[k], k < 8, which are overwritten; sums has room for a vector more. */
static ALWAYS void summed(vector *v, REAL *sums)
{
#if LANES == 2
#pragma GCC unroll 8
    for (int k = 0; k < 4; k++) AT(sums + 2 * k) = FOLDED_1(v[2 * k], v[2 * k + 1]);
#else
#pragma GCC unroll 8
    for (int k = 0; k < 4; k++) v[k] = FOLDED_1(v[2 * k], v[2 * k + 1]);
#pragma GCC unroll 8
    for (int k = 0; k < 2; k++) v[k] = FOLDED_2(v[2 * k], v[2 * k + 1]);
#if LANES == 4
    AT(sums) = v[0];
    AT(sums + 4) = v[1];
#else
    v[0] = FOLDED_4(v[0], v[1]);
#if LANES == 16
    v[0] = FOLDED_8(v[0], v[0]);
#endif
    AT(sums) = v[0];
#endif
#endif
}

/* out[t][j] (+)= sum_i a[t][i] w[i][j] for T rows t and J vectors of columns j; a[t][i] is at a[t at + i ai]. */
static ALWAYS void times_block(
    const int T, const int J, const REAL *a, long at, long ai, const REAL *w, long ld, long rows, REAL *out, long ldo,
    int adds)
{
    const vector zero = {0};
    vector found[4][4];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 8
        for (int j = 0; j < J; j++) {
            found[t][j] = zero;
            if (adds) found[t][j] = AT(out + t * ldo + j * LANES);
        }
    for (long i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < J; j++) {
            vector row = AT(w + i * ld + j * LANES);
            HELD(row);
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) found[t][j] += a[t * at + i * ai] * row;
        }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 8
        for (int j = 0; j < J; j++) AT(out + t * ldo + j * LANES) = found[t][j];
}

#define TIMES(T, J) \
    case 8 * T + J: times_block(T, J, a + t * at, at, ai, w + j, ld, rows, out + t * ldo + j, ldo, adds); break;

/* The same for all T rows and so many columns, padded, of rows that are ld apart. */
static APART void times(
    long T, const REAL *a, long at, long ai, const REAL *w, long ld, long rows, long columns, REAL *out, long ldo,
    int adds)
{
    /* columns first: a block of them stays in the first cache while all rows t go by */
    for (long j = 0; j < columns; j += BLOCK * LANES)
        for (long t = 0; t < T; t += 4) {
            long rest_t = T - t < 4 ? T - t : 4, rest_j = (columns - j) / LANES < BLOCK ? (columns - j) / LANES : BLOCK;
            switch (8 * rest_t + rest_j) {
                TIMES(1, 1) TIMES(2, 1) TIMES(3, 1) TIMES(4, 1)
                TIMES(1, 2) TIMES(2, 2) TIMES(3, 2) TIMES(4, 2)
#if BLOCK == 4
                TIMES(1, 3) TIMES(2, 3) TIMES(3, 3) TIMES(4, 3)
                TIMES(1, 4) TIMES(2, 4) TIMES(3, 4) TIMES(4, 4)
#endif
            }
        }
}

/* For two rows i of w: next[t][i] = sum_j right[t][j] w[i][j], and what the update takes of the rows before they change.

descends: w[i][j] <- w[i][j] - shrinks w[i][j] - sum_t left[t][i] right[t][j]; else that sum, the gradient, is written
to grown[i][j]. Neither where `left` is null. next, rows of ldn, is left alone where it is null.
*/
static ALWAYS void back_rows(
    const int T, const int R, const int descends, const REAL *right, long ld, long columns, const REAL *left, long ldl, REAL rate,
    REAL shrinks, REAL *w, REAL *grown, REAL *next, long ldn, const int adds)
{
    const vector zero = {0};
    vector dots[8];
    REAL c[2][4], sums[16] __attribute__((aligned(64)));
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) dots[k] = zero;
    if (left)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) c[r][t] = descends ? rate * left[t * ldl + r] : left[t * ldl + r];
    for (long j = 0; j < columns; j += LANES) {
        vector row[2], gradient[2];
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            row[r] = AT(w + r * ld + j);
            HELD(row[r]);
            gradient[r] = descends ? row[r] - shrinks * row[r] : zero;
        }
#pragma GCC unroll 8
        for (int t = 0; t < T; t++) {
            vector other = AT(right + t * ld + j);
            HELD(other);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
                dots[2 * t + r] += other * row[r];
                if (left) gradient[r] = descends ? gradient[r] - c[r][t] * other : gradient[r] + c[r][t] * other;
            }
        }
        if (left)
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) AT((descends ? w : grown) + r * ld + j) = gradient[r];
    }
    if (next) {
        summed(dots, sums);
#pragma GCC unroll 8
        for (int t = 0; t < T; t++)
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) next[t * ldn + r] = sums[2 * t + r] + (adds ? next[t * ldn + r] : 0);
    }
}

#define BACK(T)                                                                                                     \
    case T:                                                                                                         \
        for (; i + 1 < rows; i += 2)                                                                                \
            back_rows(T, 2, descends, right, ld, columns, left ? left + i : 0, ldl, rate, shrinks, w + i * ld,         \
                            grown + i * ld, next ? next + i : 0, ldn, adds);                                              \
        if (i < rows)                                                                                               \
            back_rows(T, 1, descends, right, ld, columns, left ? left + i : 0, ldl, rate, shrinks, w + i * ld,         \
                            grown + i * ld, next ? next + i : 0, ldn, adds);                                              \
        break;

static ALWAYS void back_few(
    long T, const int descends, const REAL *right, long ld, long columns, const REAL *left, long ldl, REAL rate, REAL shrinks,
    REAL *w, long rows, REAL *grown, REAL *next, long ldn, const int adds)
{
    long i = 0;
    switch (T) { BACK(1) BACK(2) BACK(3) BACK(4) }
}

/* All rows of w, at most four rows of the thin side. */
static APART void descend(
    long T, const REAL *right, long ld, const REAL *left, long ldl, REAL rate, REAL shrinks, REAL *w, long rows,
    REAL *next, long ldn)
{
    back_few(T, 1, right, ld, ld, left, ldl, rate, shrinks, w, rows, w, next, ldn, 0);
}

static APART void differentiate(
    long T, const REAL *right, long ld, const REAL *left, long ldl, REAL *w, long rows, REAL *grown, REAL *next,
    long ldn)
{
    back_few(T, 0, right, ld, ld, left, ldl, 0, 0, w, rows, grown, next, ldn, 0);
}

/* next[t][i] (+)= sum_j right[t][j] w[i][j] for all T rows t. */
static APART void times_transposed(
    long T, const REAL *right, long ld, long columns, const REAL *w, long rows, REAL *next, long ldn, int adds)
{
    for (long t = 0; t < T; t += 4)
        back_few(T - t < 4 ? T - t : 4, 0, right + t * ld, ld, columns, 0, 0, 0, 0, (REAL *)w, rows, (REAL *)w,
                 next + t * ldn, ldn, adds);
}
