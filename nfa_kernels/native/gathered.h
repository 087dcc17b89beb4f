/* Products with rows that lie anywhere, and sums over runs of columns; they need products.h. */

/* out[t][j] = sum_i a[t][i] b[i][j] for T rows t and J vectors j, where row i begins at b + places[i]. */
static ALWAYS void gathered_block(
    const int T, const int J, const REAL *a, long at, const REAL *b, const long *places, long rows, REAL *out, long ldo)
{
    const vector zero = {0};
    vector found[4][4];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 8
        for (int j = 0; j < J; j++) found[t][j] = zero;
    for (long i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < J; j++) {
            vector row = AT(b + places[i] + j * LANES);
            HELD(row);
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) found[t][j] += a[t * at + i] * row;
        }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 8
        for (int j = 0; j < J; j++) AT(out + t * ldo + j * LANES) = found[t][j];
}

/* The same for all T rows and so many columns, padded. */
static APART void gathered(
    long T, const REAL *a, long at, const REAL *b, const long *places, long rows, long columns, REAL *out, long ldo)
{
    for (long j = 0; j < columns;) {
        const long vectors = (columns - j) / LANES, taken = vectors >= BLOCK ? BLOCK : vectors >= 2 ? 2 : 1;
        for (long t = 0; t < T; t += 4) {
            const REAL *own = a + t * at;
            REAL *to = out + t * ldo + j;
            if (T - t < 4)
                for (long r = 0; r < T - t; r++)
                    for (long k = 0; k < taken; k++)
                        gathered_block(1, 1, own + r * at, at, b + j + k * LANES, places, rows, to + r * ldo + k * LANES, ldo);
            else if (taken == BLOCK) gathered_block(4, BLOCK, own, at, b + j, places, rows, to, ldo);
            else if (taken == 2) gathered_block(4, 2, own, at, b + j, places, rows, to, ldo);
            else gathered_block(4, 1, own, at, b + j, places, rows, to, ldo);
        }
        j += taken * LANES;
    }
}

/* Runs of columns that a sum goes over: down times across of them, how far apart on both sides. */
struct runs {
    long down, across, columns, a_down, a_across, b_down, b_across;
};

/* out[t][r] += sum over all runs of a[t] b[r], for T rows t that are lda apart and R rows r, at b[r]. */
static ALWAYS void dotted_block(
    const int T, const int R, const REAL *a, long lda, const REAL *const *b, const struct runs *s, REAL *out, long ldo)
{
    const vector zero = {0};
    vector found[16];
    REAL sums[32] __attribute__((aligned(64)));
#pragma GCC unroll 16
    for (int k = 0; k < 16; k++) found[k] = zero;
    for (long y = 0; y < s->down; y++)
        for (long x = 0; x < s->across; x++) {
            const REAL *const left = a + y * s->a_down + x * s->a_across;
            const long at = y * s->b_down + x * s->b_across;
            for (long j = 0; j < s->columns; j += LANES) {
                vector row[4];
#pragma GCC unroll 4
                for (int r = 0; r < R; r++) {
                    row[r] = AT(b[r] + at + j);
                    HELD(row[r]);
                }
#pragma GCC unroll 4
                for (int t = 0; t < T; t++) {
                    vector other = AT(left + t * lda + j);
                    HELD(other);
#pragma GCC unroll 4
                    for (int r = 0; r < R; r++) found[4 * t + r] += other * row[r];
                }
            }
        }
    summed(found, sums);
    /* a whole vector further: a vector is stored */
    if (T > 2) summed(found + 8, sums + 16);
#pragma GCC unroll 4
    for (int t = 0; t < T; t++)
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) out[t * ldo + r] += sums[16 * (t / 2) + 4 * (t % 2) + r];
}

/* The same for all rows of both sides; row r of the second begins at b + places[r], or at b + r ldb without places. */
static APART void dotted(
    long T, const REAL *a, long lda, long R, const REAL *b, const long *places, long ldb, const struct runs *s, REAL *out,
    long ldo)
{
    for (long r = 0; r < R; r += 4) {
        const long some = R - r < 4 ? R - r : 4;
        const REAL *rows[4];
        for (long k = 0; k < some; k++) rows[k] = b + (places ? places[r + k] : (r + k) * ldb);
        for (long t = 0; t < T; t += 4) {
            const REAL *own = a + t * lda;
            REAL *to = out + t * ldo + r;
            if (T - t >= 4 && some == 4) dotted_block(4, 4, own, lda, rows, s, to, ldo);
            else
                for (long p = 0; p < T - t && p < 4; p++)
                    for (long k = 0; k < some; k++) dotted_block(1, 1, own + p * lda, lda, rows + k, s, to + p * ldo + k, ldo);
        }
    }
}

/* The first and the second halves of a and b, number by number in turn. */
#if LANES == 2
#define LOW_HALVES(a, b) SHUFFLED(a, b, 0, 2)
#define HIGH_HALVES(a, b) SHUFFLED(a, b, 1, 3)
#elif LANES == 4
#define LOW_HALVES(a, b) SHUFFLED(a, b, 0, 4, 1, 5)
#define HIGH_HALVES(a, b) SHUFFLED(a, b, 2, 6, 3, 7)
#elif LANES == 8
#define LOW_HALVES(a, b) SHUFFLED(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH_HALVES(a, b) SHUFFLED(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif LANES == 16
#define LOW_HALVES(a, b) SHUFFLED(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH_HALVES(a, b) SHUFFLED(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#endif

/* to[j][i] = h[i][j] of so many rows and columns, both padded; what is behind the rows of h becomes zero. */
static APART void turned(const REAL *h, long rows, long ld, long columns, REAL *to, long ldt)
{
    const vector zero = {0};
    for (long i = 0; i < rows; i += LANES)
        for (long j = 0; j < columns; j += LANES) {
            vector old[LANES], new[LANES];
#pragma GCC unroll 16
            for (long k = 0; k < LANES; k++) {
                old[k] = zero;
                if (i + k < rows) old[k] = AT(h + (i + k) * ld + j);
            }
#pragma GCC unroll 4
            for (long size = 1; size < LANES; size *= 2) {
                /* as cards are shuffled: as often as this doubles to LANES, rows have become columns */
#pragma GCC unroll 16
                for (long k = 0; k < LANES / 2; k++) {
                    new[2 * k] = LOW_HALVES(old[k], old[k + LANES / 2]);
                    new[2 * k + 1] = HIGH_HALVES(old[k], old[k + LANES / 2]);
                }
#pragma GCC unroll 16
                for (long k = 0; k < LANES; k++) old[k] = new[k];
            }
#pragma GCC unroll 16
            for (long k = 0; k < LANES; k++) AT(to + (j + k) * ldt + i) = old[k];
        }
}
