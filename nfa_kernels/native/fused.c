/* Many steps of networks that are products of matrices, one network after the other, each while it is in the cache.

Widths are known when it is called, so that a machine compiles this once. Products go through the thin side, as in
nfa_kernels/products.py; where that is the inputs', every matrix is held transposed and their order is turned round.
No network's numbers depend on another's. Sums may be taken in another order than they are written; NaN and infinity
stay what they are.
*/

#include "call.h"
#include "steps.h"

/* Move every network by so many steps. 0: done; 1: there is no memory; 2: not what this was compiled for. */
int nfa_fused_steps(const struct call *call)
{
    if (call->layers > MOST_LAYERS || call->real_bytes != sizeof(REAL)) return 2;
    return run(call);
}
