/* What each update rule does to a row of weights from its gradient; as in nfa_kernels/optimizers, of one real type. */

struct numbers {
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
    const struct numbers *p)
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
