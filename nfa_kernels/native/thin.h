/* Products of the matrices of linear networks from the outputs down, and gradients of the loss through them; needs steps.h. */

/* What nfa_kernels/native/linear_networks.py fills in. */
struct thin {
    int64_t lanes, samples, layers, targets, loss;
    int64_t x_steps[3], y_steps[3]; /* numbers from one network, sample and feature to the next */
    double factor;                  /* of a sample's residual */
    const int64_t *widths;          /* (layers + 1) */
    const REAL *const *weights;     /* (layers) of (lanes, d_l, d_{l-1}) c_l W_l */
    const REAL *x, *y;              /* of d_0 and `targets` features; null where no gradients are asked for */
    REAL *const *products;          /* (layers) of (lanes, d_L, d_{l-1}) W_L .. W_l, null where nobody asks */
    REAL *outputs, *squares;        /* (lanes, samples, d_L); (lanes, layers) |dloss/d(c_l W_l)|^2 */
};

struct chained {
    const struct thin *call;
    struct call loss;
    long ld[MOST_LAYERS + 1];
    REAL *w[MOST_LAYERS], *product[MOST_LAYERS + 1]; /* product[l]: d_L by d_l; that of L is left out */
    REAL *x, *r, *y, *turned, *back[2], *tile;
};

static long chained_out(struct chained *n, char *room)
{
    const struct thin *call = n->call;
    const long L = call->layers, C = call->widths[L], some = call->samples;
    char *const begin = room;
    long widest = 0;
    for (long l = 0; l <= L; l++) {
        n->ld[l] = PADDED(call->widths[l], LANES);
        widest = n->ld[l] > widest ? n->ld[l] : widest;
    }
    for (long l = 0; l < L; l++) {
        n->w[l] = taken(&room, call->widths[l + 1] * n->ld[l]);
        n->product[l] = taken(&room, C * n->ld[l]);
    }
    n->x = taken(&room, some * n->ld[0]);
    n->r = taken(&room, some * n->ld[L]);
    n->y = taken(&room, call->targets);
    n->turned = taken(&room, call->widths[0] * n->ld[L]);
    n->back[0] = taken(&room, C * widest);
    n->back[1] = taken(&room, C * widest);
    n->tile = taken(&room, 4 * widest);
    return room - begin;
}

/* E, d_L by d_0: dloss/d(W_L .. W_1). */
static APART void end_to_end(struct chained *n, long lane, REAL *E)
{
    const struct thin *call = n->call;
    const long C = call->widths[call->layers], D = call->widths[0], ld = n->ld[0], ldr = n->ld[call->layers];
    for (long c = 0; c < C; c++)
        for (long d = 0; d < D; d++) n->turned[d * ldr + c] = n->product[0][c * ld + d];
    for (long s = 0; s < call->samples; s++) {
        const REAL *x = call->x + lane * call->x_steps[0] + s * call->x_steps[1];
        for (long d = 0; d < D; d++) n->x[s * ld + d] = x[d * call->x_steps[2]];
    }
    times(call->samples, n->x, ld, 1, n->turned, ldr, D, ldr, n->r, ldr, 0);
    store(0, call->outputs + lane * call->samples * C, call->samples, C, n->r, ldr);
    for (long s = 0; s < call->samples; s++) {
        const REAL *y = call->y + lane * call->y_steps[0] + s * call->y_steps[1];
        for (long c = 0; c < call->targets; c++) n->y[c] = y[c * call->y_steps[2]];
        residual(&n->loss, n->r + s * ldr, n->y, n->r + s * ldr);
    }
    times(C, n->r, 1, ldr, n->x, ld, call->samples, ld, E, ld, 0);
}

/* |dloss/dW_l|^2 for each layer: (W_L .. W_{l+1})^T times what E has become on its way up, row by row, added and forgotten. */
static APART void gradient_squares(struct chained *n, long lane)
{
    const struct thin *call = n->call;
    const long L = call->layers, C = call->widths[L];
    REAL *right = n->back[0], *next = n->back[1];
    end_to_end(n, lane, right);
    for (long l = 0; l < L; l++) {
        const long ld = n->ld[l], rows = call->widths[l + 1];
        REAL sum = 0;
        if (l == L - 1)
            for (long c = 0; c < C; c++) sum += dot(right + c * ld, right + c * ld, ld);
        for (long h = 0; l < L - 1 && h < rows; h += 4) {
            const long T = rows - h < 4 ? rows - h : 4;
            times(T, n->product[l + 1] + h, 1, n->ld[l + 1], right, ld, C, ld, n->tile, ld, 0);
            sum += dot(n->tile, n->tile, T * ld);
        }
        call->squares[lane * L + l] = sum;
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
    struct chained n = {.call = call};
    const long L = call->layers, C = call->widths[L];
    if (L > MOST_LAYERS) return 2;
    n.loss = (struct call){.outputs = C, .targets = call->targets, .loss = call->loss, .factor = call->factor};
    const long bytes = chained_out(&n, 0);
    char *room = aligned_alloc(64, PADDED(bytes, 64));
    if (!room) return 1;
    memset(room, 0, bytes);
    chained_out(&n, room);
    for (long lane = 0; lane < call->lanes; lane++) {
        for (long l = L - 1; l >= 0; l--) {
            const long rows = call->widths[l + 1], columns = call->widths[l], ld = n.ld[l];
            load(0, call->weights[l] + lane * rows * columns, rows, columns, n.w[l], ld);
            if (l == L - 1) memcpy(n.product[l], n.w[l], C * ld * sizeof(REAL));
            else times(C, n.product[l + 1], n.ld[l + 1], 1, n.w[l], ld, rows, ld, n.product[l], ld, 0);
            if (call->products[l]) store(0, call->products[l] + lane * C * columns, C, columns, n.product[l], ld);
        }
        if (call->x) gradient_squares(&n, lane);
    }
    free(room);
    return 0;
}
