/* The exponents at which Gram matrices and powers of AGOPs align best, as nfa_kernels/best_exponent.py finds them.

One network after the other. A scan has as many exponents side by side as a vector holds; sums over eigenvalues carry
what rounding takes off them, so that a cosine which approaches its limit is constant to rounding there, whatever their number.
*/

#define FLAT_SPREAD 1e-9
#define TOP (-1e-9) /* logs above this belong to the largest eigenvalue */
#define NEAREST 1e-14
#define SETTLED 1e-8
#define MOST_STEPS 60

enum { INTERIOR, LOWER, UPPER, FLAT };

/* Eigenvalues that are kept of one network: log g_i - log g_1, over their spread, and q_i = v_i^T M v_i; zeros behind. */
struct kept {
    long count, padded;
    REAL *logs, *projections, norm;
};

static ALWAYS void added(vector *sum, vector *lost, vector more)
{
    const vector before = *sum, after = before + more, taken = after - before;
    *lost += (before - (after - taken)) + (more - taken);
    *sum = after;
}

/* cos(M, G^a) at exponents side by side. */
static APART vector cosines(const struct kept *of, vector exponent)
{
    vector product = {0}, lost = {0}, square = {0}, gone = {0}, found;
    for (long i = 0; i < of->count; i++) {
        const vector power = exp_of(exponent * of->logs[i]);
        added(&product, &lost, power * of->projections[i]);
        added(&square, &gone, power * power);
    }
    product += lost;
    square += gone;
    for (int k = 0; k < LANES; k++) found[k] = product[k] / (of->norm * SQRT(square[k]));
    return found;
}

static ALWAYS REAL total(vector v)
{
    REAL sum = 0;
    for (int k = 0; k < LANES; k++) sum += v[k];
    return sum;
}

/* First derivative of log cos(M, G^a) with respect to a, and the second where it is asked for. */
static APART REAL slope_at(const struct kept *of, REAL exponent, REAL *curvature)
{
    vector m = {0}, ml = {0}, g = {0}, gl = {0}, vm = {0}, vg = {0};
    for (long i = 0; i < of->padded; i += LANES) {
        const vector logs = AT(of->logs + i), power = exp_of(exponent * logs), q = power * AT(of->projections + i);
        vector square = power * power;
        for (long k = of->count; k < i + LANES; k++) square[k - i] = 0;
        m += q;
        ml += q * logs;
        g += square;
        gl += square * logs;
    }
    const REAL sum_m = total(m), sum_g = total(g), mean_m = total(ml) / sum_m, mean_g = total(gl) / sum_g;
    if (!curvature) return mean_m - mean_g;
    for (long i = 0; i < of->padded; i += LANES) {
        const vector logs = AT(of->logs + i), power = exp_of(exponent * logs);
        const vector from_m = logs - mean_m, from_g = logs - mean_g;
        vector square = power * power;
        for (long k = of->count; k < i + LANES; k++) square[k - i] = 0;
        vm += power * AT(of->projections + i) * from_m * from_m;
        vg += square * from_g * from_g;
    }
    *curvature = total(vm) / sum_m - 2 * total(vg) / sum_g;
    return mean_m - mean_g;
}

/* Root of the derivative between two exponents, by Newton steps kept inside a shrinking bracket; or else their middle. */
static REAL root_between(const struct kept *of, REAL low, REAL high)
{
    REAL point = SQRT(low * high), curvature, last = high - low;
    if (!(slope_at(of, low, 0) > 0) || !(slope_at(of, high, 0) < 0)) return point;
    for (int step = 0; step < MOST_STEPS; step++) {
        const REAL slope = slope_at(of, point, &curvature), nearest = NEAREST * point;
        if (slope > 0) low = point;
        else high = point;
        const REAL newton = point - slope / curvature, before = point;
        point = newton >= low && newton <= high && curvature < 0 ? newton : (low + high) / 2;
        const REAL moved = fabs(point - before);
        /* steps this small are squared by the next one, unless they are rounding */
        if (moved <= nearest || high - low <= nearest || (moved < SETTLED * point && moved > last / 2)) break;
        last = moved;
    }
    return point;
}

/* The best exponent of one network, or NaN; where it lies, and the supremum of the cosine. */
static void best_of(const struct kept *of, long points, const REAL *exponents, REAL *exponent, REAL *kind, REAL *best)
{
    REAL peak = -1, top = 0, tops = 0, scanned[LANES] __attribute__((aligned(VECTOR_BYTES)));
    long place = 0;
    for (long first = 0; first < points; first += LANES) {
        for (long k = 0; k < LANES; k++) scanned[k] = exponents[first + k < points ? first + k : points - 1];
        AT(scanned) = cosines(of, AT(scanned));
        for (long k = 0; k < LANES && first + k < points; k++)
            if (scanned[k] > peak) {
                peak = scanned[k];
                place = first + k;
            }
    }
    place = place < 1 ? 1 : place > points - 2 ? points - 2 : place;
    const REAL root = root_between(of, exponents[place - 1], exponents[place + 1]);
    const vector ends = cosines(of, all(0) + root * (vector){1});
    for (long i = 0; i < of->count; i++)
        if (of->logs[i] > TOP) {
            top += of->projections[i];
            tops++;
        }
    const REAL lower = ends[1], upper = top / (of->norm * SQRT(tops)), slack = 1 - 4 * (REAL)2.220446049250313e-16;
    peak = ends[0] > peak ? ends[0] : peak;
    *kind = lower >= peak * slack ? LOWER : INTERIOR;
    if (upper >= peak * slack && upper >= lower) *kind = UPPER;
    *exponent = *kind == INTERIOR ? root : (REAL)NAN;
    *best = peak > lower ? peak : lower;
    *best = *best > upper ? *best : upper;
}

/* Of one network: log eigenvalues (rank), decreasing, those dropped not finite; projections of the Gram matrix on their
   eigenvectors (rank); its norm. `of` has room for as many numbers in whole vectors. */
static void best_exponent(
    struct kept *of, long rank, const REAL *logs, const REAL *projections, REAL norm, long points, const REAL *exponents,
    REAL *exponent, REAL *kind, REAL *alignment)
{
    const long padded = PADDED(rank, LANES);
    REAL spread = 0, sum = 0, kept = 0;
    memset(of->logs, 0, padded * sizeof(REAL));
    memset(of->projections, 0, padded * sizeof(REAL));
    of->count = 0;
    of->norm = norm;
    for (long i = 0; i < rank; i++) {
        sum += projections[i];
        if (!isfinite(logs[i])) continue;
        of->logs[of->count] = logs[i] - logs[0];
        of->projections[of->count] = projections[i];
        spread = -of->logs[of->count] > spread ? -of->logs[of->count] : spread;
        kept += projections[i];
        of->count++;
    }
    *exponent = *kind = *alignment = NAN;
    if (!isfinite(norm)) return;
    if (!(sum > 0)) {
        *alignment = 0;
    } else if (spread < FLAT_SPREAD) {
        *kind = FLAT;
        *alignment = kept / (norm * SQRT((REAL)of->count));
    } else {
        of->padded = PADDED(of->count, LANES);
        for (long i = 0; i < of->count; i++) of->logs[i] /= spread;
        best_of(of, points, exponents, exponent, kind, alignment);
        *exponent /= spread;
    }
}

/* The same of every network: (lanes, rank) numbers, and norms (lanes). Three numbers (lanes) are written. 1: there is no
   memory. */
int nfa_best_exponents(
    int64_t lanes, int64_t rank, const REAL *logs, const REAL *projections, const REAL *norms, int64_t points,
    const REAL *exponents, REAL *exponent, REAL *kind, REAL *alignment)
{
    const long padded = PADDED(rank, LANES);
    REAL *room = aligned_alloc(64, PADDED(2 * padded * sizeof(REAL), 64));
    if (!room) return 1;
    struct kept of = {0, 0, room, room + padded, 0};
    for (long lane = 0; lane < lanes; lane++)
        best_exponent(&of, rank, logs + lane * rank, projections + lane * rank, norms[lane], points, exponents,
                      exponent + lane, kind + lane, alignment + lane);
    free(room);
    return 0;
}
