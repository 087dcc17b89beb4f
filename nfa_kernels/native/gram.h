/* Gram matrices X^T X of small matrices and what is made of them at once: none is ever written to memory. */

#define WIDE (BLOCK * LANES) /* columns at a time */

/* A matrix that lies anywhere: its number in row r and column j is at[r * down + j * across]. */
struct matrix {
    const REAL *at;
    long rows, columns, lane, down, across; /* lane: numbers from one network's to the next one's */
};

static ALWAYS struct matrix of_lane(const struct matrix *x, long lane)
{
    struct matrix one = *x;
    one.at += lane * x->lane;
    return one;
}

static ALWAYS struct matrix turned(const struct matrix *x)
{
    return (struct matrix){x->at, x->columns, x->rows, x->lane, x->across, x->down};
}

/* Columns from the first on, as many as a block has, rows one behind the other; zeros behind the last. */
static APART void packed(const struct matrix *x, long first, long wide, REAL *block)
{
    const long some = x->columns - first < wide ? x->columns - first : wide;
    const REAL *at = x->at + first * x->across;
    if (some < wide) memset(block, 0, x->rows * wide * sizeof(REAL));
    if (x->down == 1)
        for (long j = 0; j < some; j++)
            for (long r = 0; r < x->rows; r++) block[r * wide + j] = at[r + j * x->across];
    else if (x->across == 1)
        for (long r = 0; r < x->rows; r++) memcpy(block + r * wide, at + r * x->down, some * sizeof(REAL));
    else
        for (long r = 0; r < x->rows; r++)
            for (long j = 0; j < some; j++) block[r * wide + j] = at[r * x->down + j * x->across];
}

static ALWAYS vector counted_from(long first)
{
    vector found = {0};
    for (int k = 0; k < LANES; k++) found[k] = (REAL)(first + k);
    return found;
}

/* |X^T X - Y^T Y|^2, |X^T X|^2 and |Y^T Y|^2 of matrices with as many columns; subtracted entry by entry, for expanded
   they cancel. Y may have no rows. Of what is symmetric one half is found. */
static APART void gram_gap(const struct matrix *x, const struct matrix *y, REAL *room, REAL *found)
{
    const long n = x->columns;
    const vector none = {0};
    REAL *px = room, *py = px + x->rows * WIDE, *a = py + y->rows * WIDE, *b = a + 4 * WIDE;
    found[0] = found[1] = found[2] = 0;
    for (long j0 = 0; j0 < n; j0 += WIDE) {
        const long columns = n - j0 < WIDE ? PADDED(n - j0, LANES) : WIDE, last = n < j0 + columns ? n : j0 + columns;
        packed(x, j0, columns, px);
        packed(y, j0, columns, py);
        for (long i = 0; i < last; i += 4) {
            const long T = n - i < 4 ? n - i : 4, begin = i > j0 ? (i - j0) / LANES * LANES : 0;
            vector gap = none, xx = none, yy = none;
            times(T, x->at + i * x->across, x->across, x->down, px + begin, columns, x->rows, columns - begin, a, WIDE, 0);
            times(T, y->at + i * y->across, y->across, y->down, py + begin, columns, y->rows, columns - begin, b, WIDE, 0);
            for (long j = 0; j < columns - begin; j += LANES) {
                const long at = j0 + begin + j;
                const int is_above = at >= i + T && at + LANES <= n;
                for (long t = 0; t < T; t++) {
                    const vector one = AT(a + t * WIDE + j), other = AT(b + t * WIDE + j), less = one - other;
                    vector gap2 = less * less, xx2 = one * one, yy2 = other * other;
                    if (is_above) {
                        gap += 2 * gap2;
                        xx += 2 * xx2;
                        yy += 2 * yy2;
                        continue;
                    }
                    const vector place = counted_from(at);
                    const mask above = (place > (REAL)(i + t)) & (place < (REAL)n), on = place == (REAL)(i + t);
                    gap += chosen(above, 2 * gap2, chosen(on, gap2, none));
                    xx += chosen(above, 2 * xx2, chosen(on, xx2, none));
                    yy += chosen(above, 2 * yy2, chosen(on, yy2, none));
                }
            }
            found[0] += total(gap);
            found[1] += total(xx);
            found[2] += total(yy);
        }
    }
}

/* For every network the three of `gram_gap`, (lanes, 3). 1: there is no memory. */
int nfa_gram_gaps(int64_t lanes, const struct matrix *x, const struct matrix *y, REAL *found)
{
    REAL *room = aligned_alloc(64, PADDED((x->rows + y->rows + 8) * WIDE * sizeof(REAL), 64));
    if (!room) return 1;
    for (long lane = 0; lane < lanes; lane++) {
        const struct matrix one = of_lane(x, lane), other = of_lane(y, lane);
        gram_gap(&one, &other, room, found + 3 * lane);
    }
    free(room);
    return 0;
}

/* sums[j] = sum_h (sum_d X[h][d] V[d][j])^2 for every column j of V. */
static APART void column_squares(const struct matrix *x, const struct matrix *v, REAL *room, REAL *sums)
{
    REAL *block = room, *out = block + v->rows * WIDE;
    for (long j0 = 0; j0 < v->columns; j0 += WIDE) {
        const long some = v->columns - j0 < WIDE ? v->columns - j0 : WIDE, columns = PADDED(some, LANES);
        vector found[BLOCK] = {{0}};
        packed(v, j0, columns, block);
        for (long h = 0; h < x->rows; h += 4) {
            const long T = x->rows - h < 4 ? x->rows - h : 4;
            times(T, x->at + h * x->down, x->down, x->across, block, columns, v->rows, columns, out, WIDE, 0);
            for (long j = 0; j < columns / LANES; j++)
                for (long t = 0; t < T; t++) {
                    const vector one = AT(out + t * WIDE + j * LANES);
                    found[j] += one * one;
                }
        }
        for (long j = 0; j < some; j++) sums[j0 + j] = found[j / LANES][j % LANES];
    }
}

/* Of matrices X (H, D) and V (D, R) of every network the sums over rows of (X V)^2: (lanes, R). 1: there is no memory. */
int nfa_column_squares(int64_t lanes, const struct matrix *x, const struct matrix *v, REAL *found)
{
    REAL *room = aligned_alloc(64, PADDED((v->rows + 4) * WIDE * sizeof(REAL), 64));
    if (!room) return 1;
    for (long lane = 0; lane < lanes; lane++) {
        const struct matrix one = of_lane(x, lane), other = of_lane(v, lane);
        column_squares(&one, &other, room, found + lane * v->columns);
    }
    free(room);
    return 0;
}

#define PASSED_ROWS 64

/* Where X^T X of so many columns is summed up, and rows of X are put: in bytes. */
int64_t nfa_gram_room(int64_t columns)
{
    return (columns + PASSED_ROWS) * APART_BY(columns) * (int64_t)sizeof(REAL);
}

/* Add X^T X, or begin with it, of rows that are so many numbers apart, float or double. */
void nfa_gram_added(int64_t rows, int64_t columns, int64_t apart, int64_t is_single, const void *x, int adds, REAL *room)
{
    const long ld = APART_BY(columns), padded = PADDED(columns, LANES);
    REAL *block = room + columns * ld;
    for (long first = 0; first < rows; first += PASSED_ROWS) {
        const long some = rows - first < PASSED_ROWS ? rows - first : PASSED_ROWS;
        for (long r = 0; r < some; r++) {
            const long at = (first + r) * apart;
            REAL *restrict to = block + r * ld;
            memset(to + padded - LANES, 0, LANES * sizeof(REAL));
            if (is_single)
                for (long j = 0; j < columns; j++) to[j] = ((const float *)x)[at + j];
            else memcpy(to, (const REAL *)x + at, columns * sizeof(REAL));
        }
        for (long i = 0; i < columns; i += 4) {
            const long begin = i / LANES * LANES;
            times(columns - i < 4 ? columns - i : 4, block + i, 1, ld, block + begin, ld, some, padded - begin,
                  room + i * ld + begin, ld, adds || first > 0);
        }
    }
}

/* What has been summed up there, times a number: (columns, columns). */
void nfa_gram_read(int64_t columns, REAL scale, const REAL *room, REAL *found)
{
    const long ld = APART_BY(columns);
    for (long i = 0; i < columns; i++)
        for (long j = 0; j <= i; j++) found[i * columns + j] = found[j * columns + i] = scale * room[j * ld + i];
}

/* X^T X, (lanes, columns, columns), of (lanes, rows, columns) numbers that are float or double. 1: there is no memory. */
int nfa_gram_matrices(int64_t lanes, int64_t rows, int64_t columns, int64_t is_single, const void *x, REAL *found)
{
    const long size = is_single ? sizeof(float) : sizeof(REAL);
    REAL *room = aligned_alloc(64, PADDED(nfa_gram_room(columns), 64));
    if (!room) return 1;
    for (long lane = 0; lane < lanes; lane++, found += columns * columns) {
        nfa_gram_added(rows, columns, columns, is_single, (const char *)x + lane * rows * columns * size, 0, room);
        nfa_gram_read(columns, 1, room, found);
    }
    free(room);
    return 0;
}

/* Sums of the squares of (lanes, count) numbers, over parts first, so that rounding does not grow with their number. */
int nfa_sums_of_squares(int64_t lanes, int64_t count, const REAL *x, REAL *found)
{
    enum { PARTS = 64 };
    for (long lane = 0; lane < lanes; lane++, x += count) {
        REAL sum = 0;
        for (long first = 0; first < count; first += PARTS * LANES) {
            const long end = count < first + PARTS * LANES ? count : first + PARTS * LANES;
            REAL part[LANES] = {0};
            long j = first;
            for (; j + LANES <= end; j += LANES)
                for (long k = 0; k < LANES; k++) part[k] += x[j + k] * x[j + k];
            for (long k = 0; j < end; j++, k++) part[k] += x[j] * x[j];
            for (long k = 0; k < LANES; k++) sum += part[k];
        }
        found[lane] = sum;
    }
    return 0;
}
