/* Attention, embeddings, places and readouts of tokens; see graph.h. */

/* Columns of t rows of scores become weights of sum one; later rows than a column's own have none if it is causal. */
static APART void softmaxed(REAL *scores, long t, long ld, int causal)
{
    vector place;
    for (long k = 0; k < LANES; k++) place[k] = (REAL)k;
    for (long j = 0; j < ld; j += LANES, place += LANES) {
        vector most = AT(scores + j), sum = {0};
        for (long i = 1; i < t; i++) {
            const vector own = AT(scores + i * ld + j);
            most = chosen(causal ? (own > most) & (place >= (REAL)i) : own > most, own, most);
        }
        for (long i = 0; i < t; i++) {
            vector own = exp_of(AT(scores + i * ld + j) - most);
            if (causal) own = chosen(place >= (REAL)i, own, all(0));
            AT(scores + i * ld + j) = own;
            sum += own;
        }
        sum = 1 / sum;
        for (long i = 0; i < t; i++) AT(scores + i * ld + j) *= sum;
    }
}

static ALWAYS void scaled(REAL *z, long rows, long ld, long columns, REAL by)
{
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j += LANES) AT(z + i * ld + j) *= by;
}

/* kept: queries, scaled, keys and values, each (d, columns); more: weights of the values, (keys, queries) of each head of
each sample; other: the weighted values. */
static APART void attended(const struct graph *n, const struct node *o, const struct place *p)
{
    const long d = o->inputs, ld = p->lin, columns = COLUMNS_IN(n, o), t = n->call->positions, tp = n->tokens;
    const long heads = o->how, e = d / heads;
    for (long k = 0; k < 3; k++) {
        const struct array *w = array_of(n, o, 2 * k), *b = array_of(n, o, 2 * k + 1);
        times(d, w->e, w->ld, 1, p->in, ld, d, columns, p->kept + k * d * ld, ld, 0);
        if (b) shifted(p->kept + k * d * ld, d, ld, columns, b->e);
    }
    scaled(p->kept, d, ld, columns, (REAL)o->number);
    for (long s = 0; s < n->some; s++)
        for (long head = 0; head < heads; head++) {
            const long at = head * e * ld + s * tp;
            const REAL *query = p->kept + at, *key = query + d * ld, *value = key + d * ld;
            REAL *scores = p->more + (s * heads + head) * t * tp;
            times(t, key, 1, ld, query, ld, e, tp, scores, tp, 0);
            softmaxed(scores, t, tp, (int)o->flag);
            times(e, value, ld, 1, scores, tp, t, tp, p->other + at, ld, 0);
        }
    const struct array *w = array_of(n, o, 6), *b = array_of(n, o, 7);
    times(d, w->e, w->ld, 1, p->other, ld, d, columns, p->out, ld, 0);
    if (b) shifted(p->out, d, ld, columns, b->e);
}

static APART void attended_back(
    const struct graph *n, const struct node *o, const struct place *p, const REAL *delta, REAL *below)
{
    const long d = o->inputs, ld = p->lin, columns = COLUMNS_IN(n, o), t = n->call->positions, tp = n->tokens;
    const long heads = o->how, e = d / heads;
    REAL *of_found = n->scratch[0], *of_three = n->scratch[1], *of_scores = n->scratch[2];
    const int all_asked = !n->call->taps || o->needed;
    const int asked[3] = {all_asked || o->taps[0] >= 0, all_asked || o->taps[1] >= 0, all_asked || o->taps[2] >= 0};
    tapped(n, o->taps[3], delta, ld, d, TOKENS, 1);
    if (!asked[0] && !asked[1] && !asked[2]) return;
    map_back(n, array_of(n, o, 6), array_of(n, o, 7), p->other, ld, delta, ld, d, d, columns, of_found, ld, 0);
    for (long s = 0; s < n->some; s++)
        for (long head = 0; head < heads; head++) {
            const long at = head * e * ld + s * tp;
            const REAL *query = p->kept + at, *key = query + d * ld, *value = key + d * ld, *of_own = of_found + at;
            const REAL *weights = p->more + (s * heads + head) * t * tp, *found = p->other + at;
            if (asked[2]) {
                turned(weights, t, tp, tp, n->scratch[3], tp);
                times(e, of_own, ld, 1, n->scratch[3], tp, tp, tp, of_three + 2 * d * ld + at, ld, 0);
            }
            if (!asked[0] && !asked[1]) continue;
            times(t, value, 1, ld, of_own, ld, e, tp, of_scores, tp, 0);
            for (long j = 0; j < tp; j += LANES) {
                /* the sum over keys of a weight times its derivative is what comes out times its own */
                vector shared = {0};
                for (long i = 0; i < e; i++) shared += AT(of_own + i * ld + j) * AT(found + i * ld + j);
                for (long i = 0; i < t; i++)
                    AT(of_scores + i * tp + j) = (AT(of_scores + i * tp + j) - shared) * AT(weights + i * tp + j);
            }
            if (asked[0]) times(e, key, ld, 1, of_scores, tp, t, tp, of_three + at, ld, 0);
            if (!asked[1]) continue;
            turned(of_scores, t, tp, tp, n->scratch[3], tp);
            times(e, query, ld, 1, n->scratch[3], tp, tp, tp, of_three + d * ld + at, ld, 0);
        }
    scaled(of_three, d, ld, columns, (REAL)o->number);
    for (long k = 0; k < 3; k++) {
        tapped(n, o->taps[k], of_three + k * d * ld, ld, d, TOKENS, 1);
        map_back(n, array_of(n, o, 2 * k), array_of(n, o, 2 * k + 1), p->in, ld, of_three + k * d * ld, ld, d, d, columns,
                 o->needed ? below : 0, ld, k > 0);
    }
}

/* Numbers of tokens lie in one row. */
static APART void embedded(const struct graph *n, const struct node *o, const struct place *p)
{
    const struct array *table = array_of(n, o, 0);
    for (long j = 0, columns = COLUMNS_OUT(n, o); j < columns; j++) {
        const REAL *row = table->e + (long)p->in[j] * table->ld;
        for (long i = 0; i < o->outputs; i++) p->out[i * p->lout + j] = row[i];
    }
}

static APART void embedded_back(const struct graph *n, const struct node *o, const struct place *p, const REAL *delta)
{
    const struct array *table = array_of(n, o, 0);
    for (long s = 0; s < n->some; s++)
        for (long k = 0; k < n->call->positions; k++) {
            const long j = s * n->tokens + k;
            REAL *row = table->g + (long)p->in[j] * table->ld;
            for (long i = 0; i < o->outputs; i++) row[i] += delta[i * p->lout + j];
        }
}

static APART void placed(const struct graph *n, const struct node *o, const struct place *p)
{
    const struct array *vectors = array_of(n, o, 0);
    for (long i = 0; i < o->inputs; i++)
        for (long s = 0; s < n->some; s++)
            for (long j = 0; j < n->tokens; j += LANES) {
                const long k = i * p->lin + s * n->tokens + j;
                AT(p->out + k) = AT(p->in + k) + AT(vectors->e + i * vectors->ld + j);
            }
}

static APART void placed_back(const struct graph *n, const struct node *o, const struct place *p, const REAL *delta)
{
    const struct array *vectors = array_of(n, o, 0);
    for (long i = 0; i < o->inputs; i++)
        for (long s = 0; s < n->some; s++)
            for (long j = 0; j < n->tokens; j += LANES)
                AT(vectors->g + i * vectors->ld + j) += AT(delta + i * p->lin + s * n->tokens + j);
}

/* The mean of tokens, the last one, or all of them one behind the other; of other samples zeros. */
static APART void read_out(const struct graph *n, const struct node *o, const struct place *p)
{
    const long t = n->call->positions;
    memset(p->out, 0, o->outputs * p->lout * sizeof(REAL));
    for (long i = 0; i < o->inputs; i++)
        for (long s = 0; s < n->some; s++) {
            const REAL *row = p->in + i * p->lin + s * n->tokens;
            const long whole = t / LANES * LANES;
            REAL sum = o->kind == MEAN ? row_sum(row, whole) : 0;
            for (long k = whole; o->kind == MEAN && k < t; k++) sum += row[k];
            for (long k = 0; o->kind == TOKENS_FLAT && k < t; k++) p->out[(k * o->inputs + i) * p->lout + s] = row[k];
            if (o->kind != TOKENS_FLAT) p->out[i * p->lout + s] = o->kind == MEAN ? sum / (REAL)t : row[t - 1];
        }
}

static APART void read_back(
    const struct graph *n, const struct node *o, const struct place *p, const REAL *delta, REAL *below)
{
    const long t = n->call->positions;
    memset(below, 0, o->inputs * p->lin * sizeof(REAL));
    for (long i = 0; i < o->inputs; i++)
        for (long s = 0; s < n->some; s++) {
            REAL *row = below + i * p->lin + s * n->tokens;
            const REAL share = o->kind == TOKENS_FLAT ? 0 : delta[i * p->lout + s] / (REAL)t;
            for (long k = 0; k < t; k++)
                row[k] = o->kind == TOKENS_FLAT ? delta[(k * o->inputs + i) * p->lout + s]
                         : o->kind == MEAN       ? share
                         : k == t - 1            ? delta[i * p->lout + s]
                                                 : 0;
        }
}
