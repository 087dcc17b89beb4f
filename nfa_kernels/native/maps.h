/* Linear maps, convolutions and pools of a graph, forward and back; see graph.h. */

static APART void mapped(const struct graph *n, const struct node *o, const struct place *p)
{
    const struct array *w = array_of(n, o, 0), *b = array_of(n, o, 1);
    const long columns = COLUMNS_IN(n, o);
    times(o->outputs, w->e, w->ld, 1, p->in, p->lin, o->inputs, columns, p->out, p->lout, 0);
    if (b) shifted(p->out, o->outputs, p->lout, columns, b->e);
}

/* Gradients of W and b from derivatives for W h + b, and those for h, if they are asked for, by W^T. */
static APART void map_back(
    const struct graph *n, const struct array *w, const struct array *b, const REAL *h, long ldh, const REAL *delta, long ld, long outputs,
    long inputs, long columns, REAL *below, long ldb, int adds)
{
    if (!n->call->taps) {
        turned(h, inputs, ldh, columns, n->scratch[3], w->ld);
        times(outputs, delta, ld, 1, n->scratch[3], w->ld, columns, w->ld, w->g, w->ld, 1);
        for (long i = 0; b && i < outputs; i++) b->g[i] += row_sum(delta + i * ld, columns);
    }
    if (below) times(inputs, w->e, 1, w->ld, delta, ld, outputs, columns, below, ldb, adds);
}

/* An image with zeros around it; rows of pixels lie wide + first + last samples apart. */
static APART void bordered(
    const REAL *h, long channels, long high, long wide, long lanes, long first, long last, long plane, REAL *to)
{
    const long across = wide + first + last, row = across * lanes;
    for (long c = 0; c < channels; c++) {
        REAL *own = to + c * plane;
        memset(own, 0, first * row * sizeof(REAL));
        for (long y = 0; y < high; y++) {
            REAL *at = own + (first + y) * row;
            memset(at, 0, first * lanes * sizeof(REAL));
            memcpy(at + first * lanes, h + (c * high + y) * wide * lanes, wide * lanes * sizeof(REAL));
            memset(at + (first + wide) * lanes, 0, last * lanes * sizeof(REAL));
        }
        memset(own + (first + high) * row, 0, last * row * sizeof(REAL));
    }
}

/* Where the numbers of a patch lie, by channel, row and column of the kernel. */
static void patch_places(long *places, long channels, long kernel, long plane, long row, long lanes)
{
    for (long c = 0; c < channels; c++)
        for (long i = 0; i < kernel; i++)
            for (long j = 0; j < kernel; j++) *places++ = c * plane + i * row + j * lanes;
}

static APART void convolved(const struct graph *n, const struct node *o, const struct place *p)
{
    const struct array *w = array_of(n, o, 0), *b = array_of(n, o, 1);
    const long lanes = n->lanes, patch = o->inputs * o->kernel * o->kernel;
    bordered(p->in, o->inputs, o->high, o->wide, lanes, o->first, o->last, p->plane, p->kept);
    for (long y = 0; y < o->down; y++) {
        const REAL *from = p->kept + y * o->stride * p->row;
        REAL *to = p->out + y * o->across * lanes;
        if (o->stride == 1) gathered(o->outputs, w->e, w->ld, from, p->places, patch, o->across * lanes, to, p->lout);
        else
            for (long x = 0; x < o->across; x++)
                gathered(o->outputs, w->e, w->ld, from + x * o->stride * lanes, p->places, patch, lanes, to + x * lanes,
                         p->lout);
    }
    if (b) shifted(p->out, o->outputs, p->lout, o->down * o->across * lanes, b->e);
}

/* What comes back to an image through strides: each patch's share is added where it lies. */
static APART void strided_back(
    const struct graph *n, const struct node *o, const struct place *p, const struct array *w, const REAL *delta, REAL *below)
{
    const long lanes = n->lanes, kernel = o->kernel;
    REAL *image = n->scratch[0];
    memset(image, 0, o->inputs * p->plane * sizeof(REAL));
    for (long y = 0; y < o->down; y++)
        for (long x = 0; x < o->across; x++)
            for (long i = 0; i < kernel; i++)
                for (long j = 0; j < kernel; j++)
                    times(o->inputs, w->e + i * kernel + j, kernel * kernel, w->ld, delta + (y * o->across + x) * lanes,
                          p->lout, o->outputs, lanes,
                          image + (y * o->stride + i) * p->row + (x * o->stride + j) * lanes, p->plane, 1);
    for (long c = 0; c < o->inputs; c++)
        for (long y = 0; y < o->high; y++)
            memcpy(below + (c * o->high + y) * o->wide * lanes,
                   image + c * p->plane + (o->first + y) * p->row + o->first * lanes, o->wide * lanes * sizeof(REAL));
}

static APART void convolved_back(
    const struct graph *n, const struct node *o, const struct place *p, const REAL *delta, REAL *below)
{
    const struct array *w = array_of(n, o, 0), *b = array_of(n, o, 1);
    const long lanes = n->lanes, kernel = o->kernel, squares = kernel * kernel, run = o->across * lanes;
    const int whole = o->stride == 1;
    const struct runs s = {o->down, whole ? 1 : o->across, whole ? run : lanes, run, lanes, o->stride * p->row,
                           o->stride * lanes};
    tapped(n, o->taps[0], delta, p->lout, o->outputs, (int)o->after, o->down * o->across);
    if (!n->call->taps) {
        dotted(o->outputs, delta, p->lout, o->inputs * squares, p->kept, p->places, 0, &s, w->g, w->ld);
        for (long i = 0; b && i < o->outputs; i++) b->g[i] += row_sum(delta + i * p->lout, o->down * run);
    }
    if (!o->needed) return;
    const long first = kernel - 1 - o->first, last = kernel - 1 - o->last;
    if (!whole || first < 0 || last < 0) {
        strided_back(n, o, p, w, delta, below);
        return;
    }
    /* the convolution with the turned kernel */
    const long row = (o->across + first + last) * lanes, plane = APART_BY((o->down + first + last) * row);
    REAL *turned = n->scratch[1], *image = n->scratch[0];
    for (long c = 0; c < o->inputs; c++)
        for (long u = 0; u < o->outputs; u++)
            for (long k = 0; k < squares; k++)
                turned[(c * o->outputs + u) * squares + k] = w->e[u * w->ld + c * squares + squares - 1 - k];
    bordered(delta, o->outputs, o->down, o->across, lanes, first, last, plane, image);
    long *places = p->places + o->inputs * squares;
    patch_places(places, o->outputs, kernel, plane, row, lanes);
    for (long y = 0; y < o->high; y++)
        gathered(o->inputs, turned, o->outputs * squares, image + y * row, places, o->outputs * squares, o->wide * lanes,
                 below + y * o->wide * lanes, p->lin);
}

#define EACH_WINDOW                                   \
    for (long c = 0; c < o->inputs; c++)              \
        for (long y = 0; y < o->down; y++)            \
            for (long x = 0; x < o->across; x++)      \
                for (long s = 0; s < lanes; s += LANES)

/* The image's place of number k of a square. */
#define IN_WINDOW(k) (((c * o->high + y * side_y + (k) / side_x) * o->wide + x * side_x + (k) % side_x) * lanes + s)
#define OF_WINDOW (((c * o->down + y) * o->across + x) * lanes + s)

static APART void pooled(const struct graph *n, const struct node *o, const struct place *p)
{
    const long lanes = n->lanes, side_y = o->kernel ? o->kernel : o->high, side_x = o->kernel ? o->kernel : o->wide;
    EACH_WINDOW {
        vector found = AT(p->in + IN_WINDOW(0)), where = {0};
        for (long k = 1; k < side_y * side_x; k++) {
            const vector x_k = AT(p->in + IN_WINDOW(k));
            if (o->kind == AVERAGE) {
                found += x_k;
            } else {
                const mask keeps = x_k <= found;
                found = chosen(keeps, found, x_k);
                where = chosen(keeps, where, all((REAL)k));
            }
        }
        AT(p->out + OF_WINDOW) = o->kind == AVERAGE ? found / (REAL)(side_y * side_x) : found;
        if (o->kind == MAXIMUM) AT(p->kept + OF_WINDOW) = where;
    }
}

static APART void pooled_back(
    const struct graph *n, const struct node *o, const struct place *p, const REAL *delta, REAL *below)
{
    const long lanes = n->lanes, side_y = o->kernel ? o->kernel : o->high, side_x = o->kernel ? o->kernel : o->wide;
    const vector zero = {0};
    memset(below, 0, o->inputs * p->lin * sizeof(REAL));
    EACH_WINDOW {
        const vector own = AT(delta + OF_WINDOW), share = own / (REAL)(side_y * side_x);
        for (long k = 0; k < side_y * side_x; k++)
            AT(below + IN_WINDOW(k)) =
                o->kind == AVERAGE ? share : chosen(AT(p->kept + OF_WINDOW) == (REAL)k, own, zero);
    }
}
