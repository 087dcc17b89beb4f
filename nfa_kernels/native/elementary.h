/* Exponentials, error functions and hyperbolic tangents of whole vectors, to a few units in the last place.

They need products.h. What is infinite or NaN stays what it is, and a number's value does not depend on its place.
*/

#if defined(NFA_FLOAT32)
#define MANTISSA 23
#define BIAS 127
#define SHIFTER ((REAL)12582912.0) /* 1.5 2^23: what is added to it is rounded to whole numbers */
#define LN2_HIGH ((REAL)0.693359375)
#define LN2_LOW ((REAL)-2.12194440e-4)
#define EXP_LEAST ((REAL)-87.0)
#define EXP_MOST ((REAL)88.0)
#else
#define MANTISSA 52
#define BIAS 1023
#define SHIFTER 6755399441055744.0
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_LEAST (-708.0)
#define EXP_MOST 709.0
#endif
#define INFINITE ((REAL)__builtin_inf())

static ALWAYS vector all(REAL x)
{
    const vector zero = {0};
    return x - zero; /* of -0 it is -0 */
}

static ALWAYS vector chosen(mask where, vector yes, vector no)
{
    return (vector)(((mask)yes & where) | ((mask)no & ~where));
}

static ALWAYS vector size_of(vector x)
{
    return (vector)((mask)x & ~(mask)all((REAL)-0.0));
}

/* r + r^2 / 2 + .. = exp(r) - 1 for |r| <= ln(2) / 2. */
static ALWAYS vector exp_rest(vector r)
{
#if defined(NFA_FLOAT32)
    static const REAL c[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f};
#else
    static const REAL c[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                             1.0 / 5040,       1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      0.5};
#endif
    vector p = all(c[0]);
#pragma GCC unroll 16
    for (unsigned k = 1; k < sizeof c / sizeof *c; k++) p = p * r + c[k];
    return r * r * p + r;
}

/* 2^n, and exp(x) / 2^n - 1; x between the bounds, or NaN. */
static ALWAYS vector exp_parts(vector x, vector *rest)
{
    const vector shifted = x * (REAL)1.44269504088896340736 + SHIFTER, n = shifted - SHIFTER;
    *rest = exp_rest((x - n * LN2_HIGH) - n * LN2_LOW);
    return (vector)(((mask)shifted - (mask)all(SHIFTER) + BIAS) << MANTISSA);
}

static ALWAYS vector exp_of(vector x)
{
    const mask low = x < EXP_LEAST, high = x > EXP_MOST;
    vector rest, scale = exp_parts(chosen(low, all(EXP_LEAST), chosen(high, all(EXP_MOST), x)), &rest);
    vector value = scale + scale * rest;
    value = chosen(low, all(0), value);
    /* e times more than what it is bounded by may still be a number, of which nobody can make use */
    return chosen(high, all(INFINITE), value);
}

/* tanh(x) = m / (m + 2) for m = exp(2 x) - 1 of |x|, which is exact near zero. */
static ALWAYS vector tanh_of(vector x)
{
    const vector size = size_of(x), most = all(20);
    vector rest, scale = exp_parts(2 * chosen(size > most, most, size), &rest);
    const vector m = scale * rest + (scale - 1);
    return (vector)((mask)(m / (m + 2)) | ((mask)x & (mask)all((REAL)-0.0)));
}

static ALWAYS vector sigmoid_of(vector x)
{
    return 1 / (1 + exp_of(-x));
}

/* exp(x^2) erfc(x) for x >= 0: (1 + 2 x) times it is a polynomial of (x - 2) / (x + 2), by Chebyshev's expansion. */
static ALWAYS vector erfcx_of(vector x)
{
#if defined(NFA_FLOAT32)
    static const REAL c[] = {
        0.00016080358140619638f, -0.00018365443747856458f, -0.0013957069454171554f, 0.0010431445819498314f,
        0.008689159657643974f, -0.00794272169927651f, -0.0542119584942782f, 0.16403583960740942f,
        -0.16603109565096685f, -0.09276308204826912f, 1.2769783913176498f};
#else
    static const REAL c[] = {
        -1.5262679352985343e-08, -2.5305141927267772e-08, 9.659019878108599e-08,  2.3553843017592263e-07,
        -1.4164078332373284e-07, -9.504794272796639e-07,  -8.300935245650616e-07, 1.5975049404072662e-06,
        5.321768572458338e-06,   3.657729660017389e-06,   -1.3541035465911559e-05, -3.640227972762343e-05,
        -1.4937295510972207e-06, 0.00015103339422025303,  0.00020636359927099247, -0.00045433977239304926,
        -0.0014568134264005763,  0.001271338844221823,    0.008722653830939888,   -0.008034015074488669,
        -0.05422000099003155,    0.1640512800331996,      -0.16603039761532476,   -0.0927638265857438,
        1.2769783815525289};
#endif
    const vector u = (x - 2) / (x + 2);
    vector p = all(c[0]);
#pragma GCC unroll 32
    for (unsigned k = 1; k < sizeof c / sizeof *c; k++) p = p * u + c[k];
    return p / (1 + 2 * x);
}

/* The normal distribution function at z, and its density. */
static ALWAYS vector normal_of(vector z, vector *density)
{
    const vector x = size_of(z) * (REAL)0.70710678118654752440, e = exp_of(z * z * (REAL)-0.5);
    const vector far = chosen(x > 30, all(30), x), tail = (REAL)0.5 * e * erfcx_of(far);
    *density = e * (REAL)0.39894228040143267794;
    return chosen(z > 0, 1 - tail, tail);
}
