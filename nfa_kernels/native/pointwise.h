/* Normalisations, forward and back; see graph.h. */

/* Groups of an image are so many rows of samples, of vectors and tokens so many rows of columns. */
struct grouping {
    long groups, rows, ld, columns, pixels;
};

static ALWAYS struct grouping grouping_of(const struct graph *n, const struct node *o, const struct place *p)
{
    const long pixels = o->before == IMAGES ? o->high * o->wide : 1;
    const struct grouping g = {
        o->how, o->inputs / o->how * pixels, o->before == IMAGES ? n->lanes : p->lin,
        o->before == IMAGES ? n->lanes : COLUMNS_IN(n, o), pixels};
    return g;
}

/* kept: what is normalised; more: 1 / deviation, (groups, columns). */
static APART void normalised(const struct graph *n, const struct node *o, const struct place *p)
{
    const struct grouping s = grouping_of(n, o, p);
    const REAL *gain = array_of(n, o, 0)->e, *shift = o->flag ? 0 : array_of(n, o, 1)->e;
    const REAL over = 1 / (REAL)s.rows, epsilon = (REAL)o->number;
    for (long g = 0; g < s.groups; g++)
        for (long j = 0; j < s.columns; j += LANES) {
            const REAL *x = p->in + g * s.rows * s.ld + j;
            REAL *scaled = p->kept + g * s.rows * s.ld + j, *out = p->out + g * s.rows * s.ld + j;
            vector sum[2] = {{0}}, mean = {0};
            if (!o->flag) {
                long i = 0;
                for (; i + 1 < s.rows; i += 2) {
                    sum[0] += AT(x + i * s.ld);
                    sum[1] += AT(x + (i + 1) * s.ld);
                }
                if (i < s.rows) sum[0] += AT(x + i * s.ld);
                mean = (sum[0] + sum[1]) * over;
            }
            const vector zero = {0};
            sum[0] = sum[1] = zero;
            for (long i = 0; i < s.rows; i++) {
                const vector centred = AT(x + i * s.ld) - mean;
                sum[i & 1] += centred * centred;
            }
            vector rate = (sum[0] + sum[1]) * over + epsilon;
            REAL deviation[LANES] __attribute__((aligned(64)));
            AT(deviation) = rate;
            for (long k = 0; k < LANES; k++) deviation[k] = SQRT(deviation[k]);
            rate = 1 / AT(deviation);
            AT(p->more + g * s.ld + j) = rate;
            long i = 0;
            for (long f = g * s.rows / s.pixels; i < s.rows; f++)
                for (long pixel = 0; pixel < s.pixels; pixel++, i++) {
                    const vector own = (AT(x + i * s.ld) - mean) * rate;
                    AT(scaled + i * s.ld) = own;
                    AT(out + i * s.ld) = shift ? own * gain[f] + shift[f] : own * gain[f];
                }
        }
}

static APART void normalised_back(
    const struct graph *n, const struct node *o, const struct place *p, const REAL *delta, REAL *below)
{
    const struct grouping s = grouping_of(n, o, p);
    const REAL *gain = array_of(n, o, 0)->e, over = 1 / (REAL)s.rows;
    REAL *of_gain = array_of(n, o, 0)->g, *of_shift = o->flag ? 0 : array_of(n, o, 1)->g;
    for (long f = 0; !n->call->taps && f < o->inputs; f++) {
        vector along = {0}, total = {0};
        REAL sums[2] = {0};
        for (long pixel = 0; pixel < s.pixels; pixel++)
            for (long j = 0; j < s.columns; j += LANES) {
                const long k = (f * s.pixels + pixel) * s.ld + j;
                along += AT(delta + k) * AT(p->kept + k);
                total += AT(delta + k);
            }
        for (long k = 0; k < LANES; k++) {
            sums[0] += along[k];
            sums[1] += total[k];
        }
        of_gain[f] += sums[0];
        if (of_shift) of_shift[f] += sums[1];
    }
    if (!o->needed) return;
    for (long g = 0; g < s.groups; g++)
        for (long j = 0; j < s.columns; j += LANES) {
            const long begin = g * s.rows * s.ld + j, first = g * s.rows / s.pixels;
            vector along = {0}, total = {0};
            long i = 0;
            for (long f = first; i < s.rows; f++)
                for (long pixel = 0; pixel < s.pixels; pixel++, i++) {
                    const vector own = AT(delta + begin + i * s.ld) * gain[f];
                    along += own * AT(p->kept + begin + i * s.ld);
                    total += own;
                }
            along *= over;
            total = o->flag ? all(0) : total * over;
            const vector rate = AT(p->more + g * s.ld + j);
            i = 0;
            for (long f = first; i < s.rows; f++)
                for (long pixel = 0; pixel < s.pixels; pixel++, i++) {
                    const long k = begin + i * s.ld;
                    AT(below + k) = (AT(delta + k) * gain[f] - total - AT(p->kept + k) * along) * rate;
                }
        }
}
