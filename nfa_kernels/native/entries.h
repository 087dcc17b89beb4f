/* The largest entries of arrays: as whole numbers sizes are in the same order, infinity behind all and NaN behind that. */

#define LARGEST(name, type, bits, most)                             \
    static APART type name(const type *x, long count)               \
    {                                                               \
        bits found[16] = {0}, one;                                  \
        long j = 0;                                                 \
        for (; j + 16 <= count; j += 16)                            \
            for (int k = 0; k < 16; k++) {                          \
                memcpy(&one, x + j + k, sizeof one);                \
                one &= most;                                        \
                found[k] = one > found[k] ? one : found[k];         \
            }                                                       \
        for (int k = 0; j < count; j++, k++) {                      \
            memcpy(&one, x + j, sizeof one);                        \
            one &= most;                                            \
            found[k] = one > found[k] ? one : found[k];             \
        }                                                           \
        for (int k = 1; k < 16; k++)                                \
            if (found[k] > found[0]) found[0] = found[k];           \
        type largest;                                               \
        memcpy(&largest, found, sizeof largest);                    \
        return largest;                                             \
    }

LARGEST(largest_of_singles, float, int32_t, INT32_MAX)
LARGEST(largest_of_doubles, double, int64_t, INT64_MAX)

/* found[array][lane] of arrays (lanes, counts[array]) that are float or double. */
int nfa_largest_entries(
    int64_t arrays, int64_t lanes, int64_t is_single, const int64_t *counts, const void *const *x, double *found)
{
    for (long a = 0; a < arrays; a++)
        for (long lane = 0; lane < lanes; lane++)
            *found++ = is_single ? largest_of_singles((const float *)x[a] + lane * counts[a], counts[a])
                                 : largest_of_doubles((const double *)x[a] + lane * counts[a], counts[a]);
    return 0;
}
