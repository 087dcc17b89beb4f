/* Many steps of networks that are graphs of layers, one network after the other, each while it is in the cache.

No network's numbers depend on another's. Sums may be taken in another order than they are written; NaN and infinity
stay what they are.
*/

#include "call.h"
#include "graph.h"
#include "pointwise.h"
#include "maps.h"
#include "tokens.h"

#define MOST_SAMPLES 128
#define CACHED (1 << 19) /* where the machine does not say how large its caches are */
#define LEAST_CACHED (1 << 18)
#define MOST_CACHED (1 << 21)

/* Bytes of what flows through a network at a time, at most, if it can be less: half of a core's second cache. */
static long cached(void)
{
    long found = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    found = sysconf(_SC_LEVEL2_CACHE_SIZE) / 2;
#endif
    if (found <= 0) return CACHED;
    return found < LEAST_CACHED ? LEAST_CACHED : found > MOST_CACHED ? MOST_CACHED : found;
}

/* Numbers that leave a node for so many samples. */
static long numbers_out(const struct graph *n, const struct node *o)
{
    return o->outputs * form_ld(n, (int)o->after, o->down * o->across);
}

static void sized(struct graph *n, long samples)
{
    const int has_tokens = n->call->positions > 0;
    n->samples = has_tokens ? samples : PADDED(samples, LANES);
    n->lanes = PADDED(n->samples, LANES);
    n->tokens = PADDED(n->call->positions, LANES);
}

/* As many samples at a time as the cache holds, whatever stack the network is in. */
static void choose_samples(struct graph *n)
{
    const struct call *call = n->call;
    const long bytes = cached();
    const int64_t most = call->batch < MOST_SAMPLES ? call->batch : MOST_SAMPLES, unit = call->positions ? 1 : LANES;
    for (long samples = most;; samples = samples - unit > unit ? samples - unit : unit) {
        long total = 0;
        sized(n, samples);
        for (long k = 0; k < call->node_count; k++) total += numbers_out(n, call->nodes + k);
        if (total * (long)sizeof(REAL) <= bytes || samples <= unit) {
            /* parts of about the same size */
            const long parts = (call->batch + samples - 1) / samples;
            sized(n, (call->batch + parts - 1) / parts);
            return;
        }
    }
}

static ALWAYS void widen(long *widest, long count)
{
    *widest = count > *widest ? count : *widest;
}

static long graph_laid_out(const struct call *call, struct graph *n, char *room)
{
    char *const begin = room;
    const REAL *in;
    long scratch[4] = {0}, depth = 0, deepest = 0, in_ld = form_ld(n, (int)call->nodes[0].before, call->nodes[0].high * call->nodes[0].wide);
    n->array = (struct array *)taken(&room, PADDED(call->layers * (long)sizeof(struct array), sizeof(REAL)) / sizeof(REAL));
    n->at = (struct place *)taken(&room, PADDED(call->node_count * (long)sizeof(struct place), sizeof(REAL)) / sizeof(REAL));
    const int writes = begin != 0;
    for (long a = 0; a < call->layers; a++) {
        const int64_t *shape = call->shapes + 3 * a;
        struct array own = {shape[2] ? shape[1] : shape[0], shape[2] ? shape[0] : shape[1], 0, shape[2], 0, 0, 0, 0, 0, {0}};
        own.ld = PADDED(own.columns, LANES);
        const long count = own.rows * own.ld;
        own.g = taken(&room, count);
        if (call->wide) {
            const long doubles = count * (long)(sizeof(double) / sizeof(REAL));
            own.e = taken(&room, count);
            own.wide[0] = (double *)taken(&room, doubles);
            own.wide[1] = call->first ? (double *)taken(&room, doubles) : own.wide[0];
            own.wide[2] = call->second ? (double *)taken(&room, doubles) : own.wide[0];
            own.wide[3] = (double *)taken(&room, doubles);
        } else {
            own.w = taken(&room, count);
            own.m = call->first ? taken(&room, count) : own.w;
            own.v = call->second ? taken(&room, count) : own.w;
            own.e = call->multipliers[a] == 1 ? own.w : taken(&room, count);
        }
        if (writes) n->array[a] = own;
    }
    n->x = taken(&room, (call->nodes[0].kind == EMBEDDING ? 1 : call->nodes[0].inputs) * in_ld);
    in = n->x;
    n->widest = 0;
    for (long k = 0; k < call->node_count; k++) {
        const struct node *o = call->nodes + k;
        struct place p = {0};
        p.in = in;
        p.lin = in_ld;
        p.lout = form_ld(n, (int)o->after, o->down * o->across);
        const long out = numbers_out(n, o), entering = o->inputs * in_ld;
        widen(&n->widest, out);
        widen(&n->widest, entering);
        if (o->kind == SAME || o->kind == ENTER) p.out = (REAL *)in;
        else p.out = taken(&room, out);
        if (o->kind == ENTER) widen(&deepest, ++depth);
        if (o->kind == ADD) depth--;
        if (o->kind == ACTIVATION) p.kept = o->how == RELU || o->how == IDENTITY ? p.out : taken(&room, out);
        if (o->kind == MAXIMUM) p.kept = taken(&room, out);
        if (o->kind == NORM) {
            p.kept = taken(&room, out);
            p.more = taken(&room, o->how * (o->before == IMAGES ? n->lanes : in_ld));
        }
        if (o->kind == CONVOLUTION) {
            const long squares = o->kernel * o->kernel, back_y = o->down + 2 * o->kernel, back_x = o->across + 2 * o->kernel;
            p.row = (o->wide + o->first + o->last) * n->lanes;
            p.plane = APART_BY((o->high + o->first + o->last) * p.row);
            p.kept = taken(&room, o->inputs * p.plane);
            p.places = (long *)taken(&room, (o->inputs + o->outputs) * squares * (long)(sizeof(long) / sizeof(REAL) + 1));
            widen(scratch, o->inputs * p.plane);
            widen(scratch, o->outputs * APART_BY(back_y * back_x * n->lanes));
            widen(scratch + 1, o->inputs * o->outputs * squares);
            if (writes) patch_places(p.places, o->inputs, o->kernel, p.plane, p.row, n->lanes);
        }
        if (o->kind == LINEAR || o->kind == ATTENTION) widen(scratch + 3, PADDED(o->inputs, LANES) * in_ld);
        if (o->kind == ATTENTION) {
            p.kept = taken(&room, 3 * out);
            p.more = taken(&room, n->samples * o->how * call->positions * n->tokens);
            p.other = taken(&room, out);
            widen(scratch, out);
            widen(scratch + 1, 3 * out);
            widen(scratch + 2, call->positions * n->tokens);
            widen(scratch + 3, n->tokens * n->tokens);
        }
        if (writes) n->at[k] = p;
        in = p.out;
        in_ld = p.lout;
    }
    n->spares = deepest + 3;
    for (long k = 0; k < n->spares && k < MOST_SPARES; k++) n->spare[k] = taken(&room, n->widest);
    for (long k = 0; k < 4; k++) n->scratch[k] = taken(&room, scratch[k]);
    return room - begin;
}

static void wide_moved(double *array, const int64_t *shape, const struct array *own, double *held, int stores)
{
    for (long i = 0; i < shape[0]; i++)
        for (long j = 0; j < shape[1]; j++) {
            double *const here = held + (own->flips ? j * own->ld + i : i * own->ld + j), *there = array + i * shape[1] + j;
            if (stores) *there = *here;
            else *here = *there;
        }
}

static void graph_moved(const struct call *call, struct graph *n, long lane, int stores)
{
    void *const *kinds[] = {call->weights, call->first, call->second};
    for (long a = 0; a < call->layers; a++) {
        const int64_t *shape = call->shapes + 3 * a;
        const struct array *own = n->array + a;
        REAL *arrays[] = {own->w, own->m, own->v};
        for (int kind = 0; kind < 3; kind++) {
            if (!kinds[kind]) continue;
            const long begin = lane * shape[0] * shape[1];
            if (call->wide) wide_moved((double *)kinds[kind][a] + begin, shape, own, own->wide[kind], stores);
            else if (stores) store((int)own->flips, (REAL *)kinds[kind][a] + begin, shape[0], shape[1], arrays[kind], own->ld);
            else load((int)own->flips, (REAL *)kinds[kind][a] + begin, shape[0], shape[1], arrays[kind], own->ld);
        }
    }
}

/* Weights as they are, into the frame of a look. */
static void graph_seen(const struct call *call, struct graph *n, long look)
{
    for (long a = 0; a < call->layers; a++) {
        const int64_t *shape = call->shapes + 3 * a;
        const struct array *own = n->array + a;
        const long begin = (call->look_frames[look] * call->lanes + n->lane) * shape[0] * shape[1];
        if (call->wide) wide_moved((double *)call->frames[a] + begin, shape, own, own->wide[0], 1);
        else store((int)own->flips, (REAL *)call->frames[a] + begin, shape[0], shape[1], own->w, own->ld);
    }
}

/* Some samples as they flow into the first node; of those that are missing zeros. */
static APART void entered(struct graph *n, long lane, const int64_t *rows, long first)
{
    const struct call *call = n->call;
    const struct node *o = call->nodes;
    const long ld = n->at[0].lin, D = call->inputs, t = call->positions, features = D / (t ? t : 1);
    for (long s = 0; s < n->samples && (s < n->some || !t); s++) {
        const long at = lane * call->samples + (s < n->some ? rows ? rows[first + s] : first + s : 0);
        const REAL *x = (const REAL *)call->x + at * D;
        if (t)
            for (long k = 0; k < t; k++)
                for (long f = 0; f < features; f++) n->x[f * ld + s * n->tokens + k] = x[k * features + f];
        else {
            /* pixels of an image are rows of samples */
            const long across = o->before == IMAGES ? n->lanes : ld;
            for (long k = 0; k < D; k++) n->x[k * across + s] = s < n->some ? x[k] : 0;
        }
    }
}

static void forward(struct graph *n)
{
    const struct call *call = n->call;
    const REAL *held[MOST_SPARES];
    long depth = 0;
    for (long k = 0; k < call->node_count; k++) {
        const struct node *o = call->nodes + k;
        const struct place *p = n->at + k;
        switch (o->kind) {
        case LINEAR: mapped(n, o, p); break;
        case CONVOLUTION: convolved(n, o, p); break;
        case ACTIVATION: bent((int)o->how, (REAL)o->number, p->in, o->inputs, p->lin, COLUMNS_IN(n, o), p->out, p->kept); break;
        case NORM: normalised(n, o, p); break;
        case AVERAGE:
        case MAXIMUM: pooled(n, o, p); break;
        case ENTER: held[depth++] = p->in; break;
        case ADD: {
            const REAL *other = held[--depth];
            const long rows = o->inputs, ld = p->lin, columns = COLUMNS_IN(n, o);
            EACH_VECTOR AT(p->out + k) = AT(p->in + k) + AT(other + k);
            break;
        }
        case ATTENTION: attended(n, o, p); break;
        case EMBEDDING: embedded(n, o, p); break;
        case POSITIONS: placed(n, o, p); break;
        case TOKENS_FLAT:
        case MEAN:
        case LAST: read_out(n, o, p); break;
        }
    }
}

/* Back from derivatives in the last of the spares, which are gradients when it ends. */
static void backward(struct graph *n)
{
    const struct call *call = n->call;
    REAL *held[MOST_SPARES], *spare[MOST_SPARES];
    long depth = 0, spares = n->spares - 1;
    memcpy(spare, n->spare, sizeof spare);
    REAL *delta = spare[spares];
    for (long k = call->node_count - 1; k >= 0; k--) {
        const struct node *o = call->nodes + k;
        const struct place *p = n->at + k;
        const long rows = o->inputs, ld = p->lin, columns = COLUMNS_IN(n, o);
        REAL *below = spare[spares - 1];
        switch (o->kind) {
        case LINEAR:
            tapped(n, o->taps[0], delta, p->lout, o->outputs, (int)o->after, 1);
            map_back(n, array_of(n, o, 0), array_of(n, o, 1), p->in, ld, delta, p->lout, o->outputs, rows, columns,
                     o->needed ? below : 0, ld, 0);
            break;
        case CONVOLUTION: convolved_back(n, o, p, delta, below); break;
        case ACTIVATION: bent_back((int)o->how, delta, p->kept, rows, ld, columns); break;
        case NORM: normalised_back(n, o, p, delta, below); break;
        case AVERAGE:
        case MAXIMUM: pooled_back(n, o, p, delta, below); break;
        case ENTER: {
            REAL *other = held[--depth];
            EACH_VECTOR AT(delta + k) += AT(other + k);
            spare[spares++] = other;
            break;
        }
        case ADD:
            held[depth++] = delta;
            EACH_VECTOR AT(below + k) = AT(delta + k);
            break;
        case ATTENTION: attended_back(n, o, p, delta, below); break;
        case EMBEDDING: embedded_back(n, o, p, delta); break;
        case POSITIONS: placed_back(n, o, p, delta); break;
        case TOKENS_FLAT:
        case MEAN:
        case LAST: read_back(n, o, p, delta, below); break;
        }
        if (!o->needed) return;
        if (o->kind == ACTIVATION || o->kind == SAME || o->kind == POSITIONS || o->kind == ENTER) continue;
        if (o->kind == ADD) spares--;
        else spare[spares - 1] = delta;
        delta = below;
    }
}

/* Derivatives of the loss with respect to the outputs of some samples. */
static APART void of_outputs(struct graph *n, long lane, const int64_t *rows, long first, REAL *delta)
{
    const struct call *call = n->call;
    const struct place *last = n->at + call->node_count - 1;
    const long C = call->outputs, ld = last->lout;
    REAL *row = n->spare[0];
    memset(delta, 0, C * ld * sizeof(REAL));
    for (long s = 0; s < n->some; s++) {
        const long at = lane * call->samples + (rows ? rows[first + s] : first + s);
        for (long c = 0; c < C; c++) row[c] = last->out[c * ld + s];
        residual(call, row, (const REAL *)call->y + at * call->targets, row);
        for (long c = 0; c < C; c++) delta[c * ld + s] = row[c];
    }
}

/* c times the weights is what a network computes with; its gradients begin at zero. */
static APART void prepared(struct graph *n)
{
    for (long a = 0; a < n->call->layers; a++) {
        const struct array *own = n->array + a;
        const double c = n->call->multipliers[a];
        const long count = own->rows * own->ld;
        memset(own->g, 0, count * sizeof(REAL));
        if (n->call->wide)
            for (long k = 0; k < count; k++) own->e[k] = (REAL)own->wide[0][k] * (REAL)c;
        else if (own->e != own->w)
            for (long k = 0; k < count; k++) own->e[k] = own->w[k] * (REAL)c;
    }
}

/* Weights and states by the rule; what is behind a row's columns is left alone. */
static APART void moved_by_rule(struct graph *n, long lane, long step)
{
    const struct call *call = n->call;
    for (long a = 0; a < call->layers; a++) {
        const struct array *own = n->array + a;
        const REAL c = (REAL)call->multipliers[a];
        const int whole = own->columns == own->ld;
        const long rows = whole ? 1 : own->rows, columns = whole ? own->rows * own->ld : own->columns;
        for (long k = 0; c != 1 && k < own->rows * own->ld; k++) own->g[k] *= c;
        const struct of_rule p = numbers_of(call, lane, a, step);
        const struct wide_of_rule wide = wide_numbers_of(call, lane, a, step);
        for (long i = 0, at = 0; i < rows; i++, at += own->ld)
            if (call->wide) {
                for (long k = at; k < at + columns; k++) own->wide[3][k] = own->g[k];
                wide_update((int)call->rule, columns, own->wide[0] + at, own->wide[3] + at, own->wide[1] + at,
                            own->wide[2] + at, &wide);
            } else {
                update((int)call->rule, columns, own->w + at, own->g + at, own->m + at, own->v + at, &p);
            }
    }
}

static void graph_step(struct graph *n, long lane, long step)
{
    const struct call *call = n->call;
    const int64_t *rows = call->rows ? call->rows + (lane * call->steps + step) * call->batch : 0;
    n->lane = lane;
    prepared(n);
    for (long first = 0; first < call->batch; first += n->samples) {
        n->first = first;
        n->some = call->batch - first < n->samples ? call->batch - first : n->samples;
        entered(n, lane, rows, first);
        forward(n);
        of_outputs(n, lane, rows, first, n->spare[n->spares - 1]);
        backward(n);
    }
    moved_by_rule(n, lane, step);
}

/* Outputs, and derivatives of some of them for what tapped maps give, each of one output of one sample times `factor`. */
static void graph_tapped(struct graph *n, long lane)
{
    const struct call *call = n->call;
    const struct place *last = n->at + call->node_count - 1;
    const long C = call->outputs, ld = last->lout;
    n->lane = lane;
    prepared(n);
    for (n->first = 0; n->first < call->batch; n->first += n->samples) {
        n->some = call->batch - n->first < n->samples ? call->batch - n->first : n->samples;
        entered(n, lane, 0, n->first);
        forward(n);
        for (long s = 0; s < n->some; s++)
            for (long c = 0; c < C; c++)
                ((REAL *)call->found)[(lane * call->samples + n->first + s) * C + c] = last->out[c * ld + s];
        for (n->output = 0; n->output < call->output_count; n->output++) {
            REAL *delta = n->spare[n->spares - 1];
            memset(delta, 0, C * ld * sizeof(REAL));
            for (long s = 0; s < n->some; s++) delta[(call->first_output + n->output) * ld + s] = (REAL)call->factor;
            backward(n);
        }
    }
}

/* Move every network by so many steps, or tap it. 0: done; 1: there is no memory; 2: not what this was compiled for. */
int nfa_graph_steps(const struct call *call)
{
    struct graph n = {0};
    if (call->real_bytes != sizeof(REAL)) return 2;
    n.call = call;
    for (long k = 0; k < call->node_count; k++) n.has_images |= call->nodes[k].before == IMAGES;
    choose_samples(&n);
    const long bytes = graph_laid_out(call, &n, 0);
    if (n.spares > MOST_SPARES) return 2;
    char *room = aligned_alloc(64, PADDED(bytes, 64));
    if (!room) return 1;
    memset(room, 0, bytes);
    graph_laid_out(call, &n, room);
    for (long lane = 0; lane < call->lanes; lane++) {
        graph_moved(call, &n, lane, 0);
        if (call->taps) {
            graph_tapped(&n, lane);
            continue;
        }
        long look = 0;
        for (long step = 0; step < call->steps; step++) {
            graph_step(&n, lane, step);
            if (look < call->looks && call->look_steps[look] == step + 1) graph_seen(call, &n, look++);
        }
        graph_moved(call, &n, lane, 1);
    }
    free(room);
    return 0;
}
