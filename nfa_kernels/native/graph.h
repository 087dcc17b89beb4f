/* A network that is a graph of layers, as compiled steps see it: nodes one behind the other, and where their numbers lie.

What flows has features as rows. Vectors (d, samples), images (c, h, w, samples), tokens (d, samples, tokens), where
tokens of a sample are padded to whole vectors. Some samples go through the whole network at a time, so that what the
way back reads is still in the cache.
*/

#include "steps.h"
#include "wide.h"
#include "elementary.h"
#include "bends.h"
#include "gathered.h"

enum {
    LINEAR, CONVOLUTION, ACTIVATION, NORM, AVERAGE, MAXIMUM, SAME, TOKENS_FLAT, ENTER, ADD, ATTENTION, EMBEDDING, POSITIONS,
    MEAN, LAST
};
enum { VECTORS, IMAGES, TOKENS };

/* What nfa_kernels/native/graphs.py fills in. */
struct node {
    int64_t kind, needed;              /* needed: whether a layer before has parameters */
    int64_t before, after;             /* form of what enters and leaves */
    int64_t inputs, outputs;           /* features */
    int64_t high, wide, down, across;  /* of images that enter and leave, or else 1 */
    int64_t kernel, stride, first, last; /* first, last: zeros above and left, below and right; of pools kernel is a side */
    int64_t how;                       /* activation; heads; groups */
    int64_t flag;                      /* causal; root mean square alone */
    int64_t arrays[8];                 /* parameters, -1 where there is none */
    int64_t taps[4];                   /* where derivatives for what its maps give are written, -1: nowhere */
    double number;                     /* slope; epsilon; scale of scores */
};

struct array {
    long rows, columns, ld, flips; /* as held */
    REAL *w, *m, *v, *g, *e;       /* e: what the network computes with */
    double *wide[4];               /* w, m, v and g of weights that are double beside float */
};

struct place {
    const REAL *in;
    REAL *out, *kept, *more, *other;
    long lin, lout; /* between rows of what enters and leaves */
    long plane, row;  /* of a convolution's image with its border */
    long *places;   /* of a convolution's patch, and of its way back */
};

struct graph {
    const struct call *call;
    long samples, lanes, tokens; /* at a time; the same, padded; tokens of a sample, padded */
    long some;                   /* of these, those at work, */
    long lane, first;            /* of this network, the first of them among all samples */
    long has_images;
    long output;                 /* that is differentiated, while taps are made */
    struct array *array;
    struct place *at;
    REAL *x;
    REAL *spare[16]; /* numbers that go back */
    REAL *scratch[4];
    long spares, widest;
};

#define MOST_SPARES 16

static ALWAYS long form_ld(const struct graph *n, int form, long pixels)
{
    if (form == TOKENS) return APART_BY(n->samples * n->tokens);
    return form == IMAGES ? pixels * n->lanes : n->lanes;
}

/* Columns that are computed of rows of this form. */
static ALWAYS long form_columns(const struct graph *n, int form, long pixels)
{
    if (form == TOKENS) return n->some * n->tokens;
    if (form == IMAGES) return pixels * n->lanes;
    /* images go over all lanes, and find zeros where there is no sample */
    return n->has_images ? n->lanes : PADDED(n->some, LANES);
}

#define COLUMNS_IN(n, o) form_columns(n, (o)->before, (o)->high * (o)->wide)
#define COLUMNS_OUT(n, o) form_columns(n, (o)->after, (o)->down * (o)->across)

static ALWAYS struct array *array_of(const struct graph *n, const struct node *o, int index)
{
    return o->arrays[index] < 0 ? 0 : n->array + o->arrays[index];
}

/* Sum of a row's columns. */
static ALWAYS REAL row_sum(const REAL *row, long columns)
{
    vector sum = {0};
    REAL total = 0;
    for (long j = 0; j < columns; j += LANES) sum += AT(row + j);
    for (long k = 0; k < LANES; k++) total += sum[k];
    return total;
}

/* Rows of a matrix plus a number for each. */
static ALWAYS void shifted(REAL *z, long rows, long ld, long columns, const REAL *b)
{
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j += LANES) AT(z + i * ld + j) += b[i];
}

/* Derivatives for what a map gives, (rows, columns), to where they are asked for: row by row, those of one output and of
some samples in one run. */
static APART void tapped(const struct graph *n, long tap, const REAL *delta, long ld, long rows, int form, long pixels)
{
    const struct call *call = n->call;
    if (!call->taps || tap < 0) return;
    const long P = form == TOKENS ? call->positions : pixels, M = call->output_count * call->batch * P;
    REAL *to = (REAL *)call->taps[tap] + n->lane * rows * M + (n->output * call->batch + n->first) * P;
    for (long i = 0; i < rows; i++, to += M) {
        const REAL *from = delta + i * ld;
        if (form == TOKENS)
            for (long s = 0; s < n->some; s++) memcpy(to + s * P, from + s * n->tokens, P * sizeof(REAL));
        else
            for (long p = 0; p < P; p++) memcpy(to + p * n->some, from + p * n->lanes, n->some * sizeof(REAL));
    }
}
