/* Activations, forward and back; they need elementary.h. */

enum { IDENTITY, RELU, LEAKY_RELU, GELU, TANH, SILU, SIGMOID, QUADRATIC };

#define EACH_VECTOR for (long i = 0; i < rows; i++) for (long j = 0, k = i * ld; j < columns; j += LANES, k += LANES)

/* Values, and what the way back multiplies with. */
static APART void bent(int how, REAL slope, const REAL *z, long rows, long ld, long columns, REAL *out, REAL *slopes)
{
    const vector zero = {0}, one = all(1);
    switch (how) {
    case IDENTITY:
        EACH_VECTOR AT(out + k) = AT(z + k);
        break;
    case RELU:
        EACH_VECTOR AT(out + k) = chosen(AT(z + k) < 0, zero, AT(z + k));
        break;
    case LEAKY_RELU:
        EACH_VECTOR {
            const mask above = AT(z + k) > 0;
            AT(out + k) = chosen(above, AT(z + k), slope * AT(z + k));
            AT(slopes + k) = chosen(above, one, all(slope));
        }
        break;
    case GELU:
        EACH_VECTOR {
            vector density, below = normal_of(AT(z + k), &density);
            AT(out + k) = AT(z + k) * below;
            AT(slopes + k) = below + AT(z + k) * density;
        }
        break;
    case TANH:
        EACH_VECTOR {
            const vector value = tanh_of(AT(z + k));
            AT(out + k) = value;
            AT(slopes + k) = 1 - value * value;
        }
        break;
    case SILU:
        EACH_VECTOR {
            const vector x = AT(z + k), gate = sigmoid_of(x);
            AT(out + k) = x * gate;
            AT(slopes + k) = gate * (1 + x * (1 - gate));
        }
        break;
    case SIGMOID:
        EACH_VECTOR {
            const vector gate = sigmoid_of(AT(z + k));
            AT(out + k) = gate;
            AT(slopes + k) = gate * sigmoid_of(-AT(z + k));
        }
        break;
    case QUADRATIC:
        EACH_VECTOR {
            const vector x = AT(z + k);
            AT(out + k) = x * x;
            AT(slopes + k) = 2 * x;
        }
        break;
    }
}

static APART void bent_back(int how, REAL *delta, const REAL *kept, long rows, long ld, long columns)
{
    const vector zero = {0};
    if (how == RELU) {
        EACH_VECTOR AT(delta + k) = chosen(AT(kept + k) <= 0, zero, AT(delta + k));
    } else if (how != IDENTITY) {
        EACH_VECTOR AT(delta + k) *= AT(kept + k);
    }
}
