/* Eigenvalues and eigenvectors of small symmetric matrices, as many networks side by side as a vector holds; needs steps.h,
   elementary.h and rotations.h.

Reflections make a matrix tridiagonal, rotations make that diagonal, and turn the rows that end as eigenvectors. What a rotation is
follows from the one before by a root and two divisions that wait for each other: these are found of all networks of a
vector at once, each network's own as if it were alone. Everything else is rows of one network.
Source: Bowdler, Martin, Reinsch and Wilkinson 1968, doi:10.1007/BF02161359 (implicit QL), with Wilkinson's shifts.
*/

#define MOST_SHIFTS 60

/* Networks side by side: of each its matrix, then rows that are turned into eigenvectors; and what is tridiagonal. */
struct symmetric {
    long n, ld;
    REAL *a[LANES], *v[LANES]; /* (n, ld) */
    REAL *d, *e, *c, *s;       /* (n + 1, LANES) diagonal, beside it, and rotations */
    REAL *row, *h;             /* (ld) each */
};

static long symmetric_out(struct symmetric *of, long n, char *room)
{
    char *const begin = room;
    of->n = n;
    of->ld = PADDED(n, LANES);
    for (int k = 0; k < LANES; k++) {
        of->a[k] = taken(&room, n * of->ld);
        of->v[k] = taken(&room, n * of->ld);
    }
    REAL **const beside[] = {&of->d, &of->e, &of->c, &of->s};
    for (int k = 0; k < 4; k++) *beside[k] = taken(&room, (n + 1) * LANES);
    of->row = taken(&room, of->ld);
    of->h = taken(&room, of->ld);
    return room - begin;
}

/* A = Z T Z^T: T beside the other networks', and Z^T. */
static APART void tridiagonal(struct symmetric *of, int lane)
{
    const long n = of->n, ld = of->ld;
    REAL *a = of->a[lane], *v = of->v[lane], *p = of->row, *h = of->h, *d = of->d + lane, *e = of->e + lane;
    for (long i = n - 1; i > 0; i--) {
        const long padded = PADDED(i, LANES);
        REAL *u = a + i * ld;
        const REAL beside = u[i - 1];
        d[i * LANES] = u[i];
        memset(u + i, 0, (ld - i) * sizeof(REAL));
        u[i - 1] = 0;
        const REAL rest = dot(u, u, padded), norm = SQRT(rest + beside * beside);
        h[i] = 0;
        e[(i - 1) * LANES] = beside;
        if (rest == 0) continue;
        e[(i - 1) * LANES] = beside > 0 ? -norm : norm;
        u[i - 1] = beside - e[(i - 1) * LANES];
        h[i] = norm * (norm + fabs(beside));
        times(1, u, 0, 1, a, ld, i, padded, p, ld, 0);
        memset(p + i, 0, (padded - i) * sizeof(REAL));
        const REAL over = 1 / h[i], part = dot(u, p, padded) * over / 2;
        for (long j = 0; j < padded; j += LANES) AT(p + j) = over * (AT(p + j) - part * AT(u + j));
        for (long r = 0; r < i; r++)
            for (long j = 0; j < padded; j += LANES)
                AT(a + r * ld + j) -= u[r] * AT(p + j) + p[r] * AT(u + j);
    }
    d[0] = a[0];
    memset(v, 0, n * ld * sizeof(REAL));
    for (long i = 0; i < n; i++) v[i * ld + i] = 1;
    for (long i = 1; i < n; i++) {
        const long padded = PADDED(i, LANES);
        const REAL *u = a + i * ld;
        if (h[i] == 0) continue;
        times(1, u, 0, 1, v, ld, i, padded, p, ld, 0);
        for (long r = 0; r < i; r++) {
            const REAL by = u[r] / h[i];
            for (long j = 0; j < padded; j += LANES) AT(v + r * ld + j) -= by * AT(p + j);
        }
    }
    for (long i = 0; i < n; i++)
        for (long j = 0; j < i; j++) exchanged(v + i * ld + j, v + j * ld + i);
}

/* Turn rows m and m - 1, then m - 1 and m - 2, .. down to l, each by its own rotation. */
static ALWAYS void turned_rows(const int J, REAL *v, long ld, long l, long m, const REAL *c, const REAL *s)
{
    vector upper[4];
#pragma GCC unroll 4
    for (int j = 0; j < J; j++) upper[j] = AT(v + m * ld + j * LANES);
    for (long i = m - 1; i >= l; i--) {
        const vector cosine = all(c[i * LANES]), sine = all(s[i * LANES]);
#pragma GCC unroll 4
        for (int j = 0; j < J; j++) {
            const vector lower = AT(v + i * ld + j * LANES), other = cosine * lower;
            AT(v + (i + 1) * ld + j * LANES) = cosine * upper[j] + sine * lower;
            upper[j] = other - sine * upper[j];
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < J; j++) AT(v + l * ld + j * LANES) = upper[j];
}

static APART void turned_down(struct symmetric *of, int lane, long l, long m)
{
    const long ld = of->ld;
    const REAL *c = of->c + lane, *s = of->s + lane;
    for (long j = 0; j < ld; j += 4 * LANES) {
        REAL *v = of->v[lane] + j;
        switch ((ld - j) / LANES) {
        case 1: turned_rows(1, v, ld, l, m, c, s); break;
        case 2: turned_rows(2, v, ld, l, m, c, s); break;
        case 3: turned_rows(3, v, ld, l, m, c, s); break;
        default: turned_rows(4, v, ld, l, m, c, s);
        }
    }
}

static ALWAYS vector root_of(vector x)
{
    vector found;
    for (int k = 0; k < LANES; k++) found[k] = SQRT(x[k]);
    return found;
}

static ALWAYS int any_of(mask m)
{
    MASK found = 0;
    for (int k = 0; k < LANES; k++) found |= m[k];
    return found != 0;
}

/* How far the block that begins at row l of each network reaches: what is beside the diagonal is rounding behind it. */
static APART vector reach(const struct symmetric *of, long l, vector negligible)
{
    vector found = all((REAL)(of->n - 1));
    mask open = all(0) == all(0);
    for (long i = l; i + 1 < of->n; i++) {
        const vector size = size_of(AT(of->d + i * LANES)) + size_of(AT(of->d + (i + 1) * LANES));
        const mask ends = open & (size_of(AT(of->e + i * LANES)) <= (REAL)1.1102230246251565e-16 * size + negligible);
        found = chosen(ends, all((REAL)i), found);
        open &= ~ends;
        if (!any_of(open)) break;
    }
    return found;
}

/* One sweep of rotations through the blocks of `on` networks, from their ends m up to row l. */
static APART void swept_up(struct symmetric *of, long l, vector m, mask on, long most)
{
    const vector one = all(1), none = all(0);
    const vector d_l = AT(of->d + l * LANES), e_l = chosen(on, AT(of->e + l * LANES), one);
    const vector ratio = (AT(of->d + (l + 1) * LANES) - d_l) / (2 * e_l), root = root_of(ratio * ratio + 1);
    vector d_m = none;
    for (int k = 0; k < LANES; k++) d_m[k] = of->d[(long)m[k] * LANES + k];
    vector g = d_m - d_l + e_l / (ratio + chosen(ratio < 0, -root, root)), s = one, c = one, p = none;
    for (long i = most - 1; i >= l; i--) {
        const mask in = on & (m > (REAL)i);
        REAL *d = of->d + i * LANES, *e = of->e + i * LANES;
        const vector f = s * AT(e), b = c * AT(e), r = root_of(f * f + g * g);
        const mask turns = in & (r != none);
        const vector new_s = chosen(turns, f / r, none), new_c = chosen(turns, g / r, one);
        const vector above = AT(d + LANES) - p, q = (AT(d) - above) * new_s + 2 * new_c * b;
        AT(e + LANES) = chosen(in, r, AT(e + LANES));
        AT(d + LANES) = chosen(in, above + new_s * q, AT(d + LANES));
        g = chosen(in, new_c * q - b, g);
        p = chosen(in, new_s * q, p);
        s = chosen(in, new_s, s);
        c = chosen(in, new_c, c);
        AT(of->c + i * LANES) = c;
        AT(of->s + i * LANES) = s;
    }
    AT(of->d + l * LANES) = chosen(on, d_l - p, d_l);
    AT(of->e + l * LANES) = chosen(on, g, AT(of->e + l * LANES));
    for (int k = 0; k < LANES; k++)
        if (on[k]) of->e[(long)m[k] * LANES + k] = 0;
}

/* Eigenvalues of all networks where the diagonals are, eigenvectors where the rows are; where they have not been found. */
static APART mask diagonalised(struct symmetric *of, int count)
{
    const long n = of->n;
    vector size = all(0);
    mask lost = size != size;
    for (int k = 0; k < LANES; k++) {
        if (k < count) tridiagonal(of, k);
        for (long i = 0; k >= count && i < n; i++) of->d[i * LANES + k] = of->e[i * LANES + k] = 0;
        of->e[(n - 1) * LANES + k] = 0;
    }
    for (long i = 0; i < n; i++) {
        const vector here = size_of(AT(of->d + i * LANES)) + size_of(AT(of->e + i * LANES));
        size = chosen(here > size, here, size);
    }
    /* what is nothing beside what rounding has added to every number */
    const vector negligible = size * (REAL)0x1p-60;
    for (long l = 0; l + 1 < n; l++)
        for (int shift = 0;; shift++) {
            const vector m = reach(of, l, negligible);
            const mask on = (m > (REAL)l) & ~lost;
            if (!any_of(on)) break;
            if (shift == MOST_SHIFTS) {
                lost |= on;
                break;
            }
            long most = l;
            for (int k = 0; k < LANES; k++) most = on[k] && (long)m[k] > most ? (long)m[k] : most;
            swept_up(of, l, m, on, most);
            for (int k = 0; k < count; k++)
                if (on[k]) turned_down(of, k, l, (long)m[k]);
        }
    return lost;
}

/* Read a matrix, over a power of two near its largest number, which changes no digit; 0 where it is not finite: then zeros. */
static APART REAL read_symmetric(struct symmetric *of, int lane, const REAL *x)
{
    const long n = of->n, ld = of->ld;
    REAL *a = of->a[lane], largest = 0;
    vector check = all(0), size = all(0);
    int exponent;
    for (long i = 0; i < n; i++) {
        memset(a + i * ld + ld - LANES, 0, LANES * sizeof(REAL));
        memcpy(a + i * ld, x + i * n, n * sizeof(REAL));
        for (long j = 0; j < ld; j += LANES) {
            const vector row = AT(a + i * ld + j), here = size_of(row);
            check += row * 0;
            size = chosen(here > size, here, size);
        }
    }
    if (total(check) != 0) {
        memset(a, 0, n * ld * sizeof(REAL));
        return 0;
    }
    for (int k = 0; k < LANES; k++) largest = size[k] > largest ? size[k] : largest;
    frexp(largest, &exponent);
    exponent = exponent < -1000 ? -1000 : exponent > 1000 ? 1000 : exponent;
    const REAL over = ldexp(1, -exponent);
    for (long k = 0; k < n * ld; k += LANES) AT(a + k) *= over;
    return ldexp(1, exponent);
}

/* Of matrices (lanes, n, n) eigenvalues (lanes, n), decreasing, and eigenvectors (lanes, n, n) as rows. Values are NaN, vectors
   zeros, of a matrix that is not finite; lost (lanes): whose eigenvalues do not settle. 1: there is no memory. */
int nfa_symmetric_vectors(int64_t lanes, int64_t n, const REAL *x, REAL *values, REAL *vectors, int64_t *lost)
{
    struct symmetric of;
    const long bytes = symmetric_out(&of, n, 0);
    char *room = aligned_alloc(64, PADDED(bytes, 64));
    if (!room) return 1;
    memset(room, 0, bytes);
    symmetric_out(&of, n, room);
    for (long first = 0; first < lanes; first += LANES) {
        const int count = lanes - first < LANES ? (int)(lanes - first) : LANES;
        REAL scales[LANES];
        for (int k = 0; k < count; k++) scales[k] = read_symmetric(&of, k, x + (first + k) * n * n);
        const mask unsettled = diagonalised(&of, count);
        for (int k = 0; k < count; k++) {
            REAL *value = values + (first + k) * n, *row = vectors + (first + k) * n * n, *d = of.d + k;
            const int is_known = scales[k] > 0;
            lost[first + k] = is_known && unsettled[k];
            for (long i = 0; i < n; i++, row += n) {
                long largest = 0;
                for (long j = 1; j < n; j++)
                    if (d[j * LANES] > d[largest * LANES]) largest = j;
                value[i] = is_known ? scales[k] * d[largest * LANES] : (REAL)NAN;
                if (is_known) memcpy(row, of.v[k] + largest * of.ld, n * sizeof(REAL));
                else memset(row, 0, n * sizeof(REAL));
                d[largest * LANES] = -INFINITE;
            }
        }
    }
    free(room);
    return 0;
}
