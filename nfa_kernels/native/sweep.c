/* Outputs, Jacobians and gradients of fully connected networks by one pass over their samples, forward and back.

One network after the other, some samples at a time, each a row, so that what the way back reads is still in the cache.
Derivatives of every output go back beside each other; the loss's are sums of these. No network's numbers depend on
another's. NaN and infinity stay what they are.
*/

#include "call.h"
#include "steps.h"
#include "elementary.h"
#include "bends.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define CACHED (1 << 19) /* bytes of a layer's derivatives of all outputs, at most, if it can be less */
#define MOST_ROWS 64
#define PART 96

/* What nfa_kernels/native/sweeps.py fills in. Arrays of layers are null where nobody asks for them. */
struct sweep {
    int64_t real_bytes, lanes, samples, layers, targets, bends, loss;
    int64_t x_steps[3], y_steps[3];     /* numbers from one network, sample and feature to the next */
    double slope, factor, scale;        /* of the activation; of a sample's residual; of the Jacobians that are written */
    const int64_t *widths;              /* (layers + 1) */
    const REAL *const *weights;         /* (layers) of (lanes, d_l, d_{l-1}) c_l W_l */
    const REAL *const *biases;          /* (layers) of (lanes, d_l), or null */
    const REAL *x, *y;                  /* of d_0 and `targets` features, which lie as they say; y is null without gradients */
    REAL *outputs;                      /* (lanes, samples, d_L) */
    REAL *const *inputs, *const *preactivations; /* (layers) of (lanes, d_L samples, d_{l-1}) and (.., d_l) */
    REAL *const *gradients;             /* (layers) of (lanes, d_l, d_{l-1}), or null */
    REAL *const *of_biases;             /* (layers) of (lanes, d_l), or null */
    double *const *grams;               /* (layers) of (lanes, d_{l-1}, d_{l-1}) F^T F of what `inputs` would be */
    double *const *unit_grams;          /* (layers) of (lanes, d_l, d_l) the same of `preactivations`; behind the last hidden
                                           layer of slopes alone, without the last matrix */
    int64_t (*gram_room)(int64_t columns); /* as gram.h has them, which sums in double */
    void (*gram_added)(int64_t rows, int64_t columns, int64_t apart, int64_t is_single, const void *x, int adds, double *room);
    void (*gram_read)(int64_t columns, double scale, const double *room, double *found);
};

struct swept {
    const struct sweep *call;
    struct call loss;
    long L, rows, lowest, least; /* rows: samples at a time; layers below lowest have no Jacobians, below least nothing */
    long size[MOST_LAYERS + 1], columns[MOST_LAYERS + 1], ld[MOST_LAYERS + 1]; /* widths; in whole vectors; and apart */
    REAL *w[MOST_LAYERS], *turned[MOST_LAYERS], *g[MOST_LAYERS], *of_bias[MOST_LAYERS];
    REAL *h[MOST_LAYERS + 1], *kept[MOST_LAYERS + 1]; /* what enters layer l + 1, and its slopes */
    REAL *z, *back[2], *delta[2], *row;
    double *gram[MOST_LAYERS], *unit_gram[MOST_LAYERS];
    uint16_t *places;
};

static long swept_out(struct swept *n, char *room)
{
    const struct sweep *call = n->call;
    const long C = n->size[n->L];
    char *const begin = room;
    long widest = 0;
    for (long l = 0; l <= n->L; l++) widest = n->ld[l] > widest ? n->ld[l] : widest;
    for (long l = 0; l < n->L; l++) {
        n->w[l] = taken(&room, n->size[l + 1] * n->ld[l]);
        n->turned[l] = taken(&room, n->size[l] * n->ld[l + 1]);
        n->g[l] = call->gradients ? taken(&room, n->size[l + 1] * n->ld[l]) : 0;
        n->of_bias[l] = taken(&room, n->ld[l + 1]);
        n->gram[l] = (double *)room;
        if (call->grams[l]) room += PADDED(call->gram_room(n->size[l]), 64);
        n->unit_gram[l] = (double *)room;
        if (call->unit_grams[l]) room += PADDED(call->gram_room(n->size[l + 1]), 64);
    }
    for (long l = 0; l <= n->L; l++) {
        n->h[l] = taken(&room, n->rows * n->ld[l]);
        n->kept[l] = call->bends == RELU ? n->h[l] : taken(&room, n->rows * n->ld[l]);
    }
    n->z = taken(&room, n->rows * widest);
    for (int k = 0; k < 2; k++) {
        n->back[k] = taken(&room, C * n->rows * widest);
        n->delta[k] = taken(&room, n->rows * widest);
    }
    n->row = taken(&room, C + call->targets);
    n->places = (uint16_t *)taken(&room, n->rows * (widest + LANES) * 2 / (long)sizeof(REAL) + LANES);
    return room - begin;
}

static void of_network(struct swept *n, long lane)
{
    for (long l = 0; l < n->L; l++) {
        const long rows = n->size[l + 1], columns = n->size[l];
        const REAL *from = n->call->weights[l] + lane * rows * columns;
        load(0, from, rows, columns, n->w[l], n->ld[l]);
        load(1, from, rows, columns, n->turned[l], n->ld[l + 1]);
    }
}

/* Features of a sample, wherever they lie. */
static ALWAYS void gathered(const REAL *from, const int64_t *steps, long lane, long sample, long count, REAL *to)
{
    from += lane * steps[0] + sample * steps[1];
    for (long d = 0; d < count; d++) to[d] = from[d * steps[2]];
}

/* `times` for so many rows of w at a time that a block of their columns stays in the first cache. */
static ALWAYS void product(
    long T, const REAL *a, long at, long ai, const REAL *w, long ld, long rows, long columns, REAL *out, long ldo, int adds)
{
    for (long i = 0; i < rows; i += PART)
        times(T, a + i * ai, at, ai, w + i * ld, ld, rows - i < PART ? rows - i : PART, columns, out, ldo, adds || i > 0);
}

/* Outputs of some samples, and what the way back reads. */
static APART void forward(struct swept *n, long lane, long first, long some)
{
    const struct sweep *call = n->call;
    const REAL *x = call->x + lane * call->x_steps[0] + first * call->x_steps[1];
    for (long s = 0; call->gradients && s < some; s++)
        gathered(call->x, call->x_steps, lane, first + s, n->size[0], n->h[0] + s * n->ld[0]);
    for (long l = 0; l < n->L; l++) {
        const long ld = n->ld[l + 1], is_last = l == n->L - 1;
        REAL *z = is_last ? n->h[n->L] : n->z;
        if (call->biases)
            for (long s = 0; s < some; s++)
                memcpy(z + s * ld, call->biases[l] + lane * n->size[l + 1], n->size[l + 1] * sizeof(REAL));
        product(some, l ? n->h[l] : x, l ? n->ld[l] : call->x_steps[1], l ? 1 : call->x_steps[2], n->turned[l], ld, n->size[l],
                n->columns[l + 1], z, ld, call->biases != 0);
        if (!is_last) bent((int)call->bends, (REAL)call->slope, z, some, ld, n->columns[l + 1], n->h[l + 1], n->kept[l + 1]);
    }
    store(0, call->outputs + (lane * call->samples + first) * n->size[n->L], some, n->size[n->L], n->h[n->L], n->ld[n->L]);
}

/* Rows of derivatives, scaled, to where they are asked for: those of one output behind those of another. */
static APART void written(const struct swept *n, REAL *array, long lane, long first, long some, const REAL *from, long l)
{
    const long N = n->call->samples, C = n->size[n->L], width = n->size[l], ld = n->ld[l];
    const REAL scale = (REAL)n->call->scale;
    for (long c = 0; c < C; c++)
        for (long s = 0; s < some; s++) {
            REAL *restrict to = array + ((lane * C + c) * N + first + s) * width;
            const REAL *row = from + (s * C + c) * ld;
            for (long j = 0; j < width; j++) to[j] = scale * row[j];
        }
}

/* dloss/dW and dloss/db of a layer, numbered from 0, from dloss/dz of some samples. */
static APART void of_layer(struct swept *n, long l, const REAL *delta, long some, int adds)
{
    const long ld = n->ld[l + 1];
    product(n->size[l + 1], delta, 1, ld, n->h[l], n->ld[l], some, n->columns[l], n->g[l], n->ld[l], adds);
    for (long j = 0; j < n->columns[l + 1]; j += LANES) {
        vector sum = {0};
        if (adds) sum = AT(n->of_bias[l] + j);
        for (long s = 0; s < some; s++) sum += AT(delta + s * ld + j);
        AT(n->of_bias[l] + j) = sum;
    }
}

static APART void loss_of(struct swept *n, long lane, long first, long some)
{
    const long C = n->size[n->L], ld = n->ld[n->L];
    for (long s = 0; s < some; s++) {
        gathered(n->call->y, n->call->y_steps, lane, first + s, n->call->targets, n->row + C);
        residual(&n->loss, n->h[n->L] + s * ld, n->row + C, n->row);
        memcpy(n->delta[0] + s * ld, n->row, C * sizeof(REAL));
    }
}

/* dloss/dz = sum_c dloss/df_c df_c/dz. */
static APART void summed_up(
    const REAL *restrict r, long ldr, const REAL *restrict back, long C, long some, long ld, long columns,
    REAL *restrict delta)
{
    for (long s = 0; s < some; s++)
        for (long j = 0; j < columns; j += LANES) {
            vector sum = {0};
            for (long c = 0; c < C; c++) sum += r[s * ldr + c] * AT(back + (s * C + c) * ld + j);
            AT(delta + s * ld + j) = sum;
        }
}

/* out[t][j] = sum_i a[t][i] w[i][j] over places i of a list, for T rows t and J vectors of columns j. */
static ALWAYS void few_block(
    const int T, const int J, const REAL *a, long lda, const REAL *w, long ld, const uint16_t *places, long count, REAL *out,
    long ldo)
{
    vector found[4][4] = {{{0}}};
#pragma GCC unroll 2
    for (long k = 0; k < count; k++) {
        const long i = places[k];
#pragma GCC unroll 8
        for (int j = 0; j < J; j++) {
            vector row = AT(w + i * ld + j * LANES);
            HELD(row);
#pragma GCC unroll 8
            for (int t = 0; t < T; t++) found[t][j] += a[t * lda + i] * row;
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++)
#pragma GCC unroll 8
        for (int j = 0; j < J; j++) AT(out + t * ldo + j * LANES) = found[t][j];
}

#define FEW(T, J) case 8 * T + J: few_block(T, J, a + t * lda, lda, w, ld, places, count, out + t * ldo, ldo); break;

/* The same for all T rows and so many columns, of at most a block. */
static ALWAYS void few(
    long T, const REAL *a, long lda, const REAL *w, long ld, const uint16_t *places, long count, long columns, REAL *out, long ldo)
{
    for (long t = 0; t < T; t += 4)
        switch (8 * (T - t < 4 ? T - t : 4) + columns / LANES) {
            FEW(1, 1) FEW(2, 1) FEW(3, 1) FEW(4, 1)
            FEW(1, 2) FEW(2, 2) FEW(3, 2) FEW(4, 2)
#if BLOCK == 4
            FEW(1, 3) FEW(2, 3) FEW(3, 3) FEW(4, 3)
            FEW(1, 4) FEW(2, 4) FEW(3, 4) FEW(4, 4)
#endif
        }
}

/* Numbers of the units that pass something, those of NaN too; how many. The list has room for a vector more. */
static ALWAYS long open_units(const REAL *kept, long width, uint16_t *places)
{
    long count = 0;
#if defined(__AVX512F__)
    const vector none = {0};
    for (long i = 0; i < width; i += LANES) {
        const int within = width - i < LANES ? (1 << (width - i)) - 1 : (1 << LANES) - 1;
#if defined(NFA_FLOAT32)
        const int open = within & _mm512_cmp_ps_mask((__m512)AT(kept + i), (__m512)none, _CMP_NLE_UQ);
        const __m512i units =
            _mm512_add_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi32((int)i));
        _mm256_storeu_si256((__m256i *)(places + count), _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32((__mmask16)open, units)));
#else
        const int open = within & _mm512_cmp_pd_mask((__m512d)AT(kept + i), (__m512d)none, _CMP_NLE_UQ);
        const __m512i units = _mm512_add_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64(i));
        _mm_storeu_si128((__m128i *)(places + count), _mm512_cvtepi64_epi16(_mm512_maskz_compress_epi64((__mmask8)open, units)));
#endif
        count += __builtin_popcount((unsigned)open);
    }
#else
    for (long i = 0; i < width; i++) {
        places[count] = (uint16_t)i;
        count += !(kept[i] <= 0);
    }
#endif
    return count;
}

/* Whether derivatives for z_l are multiplied at the units alone that pass something: then others may be any numbers. */
static ALWAYS int is_sparse(const struct swept *n, long l)
{
    return n->call->bends == RELU && n->size[n->L] > 2 && n->size[l] <= UINT16_MAX;
}

/* Derivatives for what enters layer l from those for z_l, whose rows of one sample are `apart` from the next one's. Columns of the
   weights first, so that they stay near. */
static APART void passed_back(struct swept *n, long l, const REAL *rows, long apart, long some, REAL *next)
{
    const long C = n->size[n->L], ld = n->ld[l], width = n->size[l], ldw = n->ld[l - 1], columns = n->columns[l - 1];
    const REAL *w = n->w[l - 1];
    if (!is_sparse(n, l)) {
        product(C * some, rows, ld, 1, w, ldw, width, columns, next, ldw, 0);
        return;
    }
    long count[MOST_ROWS];
    for (long s = 0; s < some; s++) count[s] = open_units(n->kept[l] + s * ld, width, n->places + s * (width + LANES));
    for (long j = 0; j < columns; j += BLOCK * LANES)
        for (long s = 0; s < some; s++)
            few(C, rows + s * apart, ld, w + j, ldw, n->places + s * (width + LANES), count[s],
                columns - j < BLOCK * LANES ? columns - j : BLOCK * LANES, next + s * C * ldw + j, ldw);
}

/* For every sample the rows of the last layer times the slopes of its units, which are what enters it. */
static APART void first_rows(const struct swept *n, long some, REAL *rows)
{
    const long l = n->L - 1, C = n->size[n->L], ld = n->ld[l];
    for (long s = 0; s < some; s++) memcpy(rows + s * C * ld, n->w[l], C * ld * sizeof(REAL));
    if (n->call->bends == IDENTITY) return;
    for (long r = 0; r < some * C; r++)
        bent_back((int)n->call->bends, rows + r * ld, n->kept[l] + r / C * ld, 1, ld, n->columns[l]);
}

/* phi' of some samples at the units of layer l. */
static APART const REAL *slopes_of(const struct swept *n, long l, long some, REAL *to)
{
    const long ld = n->ld[l];
    const vector one = all(1);
    for (long k = 0; k < some * ld; k += LANES) AT(to + k) = one;
    bent_back((int)n->call->bends, to, n->kept[l], some, ld, n->columns[l]);
    return to;
}

static ALWAYS int wants_inputs(const struct swept *n, long l)
{
    return n->call->inputs[l] || n->call->grams[l];
}

static APART void backward(struct swept *n, long lane, long first, long some)
{
    const struct sweep *call = n->call;
    const long L = n->L, C = n->size[L];
    const int differentiates = call->gradients != 0, adds = first > 0;
    REAL *rows = n->back[0], *next = n->back[1], *r = n->delta[0], *delta = n->delta[1], *above = r;
    if (differentiates) {
        loss_of(n, lane, first, some);
        of_layer(n, L - 1, r, some, adds);
    }
    int has_rows = 0;
    for (long l = L - 1; l > n->least; l--) { /* to what the activation behind layer l gives */
        const long ld = n->ld[l], columns = n->columns[l];
        const int wants_rows = l > n->lowest, is_first = !has_rows, goes_on = wants_inputs(n, l - 1) || l - 1 > n->lowest;
        /* rows of all samples are the last layer's where slopes are left to the units that pass something */
        const int are_bent =
            call->preactivations[l - 1] || (goes_on && !is_sparse(n, l)) || (call->unit_grams[l - 1] && !is_first);
        if (wants_rows) {
            has_rows = 1;
            if (is_first && are_bent) first_rows(n, some, rows);
            for (long k = 0; !is_first && are_bent && call->bends != IDENTITY && k < some * C; k++)
                bent_back((int)call->bends, rows + k * ld, n->kept[l] + k / C * ld, 1, ld, columns);
            if (call->preactivations[l - 1]) written(n, call->preactivations[l - 1], lane, first, some, rows, l);
            if (call->unit_grams[l - 1]) {
                const REAL *summed = is_first ? slopes_of(n, l, some, next) : rows;
                call->gram_added((is_first ? 1 : C) * some, n->size[l], ld, sizeof(REAL) == sizeof(float), summed, adds,
                                 n->unit_gram[l - 1]);
            }
        }
        if (differentiates) {
            const int from_rows = wants_rows && !is_first;
            if (from_rows) summed_up(r, n->ld[L], rows, C, some, ld, columns, delta);
            else product(some, above, n->ld[l + 1], 1, n->w[l], ld, n->size[l + 1], columns, delta, ld, 0);
            if (call->bends != IDENTITY && !(from_rows && are_bent))
                bent_back((int)call->bends, delta, n->kept[l], some, ld, columns);
            of_layer(n, l - 1, delta, some, adds);
            REAL *spare = above == r ? n->z : above;
            above = delta;
            delta = spare;
        }
        if (wants_rows && goes_on) {
            if (is_first && !are_bent) passed_back(n, l, n->w[L - 1], 0, some, next);
            else passed_back(n, l, rows, C * ld, some, next);
            if (call->inputs[l - 1]) written(n, call->inputs[l - 1], lane, first, some, next, l - 1);
            if (call->grams[l - 1])
                call->gram_added(C * some, n->size[l - 1], n->ld[l - 1], sizeof(REAL) == sizeof(float), next, adds, n->gram[l - 1]);
            REAL *spare = rows;
            rows = next;
            next = spare;
        }
    }
}

/* 0: done; 1: there is no memory; 2: not what this was compiled for. */
int nfa_sweep(const struct sweep *call)
{
    struct swept n = {.call = call, .L = call->layers};
    if (call->layers > MOST_LAYERS || call->real_bytes != sizeof(REAL)) return 2;
    const long L = n.L, C = call->widths[L];
    long widest = 0;
    for (long l = 0; l <= L; l++) {
        n.size[l] = call->widths[l];
        n.columns[l] = PADDED(n.size[l], LANES);
        n.ld[l] = APART_BY(n.size[l]);
        widest = n.ld[l] > widest ? n.ld[l] : widest;
    }
    n.rows = CACHED / (C * widest * (long)sizeof(REAL)) / 4 * 4;
    n.rows = n.rows < 4 ? 4 : n.rows > MOST_ROWS ? MOST_ROWS : n.rows;
    n.rows = n.rows > call->samples ? call->samples : n.rows;
    /* Jacobians before the activation behind layer l, numbered from 1, are made of layers l > lowest */
    for (n.lowest = 0; n.lowest < L - 1; n.lowest++)
        if (wants_inputs(&n, n.lowest) || call->preactivations[n.lowest] || call->unit_grams[n.lowest]) break;
    n.least = call->gradients ? 0 : n.lowest;
    n.loss = (struct call){.outputs = C, .targets = call->targets, .loss = call->loss, .factor = call->factor};
    const long bytes = swept_out(&n, 0);
    char *room = aligned_alloc(64, PADDED(bytes, 64));
    if (!room) return 1;
    memset(room, 0, bytes);
    swept_out(&n, room);
    for (long lane = 0; lane < call->lanes; lane++) {
        of_network(&n, lane);
        for (long first = 0; first < call->samples; first += n.rows) {
            const long some = call->samples - first < n.rows ? call->samples - first : n.rows;
            forward(&n, lane, first, some);
            backward(&n, lane, first, some);
        }
        for (long l = 0; l < L; l++) {
            const long d = n.size[l], h = n.size[l + 1];
            const double scale = call->scale * call->scale;
            if (call->grams[l]) call->gram_read(d, scale, n.gram[l], call->grams[l] + lane * d * d);
            if (call->unit_grams[l]) call->gram_read(h, scale, n.unit_gram[l], call->unit_grams[l] + lane * h * h);
        }
        for (long l = 0; call->gradients && l < L; l++) {
            const long rows = n.size[l + 1], columns = n.size[l];
            store(0, call->gradients[l] + lane * rows * columns, rows, columns, n.g[l], n.ld[l]);
            if (call->of_biases) memcpy(call->of_biases[l] + lane * rows, n.of_bias[l], rows * sizeof(REAL));
        }
    }
    free(room);
    return 0;
}
