/* Metrics of products of matrices: each network is read once and measured while it is in the cache; needs thin.h, gram.h,
   rotations.h and exponents.h.

A network whose numbers come near to where squares of squares under- or overflow, or are none, is not ordinary: it is left
to what scales its matrices first. No network's numbers depend on another's, nor on what else is asked for.
*/

#define MOST_OUTPUTS 16

/* Columns of what is found, and of each asked layer; as nfa_kernels/native/product_metrics.py has them. */
enum { TRAIN_LOSS, TEST_LOSS, GRADIENT_NORM, WEIGHT_NORM, IMBALANCE, RELATIVE_IMBALANCE, MODES, OF_NETWORK };
enum { RESIDUAL, SCALE, NULL_FLOOR, AGOP_RANK, BEST_EXPONENT, BEST_KIND, BEST_ALIGNMENT, OF_LAYER };
enum { ASKS_GRADIENTS = 1, ASKS_IMBALANCE = 2, ASKS_MODES = 4, ASKS_RESIDUAL = 8, ASKS_BEST = 16 };

/* What nfa_kernels/native/product_metrics.py fills in. */
struct measurement {
    int64_t lanes, layers, is_single, asks, asked, exponents, points;
    double factor, loss_factor;  /* of a sample's residual; of the loss, a sum of squares over samples */
    double threshold;            /* end-to-end singular values above it are modes */
    const int64_t *widths;       /* (layers + 1) */
    const double *multipliers;   /* (layers) c_l */
    const void *const *weights;  /* (layers) of (lanes, d_l, d_{l-1}) W_l, float or double */
    struct samples set, tests;
    const int64_t *numbers;      /* (asked) of layers, from 1 */
    const double *powers;        /* (asked, exponents) of alignments; the first of a layer is the theory's */
    const double *log_gammas;    /* (asked) */
    const double *scan;          /* (points) exponents of a best one, in units of the spread */
    double *found;               /* (OF_NETWORK + asked (OF_LAYER + exponents), lanes) */
    int64_t *ordinary;           /* (lanes) whether anything else of a network counts */
};

/* The AGOP at a layer's input: rows are its eigenvectors. */
struct agop {
    long rank;
    REAL *vectors, *logs; /* (C, ld); log eigenvalues, -INFINITY of those dropped */
};

struct being_measured {
    const struct measurement *call;
    struct chained chain;
    REAL *raw[MOST_LAYERS], squares[MOST_LAYERS]; /* W_l where c_l is not 1, and |W_l|^2 */
    REAL *rows, *turned, *thin, *gram, *powers, *projections, *of_gradients;
    struct agop agop;
    struct kept kept;
};

static long room_of(struct being_measured *n, char *room)
{
    struct chained *chain = &n->chain;
    const long L = chain->L, C = chain->C, most = n->call->set.count, tests = n->call->tests.count;
    char *const begin = room;
    long widest = 0, highest = 0;
    room += PADDED(chained_out(chain, most > tests ? most : tests, room), 64);
    for (long l = 0; l <= L; l++) {
        widest = chain->ld[l] > widest ? chain->ld[l] : widest;
        highest = chain->widths[l] > highest ? chain->widths[l] : highest;
    }
    for (long l = 0; l < L; l++)
        n->raw[l] = n->call->multipliers[l] == 1 ? chain->w[l] : taken(&room, chain->widths[l + 1] * chain->ld[l]);
    n->rows = taken(&room, C * widest);
    n->turned = taken(&room, C * widest);
    n->thin = taken(&room, C * widest);
    n->gram = taken(&room, (2 * highest + 8) * WIDE);
    n->agop.logs = taken(&room, MOST_OUTPUTS);
    n->powers = taken(&room, MOST_OUTPUTS);
    n->projections = taken(&room, MOST_OUTPUTS);
    n->kept.logs = taken(&room, MOST_OUTPUTS);
    n->kept.projections = taken(&room, MOST_OUTPUTS);
    n->of_gradients = taken(&room, L);
    return room - begin;
}

typedef float singles __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Copy rows into whole vectors; the sum of their squares. */
static ALWAYS REAL taken_in(const int is_single, const void *from, long rows, long columns, REAL *to, long ld)
{
    vector sums[4] = {{0}};
    for (long i = 0; i < rows; i++, to += ld) {
        const float *single = (const float *)from + i * columns;
        long j = 0;
        for (; is_single && j + LANES <= columns; j += LANES)
            AT(to + j) = __builtin_convertvector(*(const singles *)(single + j), vector);
        for (; is_single && j < columns; j++) to[j] = single[j];
        if (!is_single) memcpy(to, (const double *)from + i * columns, columns * sizeof(REAL));
    }
    to -= rows * ld;
    /* not each after the other: they would wait */
    long k = 0;
    for (; k + 4 * LANES <= rows * ld; k += 4 * LANES)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) sums[j] += AT(to + k + j * LANES) * AT(to + k + j * LANES);
    for (; k < rows * ld; k += LANES) sums[0] += AT(to + k) * AT(to + k);
    return total((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

static ALWAYS int within(REAL square, REAL most)
{
    return square > 1 / most && square < most;
}

/* Read one network; whether it is ordinary. */
static APART int read_in(struct being_measured *n, long lane)
{
    const struct measurement *call = n->call;
    struct chained *chain = &n->chain;
    const REAL most = ldexp(1, 2 * (int)(200 / call->layers));
    int ordinary = 1;
    for (long l = 0; l < chain->L; l++) {
        const long rows = chain->widths[l + 1], columns = chain->widths[l], ld = chain->ld[l];
        const long begin = lane * rows * columns;
        const REAL c = call->multipliers[l];
        n->squares[l] = call->is_single
                            ? taken_in(1, (const float *)call->weights[l] + begin, rows, columns, n->raw[l], ld)
                            : taken_in(0, (const double *)call->weights[l] + begin, rows, columns, n->raw[l], ld);
        for (long k = 0; c != 1 && k < rows * ld; k++) chain->w[l][k] = c * n->raw[l][k];
        ordinary &= within(n->squares[l], most) && within(c * c * n->squares[l], most);
    }
    return ordinary;
}

/* Sum of squares of what outputs in chain->r are off by. */
static APART REAL loss_sum(struct chained *chain, const struct samples *set, long lane)
{
    const long ld = chain->ld[chain->L];
    vector sum = {0};
    for (long s = 0; s < set->count; s++) {
        features(set->y, set->y_steps, lane, s, chain->C, chain->y);
        for (long j = 0; j < ld; j += LANES) {
            const vector off = AT(chain->r + s * ld + j) - AT(chain->y + j);
            sum += off * off;
        }
    }
    return total(sum);
}

/* The spectrum at the input of a layer, numbered from 0; 0 where it is not ordinary. */
static APART int agop_at(struct being_measured *n, long layer)
{
    struct chained *chain = &n->chain;
    const long C = chain->C, D = chain->widths[layer], ld = chain->ld[layer];
    REAL *row[MOST_OUTPUTS], squares[MOST_OUTPUTS];
    long most = C;
    for (long l = layer; l < chain->L; l++) most = chain->widths[l] < most ? chain->widths[l] : most;
    memcpy(n->rows, chain->product[layer], C * ld * sizeof(REAL));
    orthogonal(n->rows, C, ld, row, squares);
    if (!within(squares[0], 1e120)) return 0;
    const REAL least = (C > D ? C : D) * (REAL)2.220446049250313e-16 * SQRT(squares[0]);
    n->agop.rank = 0;
    n->agop.vectors = n->turned;
    for (long i = 0; i < C; i++) {
        const REAL value = SQRT(squares[i]), over = value > 0 ? 1 / value : 0;
        for (long j = 0; j < ld; j += LANES) AT(n->turned + i * ld + j) = AT(row[i] + j) * over;
        const int is_kept = i < most && value > least;
        n->agop.logs[i] = is_kept ? 2 * log(value) : -INFINITY;
        n->agop.rank += is_kept;
    }
    return 1;
}

/* g_i^a over g_1^a, zeros of what is dropped. */
static ALWAYS void relative_powers(const struct being_measured *n, REAL exponent)
{
    const REAL *logs = n->agop.logs;
    for (long i = 0; i < n->chain.C; i += LANES) {
        const vector log_values = AT(logs + i), none = {0};
        AT(n->powers + i) = chosen(log_values > -INFINITE, exp_of(exponent * (log_values - logs[0])), none);
    }
}

/* |W^T W|, and |W^T W - F^T F| where F has rows. */
static APART REAL gram_norm(struct being_measured *n, long layer, const REAL *factor, REAL *gap)
{
    const struct chained *chain = &n->chain;
    const long ld = chain->ld[layer];
    const struct matrix w = {n->raw[layer], chain->widths[layer + 1], chain->widths[layer], 0, ld, 1};
    const struct matrix f = {factor ? factor : w.at, factor ? chain->C : 0, w.columns, 0, ld, 1}, none = {w.at, 0, w.rows, 0, ld, 1};
    const struct matrix other = turned(&w);
    REAL found[3];
    if (factor || w.columns <= w.rows) gram_gap(&w, &f, n->gram, found);
    *gap = SQRT(found[0]);
    if (w.columns > w.rows) gram_gap(&other, &none, n->gram, found);
    return SQRT(found[1]);
}

/* Metrics of one layer, numbered from 0; 0 where it is not ordinary. */
static APART int of_layer(struct being_measured *n, long place, long layer, REAL *found, long apart)
{
    const struct measurement *call = n->call;
    const struct chained *chain = &n->chain;
    const long C = chain->C, ld = chain->ld[layer], H = chain->widths[layer + 1], ldh = chain->ld[layer + 1];
    const double *powers = call->powers + place * call->exponents;
    const REAL *logs = n->agop.logs;
    REAL gap = 0, *factor = call->asks & ASKS_RESIDUAL ? n->thin : 0, exponent, kind, best;
    memset(n->rows, 0, C * ldh * sizeof(REAL));
    times_transposed(C, n->agop.vectors, ld, ld, n->raw[layer], H, n->rows, ldh, 0);
    for (long i = 0; i < C; i++) n->projections[i] = dot(n->rows + i * ldh, n->rows + i * ldh, ldh);
    for (long i = 0; factor && i < C; i++) {
        const REAL root = isfinite(logs[i]) ? exp((powers[0] * logs[i] - call->log_gammas[place]) / 2) : 0;
        for (long j = 0; j < ld; j += LANES) AT(factor + i * ld + j) = AT(n->agop.vectors + i * ld + j) * root;
    }
    const REAL norm = gram_norm(n, layer, factor, &gap);
    if (!within(norm * norm, 1e200)) return 0;
    found[RESIDUAL * apart] = gap / norm;
    found[AGOP_RANK * apart] = (REAL)n->agop.rank;
    for (long k = 0; k < call->exponents; k++) {
        REAL product = 0, square = 0, sum = 0;
        relative_powers(n, powers[k]);
        for (long i = 0; i < C; i++) {
            product += n->powers[i] * n->projections[i];
            square += n->powers[i] * n->powers[i];
            sum += n->powers[i];
        }
        found[(OF_LAYER + k) * apart] = product / (norm * SQRT(square));
        if (k) continue;
        const REAL scale = product / square * exp(-powers[0] * logs[0]);
        found[SCALE * apart] = isinf(scale) ? NAN : scale;
        found[NULL_FLOOR * apart] = n->squares[layer] * sum / (chain->widths[layer] * norm * SQRT(square));
    }
    if (call->asks & ASKS_BEST) {
        best_exponent(&n->kept, C, logs, n->projections, norm, call->points, call->scan, &exponent, &kind, &best);
        found[BEST_EXPONENT * apart] = exponent;
        found[BEST_KIND * apart] = kind;
        found[BEST_ALIGNMENT * apart] = best;
    }
    return 1;
}

/* |D_l|^2 and |W_{l+1}^T W_{l+1}|^2 + |W_l W_l^T|^2 over layers. */
static APART int imbalances(struct being_measured *n, REAL *absolute, REAL *relative)
{
    const struct chained *chain = &n->chain;
    REAL gap = 0, size = 0, found[3];
    *absolute = *relative = 0;
    if (chain->L == 1) return 1;
    for (long l = 0; l + 1 < chain->L; l++) {
        const struct matrix below = {n->raw[l], chain->widths[l + 1], chain->widths[l], 0, chain->ld[l], 1};
        const struct matrix above = {n->raw[l + 1], chain->widths[l + 2], chain->widths[l + 1], 0, chain->ld[l + 1], 1};
        const struct matrix before = turned(&below);
        gram_gap(&above, &before, n->gram, found);
        gap += found[0];
        size += found[1] + found[2];
    }
    *absolute = SQRT(gap);
    *relative = SQRT(gap) / SQRT(size);
    return within(size, 1e200);
}

/* Everything that is asked for of one network; 0 where it is not ordinary. */
static APART int measured(struct being_measured *n, long lane)
{
    const struct measurement *call = n->call;
    struct chained *chain = &n->chain;
    const long apart = call->lanes;
    REAL *found = call->found + lane, squares = 0, gradients = 0;
    if (!read_in(n, lane)) return 0;
    for (long l = 0; l < chain->L; l++) squares += n->squares[l];
    found[WEIGHT_NORM * apart] = SQRT(squares);
    chain_up(chain);
    for (long k = 0, modes = call->asks & ASKS_MODES; k < call->asked + (modes != 0); k++) {
        const long layer = k < call->asked ? call->numbers[k] - 1 : 0;
        if (k == call->asked && !modes) break;
        if (!agop_at(n, layer)) return 0;
        if (layer == 0) {
            modes = 0;
            found[MODES * apart] = 0;
            for (long i = 0; i < n->agop.rank; i++) found[MODES * apart] += exp(n->agop.logs[i] / 2) > call->threshold;
        }
        if (k == call->asked) break;
        if (!of_layer(n, k, layer, found + (OF_NETWORK + k * (OF_LAYER + call->exponents)) * apart, apart)) return 0;
    }
    found[TEST_LOSS * apart] = NAN;
    if (call->tests.count) {
        outputs_of(chain, &call->tests, lane);
        found[TEST_LOSS * apart] = loss_sum(chain, &call->tests, lane) * call->loss_factor / call->tests.count;
        if (!isfinite(found[TEST_LOSS * apart])) return 0;
    }
    outputs_of(chain, &call->set, lane);
    found[TRAIN_LOSS * apart] = loss_sum(chain, &call->set, lane) * call->loss_factor / call->set.count;
    if (!isfinite(found[TRAIN_LOSS * apart])) return 0;
    if (call->asks & ASKS_GRADIENTS) {
        gradient_squares(chain, &call->set, lane, n->of_gradients);
        for (long l = 0; l < chain->L; l++) gradients += call->multipliers[l] * call->multipliers[l] * n->of_gradients[l];
        found[GRADIENT_NORM * apart] = SQRT(gradients);
        if (!within(gradients, 1e200)) return 0;
    }
    if (!(call->asks & ASKS_IMBALANCE)) return 1;
    return imbalances(n, found + IMBALANCE * apart, found + RELATIVE_IMBALANCE * apart);
}

/* Measure every network. 0: done; 1: there is no memory; 2: not what this was compiled for. */
int nfa_measure_products(const struct measurement *call)
{
    const int64_t *widths = call->widths;
    if (call->layers > MOST_LAYERS || widths[call->layers] > MOST_OUTPUTS) return 2;
    struct being_measured n = {.call = call};
    n.chain = chain_of(call->layers, widths, widths[call->layers], SQUARED, call->factor);
    const long bytes = room_of(&n, 0);
    char *room = aligned_alloc(64, PADDED(bytes, 64));
    if (!room) return 1;
    memset(room, 0, bytes);
    room_of(&n, room);
    for (long lane = 0; lane < call->lanes; lane++) call->ordinary[lane] = measured(&n, lane);
    free(room);
    return 0;
}
