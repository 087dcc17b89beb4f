/* The update rules in double, for weights that are kept so beside passes in float; without effect where REAL is double. */

#if defined(NFA_FLOAT32)
#undef REAL
#undef SQRT
#define REAL double
#define SQRT sqrt
#define of_rule wide_of_rule
#define lerp wide_lerp
#define sign wide_sign
#define update wide_update
#define numbers_of wide_numbers_of
#include "rules.h"
#undef REAL
#undef SQRT
#undef of_rule
#undef lerp
#undef sign
#undef update
#undef numbers_of
#define REAL float
#define SQRT sqrtf
#else
#define wide_of_rule of_rule
#define wide_update update
#define wide_numbers_of numbers_of
#endif
