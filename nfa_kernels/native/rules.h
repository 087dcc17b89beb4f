/* What each update rule does to a row of weights from its gradient; as in nfa_kernels/optimizers, of one real type. */

struct of_rule {
    REAL rate, decay, shrinks; /* of this matrix at this step; shrinks = rate * decay */
    REAL first, second;        /* what running means take of the new value, or momentum */
    REAL epsilon, root;        /* root = sqrt(1 - beta2^t) of Adam, whose rate is over 1 - beta1^t */
};

static ALWAYS REAL lerp(REAL from, REAL to, REAL share)
{
    return share < (REAL)0.5 ? from + share * (to - from) : to - (to - from) * (1 - share);
}

/* Of NaN it is 0, as the tensor library's is. */
static ALWAYS REAL sign(REAL x)
{
    return (REAL)((x > 0) - (x < 0));
}

#define EACH for (long j = 0; j < n; j++)

/* w, m and v of n numbers from their gradient g; m and v are read by the rules that have them. */
static APART void update(
    int rule, long n, REAL *restrict w, const REAL *restrict g, REAL *restrict m, REAL *restrict v,
    const struct of_rule *p)
{
    const REAL rate = p->rate, decay = p->decay, shrinks = p->shrinks, first = p->first, second = p->second;
    const REAL epsilon = p->epsilon, root = p->root;
    switch (rule) {
    case DESCENT:
        EACH w[j] = w[j] - shrinks * w[j] - rate * g[j];
        break;
    case MOMENTUM:
        EACH {
            m[j] = (g[j] + decay * w[j]) + first * m[j];
            w[j] -= rate * m[j];
        }
        break;
    case NESTEROV:
        EACH {
            REAL d = g[j] + decay * w[j];
            m[j] = d + first * m[j];
            w[j] -= rate * (d + first * m[j]);
        }
        break;
    case ADAM:
    case ADAMW: {
        const REAL coupled = rule == ADAM ? decay : 0, taken = rule == ADAM ? 0 : shrinks;
        EACH {
            REAL d = g[j] + coupled * w[j];
            m[j] = lerp(m[j], d, first);
            v[j] = lerp(v[j], d * d, second);
            w[j] = (w[j] - taken * w[j]) - rate * (m[j] / (SQRT(v[j]) / root + epsilon));
        }
        break;
    }
    case RMSPROP:
        EACH {
            REAL d = g[j] + decay * w[j];
            m[j] = lerp(m[j], d * d, first);
            w[j] -= rate * (d / (SQRT(m[j]) + epsilon));
        }
        break;
    case ADAGRAD:
        EACH {
            REAL d = g[j] + decay * w[j];
            m[j] += d * d;
            w[j] -= rate * (d / (SQRT(m[j]) + epsilon));
        }
        break;
    case LION:
        EACH {
            w[j] = (w[j] - shrinks * w[j]) - rate * sign(lerp(m[j], g[j], first));
            m[j] = lerp(m[j], g[j], second);
        }
        break;
    case SIGNSGD:
        EACH w[j] = (w[j] - shrinks * w[j]) - rate * sign(g[j]);
        break;
    case SGDW:
        EACH {
            m[j] = g[j] + first * m[j];
            w[j] = (w[j] - shrinks * w[j]) - rate * m[j];
        }
        break;
    }
}

#undef EACH

/* Numbers of a step of one matrix, each rounded once from float64. */
static struct of_rule numbers_of(const struct call *call, long lane, long l, long step)
{
    const double *own = call->numbers + 3 * lane;
    const double pace = call->paces[call->own_paces ? lane * call->steps + step : step];
    const double count = (double)(call->count + step + 1);
    double rate = call->rates[lane * call->layers + l] * pace, decay = call->decays[lane * call->layers + l];
    struct of_rule p = {(REAL)rate, (REAL)decay, (REAL)(rate * decay), (REAL)own[0], 0, (REAL)own[2], 1};
    if (call->rule == ADAM || call->rule == ADAMW || call->rule == LION || call->rule == RMSPROP) {
        p.first = (REAL)(1 - own[0]);
        p.second = (REAL)(1 - own[1]);
    }
    if (call->rule == ADAM || call->rule == ADAMW) {
        p.rate = (REAL)(rate / (1 - pow(own[0], count)));
        p.root = (REAL)sqrt(1 - pow(own[1], count));
    }
    return p;
}
