/* Products of the matrices of linear networks from the outputs down, and gradients of the loss through them; needs steps.h. */

/* Of every network so many samples, which may lie anywhere; no x: there are none. */
struct samples {
    int64_t count, x_steps[3], y_steps[3]; /* numbers from one network, sample and feature to the next */
    const REAL *x, *y;                     /* of d_0 and `targets` features */
};

/* What nfa_kernels/native/linear_networks.py fills in. */
struct thin {
    int64_t lanes, layers, targets, loss;
    double factor;              /* of a sample's residual */
    const int64_t *widths;      /* (layers + 1) */
    const REAL *const *weights; /* (layers) of (lanes, d_l, d_{l-1}) c_l W_l */
    struct samples set;         /* with which gradients are asked for */
    REAL *const *products;      /* (layers) of (lanes, d_L, d_{l-1}) W_L .. W_l, null where nobody asks */
    REAL *outputs, *squares;    /* (lanes, samples, d_L); (lanes, layers) |dloss/d(c_l W_l)|^2 */
};

struct chained {
    const int64_t *widths;
    struct call loss;
    long L, C;
    long ld[MOST_LAYERS + 1];
    REAL *w[MOST_LAYERS], *product[MOST_LAYERS + 1]; /* product[l]: d_L by d_l; that of L is left out */
    REAL *x, *r, *y, *turned, *back[2], *tile;
};

static struct chained chain_of(long layers, const int64_t *widths, long targets, long loss, double factor)
{
    struct chained n = {.widths = widths, .L = layers, .C = widths[layers]};
    n.loss = (struct call){.outputs = n.C, .targets = targets, .loss = loss, .factor = factor};
    return n;
}

/* Lay it out in a room, or only measure how much it takes; some: samples at a time, the most. */
static long chained_out(struct chained *n, long some, char *room)
{
    const long L = n->L, C = n->C;
    char *const begin = room;
    long widest = 0;
    for (long l = 0; l <= L; l++) {
        n->ld[l] = PADDED(n->widths[l], LANES);
        widest = n->ld[l] > widest ? n->ld[l] : widest;
    }
    for (long l = 0; l < L; l++) {
        n->w[l] = taken(&room, n->widths[l + 1] * n->ld[l]);
        n->product[l] = taken(&room, C * n->ld[l]);
    }
    n->x = taken(&room, some * n->ld[0]);
    n->r = taken(&room, some * n->ld[L]);
    n->y = taken(&room, PADDED(n->loss.targets, LANES));
    n->turned = taken(&room, n->widths[0] * n->ld[L]);
    n->back[0] = taken(&room, C * widest);
    n->back[1] = taken(&room, C * widest);
    n->tile = taken(&room, 4 * widest);
    return room - begin;
}

/* W_L .. W_l for every layer, where it has been loaded. */
static APART void chain_up(struct chained *n)
{
    const long L = n->L;
    memcpy(n->product[L - 1], n->w[L - 1], n->C * n->ld[L - 1] * sizeof(REAL));
    for (long l = L - 2; l >= 0; l--)
        times(n->C, n->product[l + 1], n->ld[l + 1], 1, n->w[l], n->ld[l], n->widths[l + 1], n->ld[l], n->product[l],
              n->ld[l], 0);
    for (long c = 0; c < n->C; c++)
        for (long d = 0; d < n->widths[0]; d++) n->turned[d * n->ld[L] + c] = n->product[0][c * n->ld[0] + d];
}

static ALWAYS void features(const REAL *from, const int64_t *steps, long lane, long sample, long count, REAL *to)
{
    from += lane * steps[0] + sample * steps[1];
    if (steps[2] == 1) memcpy(to, from, count * sizeof(REAL));
    else
        for (long d = 0; d < count; d++) to[d] = from[d * steps[2]];
}

/* Outputs of samples, into n->r. */
static APART void outputs_of(struct chained *n, const struct samples *set, long lane)
{
    const long ldr = n->ld[n->L];
    times(set->count, set->x + lane * set->x_steps[0], set->x_steps[1], set->x_steps[2], n->turned, ldr, n->widths[0], ldr,
          n->r, ldr, 0);
}

/* E, d_L by d_0: dloss/d(W_L .. W_1), from outputs in n->r. */
static APART void end_to_end(struct chained *n, const struct samples *set, long lane, REAL *E)
{
    const long ld = n->ld[0], ldr = n->ld[n->L];
    for (long s = 0; s < set->count; s++) {
        features(set->x, set->x_steps, lane, s, n->widths[0], n->x + s * ld);
        features(set->y, set->y_steps, lane, s, n->loss.targets, n->y);
        residual(&n->loss, n->r + s * ldr, n->y, n->r + s * ldr);
    }
    times(n->C, n->r, 1, ldr, n->x, ld, set->count, ld, E, ld, 0);
}

/* |dloss/dW_l|^2 for each layer: (W_L .. W_{l+1})^T times what E has become on its way up, row by row, added and forgotten. */
static APART void gradient_squares(struct chained *n, const struct samples *set, long lane, REAL *squares)
{
    const long L = n->L, C = n->C;
    REAL *right = n->back[0], *next = n->back[1];
    end_to_end(n, set, lane, right);
    for (long l = 0; l < L; l++) {
        const long ld = n->ld[l], rows = n->widths[l + 1];
        REAL sum = 0;
        if (l == L - 1)
            for (long c = 0; c < C; c++) sum += dot(right + c * ld, right + c * ld, ld);
        for (long h = 0; l < L - 1 && h < rows; h += 4) {
            const long T = rows - h < 4 ? rows - h : 4;
            times(T, n->product[l + 1] + h, 1, n->ld[l + 1], right, ld, C, ld, n->tile, ld, 0);
            sum += dot(n->tile, n->tile, T * ld);
        }
        squares[l] = sum;
        if (l == L - 1) break;
        memset(next, 0, C * n->ld[l + 1] * sizeof(REAL));
        times_transposed(C, right, ld, ld, n->w[l], rows, next, n->ld[l + 1], 0);
        REAL *spare = right;
        right = next;
        next = spare;
    }
}

/* 0: done; 1: there is no memory; 2: not what this was compiled for. */
int nfa_thin(const struct thin *call)
{
    if (call->layers > MOST_LAYERS) return 2;
    struct chained n = chain_of(call->layers, call->widths, call->targets, call->loss, call->factor);
    const long L = n.L, C = n.C, bytes = chained_out(&n, call->set.count, 0);
    char *room = aligned_alloc(64, PADDED(bytes, 64));
    if (!room) return 1;
    memset(room, 0, bytes);
    chained_out(&n, call->set.count, room);
    for (long lane = 0; lane < call->lanes; lane++) {
        for (long l = L - 1; l >= 0; l--) {
            const long rows = call->widths[l + 1], columns = call->widths[l];
            load(0, call->weights[l] + lane * rows * columns, rows, columns, n.w[l], n.ld[l]);
        }
        chain_up(&n);
        for (long l = 0; l < L; l++) {
            const long columns = call->widths[l];
            if (call->products[l]) store(0, call->products[l] + lane * C * columns, C, columns, n.product[l], n.ld[l]);
        }
        if (!call->set.x) continue;
        outputs_of(&n, &call->set, lane);
        store(0, call->outputs + lane * call->set.count * C, call->set.count, C, n.r, n.ld[L]);
        gradient_squares(&n, &call->set, lane, call->squares + lane * L);
    }
    free(room);
    return 0;
}
