/* Steps of one network with biases or piecewise linear activations, on samples; needs steps.h.

Samples lie next to each other: activations are (units, samples). Gradients are summed over parts of at most AT_ONCE
samples, and the update follows when all have been passed.
*/

#define AT_ONCE 128

struct layered {
    const struct call *call;
    long L, arrays;
    long size[MOST_LAYERS + 1], ld[MOST_LAYERS + 1]; /* widths, and padded */
    REAL *w[2 * MOST_LAYERS], *m[2 * MOST_LAYERS], *v[2 * MOST_LAYERS], *g[2 * MOST_LAYERS]; /* weights, then biases */
    REAL *h[MOST_LAYERS + 1];                        /* inputs of each layer, and the outputs */
    REAL *delta[2], *row, *target;
};

static long layered_out(const struct call *call, struct layered *n, char *room)
{
    char *const begin = room;
    const long L = call->layers, ldn = APART_BY(AT_ONCE);
    long widest = 0;
    n->call = call;
    n->L = L;
    n->arrays = call->biases ? 2 * L : L;
    for (long l = 0; l <= L; l++) {
        n->size[l] = call->widths[l];
        n->ld[l] = PADDED(n->size[l], LANES);
        n->h[l] = taken(&room, n->size[l] * ldn);
        widest = n->size[l] > widest ? n->size[l] : widest;
    }
    for (long a = 0; a < n->arrays; a++) {
        const long count = a < L ? n->size[a + 1] * n->ld[a] : n->ld[a - L + 1];
        n->w[a] = taken(&room, count);
        n->g[a] = taken(&room, count);
        n->m[a] = call->first ? taken(&room, count) : n->w[a];
        n->v[a] = call->second ? taken(&room, count) : n->w[a];
    }
    n->delta[0] = taken(&room, widest * ldn);
    n->delta[1] = taken(&room, widest * ldn);
    n->row = taken(&room, call->outputs);
    return room - begin;
}

static void layered_moved(const struct call *call, struct layered *n, long lane, int stores)
{
    for (long a = 0; a < n->arrays; a++) {
        const long l = a % n->L, rows = a < n->L ? n->size[l + 1] : 1, columns = a < n->L ? n->size[l] : n->size[l + 1];
        void *const *kinds[] = {call->weights, call->first, call->second};
        REAL *own[] = {n->w[a], n->m[a], n->v[a]};
        for (int kind = 0; kind < 3; kind++) {
            if (!kinds[kind]) continue;
            REAL *array = (REAL *)kinds[kind][a] + lane * rows * columns;
            if (stores) store(0, array, rows, columns, own[kind], n->ld[a < n->L ? l : l + 1]);
            else load(0, array, rows, columns, own[kind], n->ld[a < n->L ? l : l + 1]);
        }
    }
}

/* z <- phi(z + b), rows of ld. Of NaN it is NaN. */
static APART void activated(REAL *restrict z, long rows, long ld, REAL scale, const REAL *b, int bends, REAL slope)
{
    for (long i = 0; i < rows; i++) {
        const REAL shift = b ? b[i] : 0;
        for (long j = 0; j < ld; j++) {
            const REAL x = scale * z[i * ld + j] + shift;
            z[i * ld + j] = bends && x < 0 ? (slope == 0 ? 0 : slope * x) : x;
        }
    }
}

/* delta <- delta phi'(h), where h > 0 if and only if what it came from is. */
static APART void gated(REAL *restrict delta, const REAL *restrict h, long count, REAL slope)
{
    for (long j = 0; j < count; j++)
        delta[j] = h[j] <= 0 ? (slope == 0 ? 0 : slope * delta[j]) : delta[j];
}

/* Gradients of some samples, added to what is there unless they are the first. */
static APART void passed(struct layered *n, long lane, const int64_t *rows, long first, long some, int adds)
{
    const struct call *call = n->call;
    const long L = n->L, D = call->inputs, C = call->outputs, columns = PADDED(some, LANES), ld = APART_BY(some);
    const int bends = call->bends;
    const REAL slope = (REAL)call->slope;
    const REAL *y[AT_ONCE];
    for (long s = 0; s < some; s++) {
        const long at = lane * call->samples + (rows ? rows[first + s] : first + s);
        const REAL *x = (const REAL *)call->x + at * D;
        for (long d = 0; d < D; d++) n->h[0][d * ld + s] = x[d];
        y[s] = (const REAL *)call->y + at * call->targets;
    }
    for (long d = 0; d < D; d++)
        for (long s = some; s < ld; s++) n->h[0][d * ld + s] = 0;
    for (long l = 0; l < L; l++) {
        times(n->size[l + 1], n->w[l], n->ld[l], 1, n->h[l], ld, n->size[l], columns, n->h[l + 1], ld, 0);
        activated(n->h[l + 1], n->size[l + 1], ld, (REAL)call->multipliers[l], call->biases ? n->w[L + l] : 0,
                  bends && l < L - 1, slope);
    }
    REAL *delta = n->delta[0], *next = n->delta[1];
    for (long s = 0; s < ld; s++) {
        for (long c = 0; c < C; c++) n->row[c] = n->h[L][c * ld + s];
        if (s < some) residual(call, n->row, y[s], n->row);
        for (long c = 0; c < C; c++) delta[c * ld + s] = s < some ? n->row[c] : 0;
    }
    for (long l = L - 1; l >= 0; l--) {
        const REAL c = (REAL)call->multipliers[l];
        if (call->biases)
            for (long i = 0; i < n->size[l + 1]; i++) {
                REAL sum = 0;
                for (long s = 0; s < some; s++) sum += delta[i * ld + s];
                n->g[L + l][i] = sum + (adds ? n->g[L + l][i] : 0);
            }
        for (long k = 0; c != 1 && k < n->size[l + 1] * ld; k++) delta[k] *= c;
        times_transposed(n->size[l + 1], delta, ld, columns, n->h[l], n->size[l], n->g[l], n->ld[l], adds);
        if (!l) break;
        times(n->size[l], n->w[l], 1, n->ld[l], delta, ld, n->size[l + 1], columns, next, ld, 0);
        if (bends) gated(next, n->h[l], n->size[l] * ld, slope);
        REAL *spare = delta;
        delta = next;
        next = spare;
    }
}

static int run_layered(const struct call *call)
{
    struct layered n = {0};
    const long bytes = layered_out(call, &n, 0), N = call->batch;
    char *room = aligned_alloc(64, PADDED(bytes, 64));
    if (!room) return 1;
    memset(room, 0, bytes);
    layered_out(call, &n, room);
    for (long lane = 0; lane < call->lanes; lane++) {
        layered_moved(call, &n, lane, 0);
        for (long step = 0; step < call->steps; step++) {
            const int64_t *rows = call->rows ? call->rows + (lane * call->steps + step) * N : 0;
            for (long first = 0; first < N; first += AT_ONCE)
                passed(&n, lane, rows, first, N - first < AT_ONCE ? N - first : AT_ONCE, first > 0);
            for (long a = 0; a < n.arrays; a++) {
                const struct of_rule p = numbers_of(call, lane, a, step);
                const long l = a % n.L, ld = n.ld[a < n.L ? l : l + 1], columns = a < n.L ? n.size[l] : n.size[l + 1];
                for (long i = 0; i < (a < n.L ? n.size[l + 1] : 1); i++)
                    update(call->rule, columns, n.w[a] + i * ld, n.g[a] + i * ld, n.m[a] + i * ld, n.v[a] + i * ld, &p);
            }
        }
        layered_moved(call, &n, lane, 1);
    }
    free(room);
    return 0;
}
