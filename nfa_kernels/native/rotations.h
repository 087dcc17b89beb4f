/* Singular values and right vectors of small matrices by one-sided Jacobi rotations, one matrix after the other.

Rows are turned in pairs until all are orthogonal: then they are singular values times right vectors. Cosines of rows
are judged, not products, so that small singular values are as exact as the rows' own scales let them be, which no
bidiagonal form keeps. Source: Demmel and Veselic 1992, doi:10.1137/0613074; order of rows: de Rijk 1989,
doi:10.1137/0910023.
*/

#define MOST_SWEEPS 40
#define ORTHOGONAL 3e-16 /* cosine of two rows that are as orthogonal as rounding has it, over the root of their length */

static ALWAYS REAL dot(const REAL *a, const REAL *b, long columns)
{
    vector sum = {0};
    for (long j = 0; j < columns; j += LANES) sum += AT(a + j) * AT(b + j);
    return total(sum);
}

/* Turn rows p and q of squared norms a >= b and product c, until they are orthogonal. */
static ALWAYS void turned_by(REAL *p, REAL *q, long columns, REAL *a, REAL *b, REAL c)
{
    const REAL zeta = (*b - *a) / (2 * c), size = fabs(zeta);
    /* zeta^2 may overflow where its root does not */
    const REAL t = (zeta < 0 ? -1 : 1) / (size + (size < 1e150 ? SQRT(1 + zeta * zeta) : size));
    const REAL cosine = 1 / SQRT(1 + t * t), sine = t * cosine;
    for (long j = 0; j < columns; j += LANES) {
        const vector one = AT(p + j), other = AT(q + j);
        AT(p + j) = cosine * one - sine * other;
        AT(q + j) = sine * one + cosine * other;
    }
    *a -= t * c;
    *b += t * c;
}

static ALWAYS void exchanged(REAL *a, REAL *b)
{
    const REAL spare = *a;
    *a = *b;
    *b = spare;
}

/* Make rows (count, columns padded to ld) orthogonal, the longest first; squares: of their norms. */
static APART void orthogonal(REAL *rows, long count, long ld, REAL **row, REAL *squares)
{
    const REAL enough = ORTHOGONAL * SQRT((REAL)ld);
    for (long i = 0; i < count; i++) row[i] = rows + i * ld;
    for (int sweep = 0; sweep < MOST_SWEEPS; sweep++) {
        int turns = 0;
        for (long i = 0; i < count; i++) squares[i] = dot(row[i], row[i], ld);
        for (long p = 0; p < count; p++) {
            long largest = p;
            for (long q = p + 1; q < count; q++)
                if (squares[q] > squares[largest]) largest = q;
            REAL *spare = row[p];
            row[p] = row[largest];
            row[largest] = spare;
            exchanged(squares + p, squares + largest);
            for (long q = p + 1; q < count; q++) {
                const REAL c = dot(row[p], row[q], ld);
                if (!(fabs(c) > enough * SQRT(squares[p]) * SQRT(squares[q]))) continue;
                turned_by(row[p], row[q], ld, squares + p, squares + q, c);
                /* what a difference has left of a small square is its rounding */
                if (squares[q] < 0.01 * squares[p]) squares[q] = dot(row[q], row[q], ld);
                turns++;
            }
        }
        if (!turns) break;
    }
}

/* Of matrices (lanes, count, columns), no more rows than columns: singular values (lanes, count), decreasing, and right
   vectors (lanes, count, columns) as rows: zeros with a value of zero. Values are NaN, vectors zeros, of a matrix that is
   not finite. 1: there is no memory. */
int nfa_thin_vectors(int64_t lanes, const struct matrix *x, REAL *values, REAL *vectors)
{
    const long count = x->rows, columns = x->columns, ld = PADDED(columns, LANES);
    REAL *room = aligned_alloc(64, PADDED((count * ld + count) * (long)sizeof(REAL) + count * (long)sizeof(REAL *), 64));
    if (!room) return 1;
    REAL *squares = room + count * ld, **row = (REAL **)(squares + count);
    for (long lane = 0; lane < lanes; lane++, values += count, vectors += count * columns) {
        const struct matrix one = of_lane(x, lane);
        REAL check = 0;
        memset(room, 0, count * ld * sizeof(REAL));
        for (long i = 0; i < count; i++)
            for (long j = 0; j < columns; j++) {
                const REAL number = one.at[i * one.down + j * one.across];
                room[i * ld + j] = number;
                check += number * 0;
            }
        if (check != 0) {
            for (long i = 0; i < count; i++) values[i] = NAN;
            memset(vectors, 0, count * columns * sizeof(REAL));
            continue;
        }
        orthogonal(room, count, ld, row, squares);
        for (long i = 0; i < count; i++) {
            const REAL value = SQRT(squares[i]), over = value > 0 ? 1 / value : 0;
            values[i] = value;
            for (long j = 0; j < columns; j++) vectors[i * columns + j] = row[i][j] * over;
        }
    }
    free(room);
    return 0;
}
