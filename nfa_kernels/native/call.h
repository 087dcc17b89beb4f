/* What a call of compiled steps says, and the real type and the vectors that they are compiled for. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define BLOCK 4
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define BLOCK 2
#else
#define VECTOR_BYTES 16
#define BLOCK 2
#endif

#define ALWAYS inline __attribute__((always_inline))
#define APART __attribute__((noinline))
#define PADDED(size, to) (((size) + (to) - 1) / (to) * (to))
#define MOST_LAYERS 64
/* Rows are an odd number of vectors apart, or a column of them would share few places in a cache. */
#define APART_BY(numbers) ((PADDED(numbers, LANES) / LANES | 1) * LANES)
#define PASSED 64 /* samples at a time */
#define ROWS 8    /* of a gradient at a time */

enum { DESCENT, MOMENTUM, NESTEROV, ADAM, ADAMW, SGDW, RMSPROP, ADAGRAD, LION, SIGNSGD };
enum { SQUARED, HUBER, LOGISTIC, CROSS_ENTROPY };

struct node;

/* What nfa_kernels/native/call.py fills in; numbers are 64 bits wide, arrays contiguous, in the networks' order. */
struct call {
    int64_t real_bytes, lanes, steps, layers, inputs, outputs, targets, flips, rule, loss;
    int64_t samples, batch, count, own_paces; /* count: steps done before; own_paces: each network has its own */
    double factor, scale;          /* of a sample's residual; of the product of the matrices */
    const double *multipliers;     /* (layers) */
    const int64_t *widths;         /* (layers + 1) d_0 .. d_L */
    void *const *weights;          /* (layers) of (lanes, d_l, d_{l-1}) */
    void *const *first, *const *second; /* the same, state of the rule; null where it has none */
    const void *xx, *yx;           /* (lanes, D, D) and (lanes, C, D); or else null and */
    const void *x, *y;             /* (lanes, samples, D) and (lanes, samples, targets) */
    const int64_t *rows;           /* (lanes, steps, batch) of samples; null: all of them at each step */
    const double *rates, *decays;  /* (lanes, layers) */
    const double *numbers;         /* (lanes, 3): momentum, beta1 or rho; beta2; epsilon */
    const double *paces;           /* (steps) or (lanes, steps) factors on the rates */
    const struct node *nodes;      /* of a graph, whose arrays have shapes of their own; see graph.h */
    int64_t node_count, positions; /* positions: tokens of a sample, or else 0 */
    int64_t first_output, output_count; /* whose derivatives are tapped */
    int64_t wide;                  /* a graph's weights and states are double, whatever is passed */
    void *const *taps;             /* of (lanes, out, M), where steps are not made but derivatives found: see taps.h */
    void *found;                   /* (lanes, samples, C) outputs that go with them */
    int64_t looks;                 /* how often weights are wanted on the way */
    const int64_t *look_steps;     /* (looks) after so many of these steps, increasing */
    const int64_t *look_frames;    /* (looks) which of the frames each of them fills */
    void *const *frames;           /* (layers) of (looks, lanes, rows, columns) weights then */
    const int64_t *shapes;         /* (layers, 3) of a graph's arrays: rows, columns, whether they are held transposed */
};

#if defined(NFA_FLOAT32)
#define REAL float
#define MASK int32_t
#define LANES (VECTOR_BYTES / 4)
#define SQRT sqrtf
#define EXP expf
#else
#define REAL double
#define MASK int64_t
#define LANES (VECTOR_BYTES / 8)
#define SQRT sqrt
#define EXP exp
#endif
