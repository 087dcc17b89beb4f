/* Steps of one network that is a product of matrices; of one real type, REAL. See fused.c for what a call says. */

#include "products.h"
#include "rules.h"

struct network {
    const struct call *call;
    long L, T;                /* matrices; rows of the thin side */
    long size[MOST_LAYERS + 1]; /* widths from the wide end's side: matrix l is size[l + 1] by size[l] */
    long ld[MOST_LAYERS + 1];   /* the same, padded */
    REAL *w[MOST_LAYERS], *m[MOST_LAYERS], *v[MOST_LAYERS];
    REAL *chain[MOST_LAYERS + 1]; /* chain[l], T by ld[l]: product of the matrices from l to the last; [L] is unused */
    REAL *back[2];                /* dloss/d(end to end) times what comes before a matrix, T by ld */
    REAL *xx, *yx;                /* moments */
    REAL *x, *outputs, *row;      /* PASSED rows of samples; their outputs; one sample's outputs */
    REAL *grown;                  /* ROWS rows of a gradient */
};

/* Between a stack's array of matrices (rows, columns) and a padded one; transposed where inputs are the thin side. What
is behind the columns becomes zero: a network before that was not finite may have left no number there. */
static APART void load(int flips, const REAL *from, long rows, long columns, REAL *to, long ld)
{
    if (!flips && columns == ld) {
        memcpy(to, from, rows * ld * sizeof(REAL));
        return;
    }
    memset(to, 0, (flips ? columns : rows) * ld * sizeof(REAL));
    for (long i = 0; i < rows; i++) {
        if (!flips) memcpy(to + i * ld, from + i * columns, columns * sizeof(REAL));
        for (long j = 0; flips && j < columns; j++) to[j * ld + i] = from[i * columns + j];
    }
}

static APART void store(int flips, REAL *into, long rows, long columns, const REAL *from, long ld)
{
    if (!flips && columns == ld) {
        memcpy(into, from, rows * ld * sizeof(REAL));
        return;
    }
    for (long i = 0; i < rows; i++) {
        if (!flips) memcpy(into + i * columns, from + i * ld, columns * sizeof(REAL));
        for (long j = 0; flips && j < columns; j++) into[i * columns + j] = from[j * ld + i];
    }
}

/* r[c] from outputs o[c] and targets y[c], the gradient of the loss of one sample; r may be o. */
static APART void residual(const struct call *call, const REAL *o, const REAL *y, REAL *r)
{
    const long C = call->outputs;
    const REAL factor = (REAL)call->factor;
    REAL largest = o[0], total = 0, weights = 0;
    switch (call->loss) {
    case SQUARED:
        for (long c = 0; c < C; c++) r[c] = (o[c] - y[c]) * factor;
        break;
    case HUBER:
        for (long c = 0; c < C; c++) {
            REAL d = o[c] - y[c];
            r[c] = (d < -y[C] ? -y[C] : d > y[C] ? y[C] : d) * factor;
        }
        break;
    case LOGISTIC:
        for (long c = 0; c < C; c++) r[c] = (1 / (1 + EXP(-o[c])) - (y[c] < 0 ? 0 : y[c])) * factor;
        break;
    case CROSS_ENTROPY:
        for (long c = 1; c < C; c++) largest = o[c] > largest ? o[c] : largest;
        for (long c = 0; c < C; c++) weights += y[c];
        for (long c = 0; c < C; c++) total += r[c] = EXP(o[c] - largest);
        for (long c = 0; c < C; c++) r[c] = (r[c] / total * weights - y[c]) * factor;
        break;
    }
}

/* E, T by ld[0]: the gradient of the loss with respect to the end-to-end matrix chain[0], from moments. */
static APART void from_moments(struct network *n, REAL *E)
{
    const long ld = n->ld[0], T = n->T;
    const REAL scale = (REAL)n->call->scale;
    if (n->call->flips) times(T, n->xx, T, 1, n->chain[0], ld, T, ld, E, ld, 0);
    else times(T, n->chain[0], ld, 1, n->xx, ld, n->size[0], ld, E, ld, 0);
    for (long k = 0; k < T * ld; k++) E[k] = (scale * E[k] - n->yx[k]) * scale;
}

/* The same from samples, PASSED at a time. */
static APART void from_samples(struct network *n, long lane, long step, REAL *E)
{
    const struct call *call = n->call;
    const long D = call->inputs, C = call->outputs, T = n->T, ld = n->ld[0], N = call->batch;
    const long ldx = PADDED(D, LANES), ldo = call->flips ? ld : PASSED;
    const REAL scale = (REAL)call->scale;
    for (long first = 0; first < N; first += PASSED) {
        const long some = N - first < PASSED ? N - first : PASSED;
        const REAL *y[PASSED];
        for (long s = 0; s < some; s++) {
            long at = call->rows ? call->rows[(lane * call->steps + step) * N + first + s] : first + s;
            memcpy(n->x + s * ldx, (const REAL *)call->x + (lane * call->samples + at) * D, D * sizeof(REAL));
            y[s] = (const REAL *)call->y + (lane * call->samples + at) * call->targets;
        }
        /* outputs[s][c] at s ldo + c where the wide side is the outputs', else [c][s] at c ldo + s */
        if (call->flips) times(some, n->x, ldx, 1, n->chain[0], ld, T, ld, n->outputs, ldo, 0);
        else times_transposed(T, n->chain[0], ld, ld, n->x, some, n->outputs, ldo, 0);
        for (long s = 0; s < some; s++) {
            REAL *o = n->outputs + (call->flips ? s * ldo : s);
            const long next = call->flips ? 1 : ldo;
            for (long c = 0; c < C; c++) n->row[c] = scale * o[c * next];
            residual(call, n->row, y[s], n->row);
            for (long c = 0; c < C; c++) o[c * next] = scale * n->row[c];
        }
        if (call->flips) times(T, n->x, 1, ldx, n->outputs, ld, some, ld, E, ld, first > 0);
        else times(T, n->outputs, ldo, 1, n->x, ld, some, ld, E, ld, first > 0);
    }
}

/* Rows of a matrix by a rule that has a state; what is behind the columns stays zero. */
static APART void rows_updated(
    struct network *n, long l, long first, long rows, const REAL *grown, const struct of_rule *p)
{
    const long ld = n->ld[l], columns = n->size[l];
    REAL *w = n->w[l] + first * ld, *m = n->m[l], *v = n->v[l];
    m = m ? m + first * ld : w;
    v = v ? v + first * ld : w;
    update(n->call->rule, rows * ld, w, grown, m, v, p);
    for (long i = 0; columns < ld && i < rows; i++)
        for (long j = i * ld + columns; j < (i + 1) * ld; j++) {
            w[j] = 0;
            if (n->m[l]) m[j] = 0;
            if (n->v[l]) v[j] = 0;
        }
}

/* One step: the chain from the thin end, the gradient of its end, and back through the matrices, each then updated. */
static APART void one_step(struct network *n, long lane, long step, const struct of_rule *of)
{
    const struct call *call = n->call;
    const long L = n->L, T = n->T;
    n->chain[L - 1] = n->w[L - 1];
    for (long l = L - 2; l >= 0; l--)
        times(T, n->chain[l + 1], n->ld[l + 1], 1, n->w[l], n->ld[l], n->size[l + 1], n->ld[l], n->chain[l], n->ld[l], 0);
    REAL *right = n->back[0], *next = n->back[1];
    if (call->x) from_samples(n, lane, step, right);
    else from_moments(n, right);
    for (long l = 0; l < L - 1; l++) {
        const long ld = n->ld[l], ldn = n->ld[l + 1], rows = n->size[l + 1];
        const REAL *left = n->chain[l + 1];
        REAL *w = n->w[l];
        if (T <= 4 && call->rule == DESCENT) {
            descend(T, right, ld, left, ldn, of[l].rate, of[l].shrinks, w, rows, next, ldn);
        } else {
            if (T > 4) times_transposed(T, right, ld, ld, w, rows, next, ldn, 0);
            for (long i = 0; i < rows; i += ROWS) {
                const long some = rows - i < ROWS ? rows - i : ROWS;
                if (T > 4) times(some, left + i, 1, ldn, right, ld, T, ld, n->grown, ld, 0);
                else differentiate(T, right, ld, left + i, ldn, w + i * ld, some, n->grown, next + i, ldn);
                rows_updated(n, l, i, some, n->grown, of + l);
            }
        }
        for (long t = 0; t < T && rows < ldn; t++)
            for (long j = rows; j < ldn; j++) next[t * ldn + j] = 0;
        REAL *spare = right;
        right = next;
        next = spare;
    }
    rows_updated(n, L - 1, 0, T, right, of + L - 1);
}

static REAL *taken(char **room, long count)
{
    REAL *found = (REAL *)*room;
    *room += PADDED(count * (long)sizeof(REAL), 64);
    return found;
}

/* Lay a network out in a room, or only measure how much it takes. */
static long laid_out(const struct call *call, struct network *n, char *room)
{
    char *const begin = room;
    const long L = call->layers, flips = call->flips;
    long widest = 0;
    n->call = call;
    n->L = L;
    n->T = call->widths[flips ? 0 : L];
    for (long l = 0; l <= L; l++) {
        n->size[l] = call->widths[flips ? L - l : l];
        n->ld[l] = PADDED(n->size[l], LANES);
        widest = n->ld[l] > widest ? n->ld[l] : widest;
    }
    for (long l = 0; l < L; l++) {
        const long count = n->size[l + 1] * n->ld[l];
        n->w[l] = taken(&room, count);
        n->m[l] = call->first ? taken(&room, count) : 0;
        n->v[l] = call->second ? taken(&room, count) : 0;
        n->chain[l] = taken(&room, n->T * n->ld[l]);
    }
    n->back[0] = taken(&room, n->T * widest);
    n->back[1] = taken(&room, n->T * widest);
    n->grown = taken(&room, ROWS * widest);
    if (call->x) {
        n->x = taken(&room, PASSED * PADDED(call->inputs, LANES));
        n->outputs = taken(&room, PASSED * PADDED(call->outputs, LANES));
        n->row = taken(&room, call->outputs);
    } else {
        n->xx = taken(&room, flips ? n->T * n->T : n->size[0] * n->ld[0]);
        n->yx = taken(&room, n->T * n->ld[0]);
    }
    return room - begin;
}

/* Weights as they are, into the frame of a look. */
static APART void seen(const struct call *call, const struct network *n, long lane, long look)
{
    for (long l = 0; l < n->L; l++) {
        const long at = call->flips ? n->L - 1 - l : l; /* in the stack's order */
        const long rows = call->widths[at + 1], columns = call->widths[at];
        REAL *into = (REAL *)call->frames[at] + (call->look_frames[look] * call->lanes + lane) * rows * columns;
        store(call->flips, into, rows, columns, n->w[l], n->ld[l]);
    }
}

/* Between the arrays of a stack and the room. */
static APART void moved(const struct call *call, struct network *n, long lane, int stores)
{
    for (long l = 0; l < n->L; l++) {
        const long at = call->flips ? n->L - 1 - l : l; /* in the stack's order */
        const long rows = call->widths[at + 1], columns = call->widths[at], begin = lane * rows * columns;
        void *const *kinds[] = {call->weights, call->first, call->second};
        REAL *own[] = {n->w[l], n->m[l], n->v[l]};
        for (int kind = 0; kind < 3; kind++) {
            if (!kinds[kind]) continue;
            REAL *array = (REAL *)kinds[kind][at] + begin;
            if (stores) store(call->flips, array, rows, columns, own[kind], n->ld[l]);
            else load(call->flips, array, rows, columns, own[kind], n->ld[l]);
        }
    }
    if (!stores && !call->x) {
        const long D = call->inputs, C = call->outputs;
        load(0, (const REAL *)call->xx + lane * D * D, D, D, n->xx, call->flips ? D : n->ld[0]);
        load(call->flips, (const REAL *)call->yx + lane * C * D, C, D, n->yx, n->ld[0]);
    }
}

static int run(const struct call *call)
{
    struct network n = {0};
    const long bytes = laid_out(call, &n, 0);
    char *room = aligned_alloc(64, PADDED(bytes, 64));
    if (!room) return 1;
    memset(room, 0, bytes);
    laid_out(call, &n, room);
    for (long lane = 0; lane < call->lanes; lane++) {
        moved(call, &n, lane, 0);
        long look = 0;
        for (long step = 0; step < call->steps; step++) {
            struct of_rule of[MOST_LAYERS];
            for (long l = 0; l < n.L; l++)
                of[l] = numbers_of(call, lane, call->flips ? n.L - 1 - l : l, step);
            one_step(&n, lane, step, of);
            if (look < call->looks && call->look_steps[look] == step + 1) seen(call, &n, lane, look++);
        }
        moved(call, &n, lane, 1);
    }
    free(room);
    return 0;
}
