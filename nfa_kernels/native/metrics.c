/* What measurements make of many small matrices, one network after the other, in double.

No network's numbers depend on another's, nor on how many there are; NaN and infinity stay what they are.
*/

#include "call.h"
#include "steps.h"
#include "elementary.h"
#include "entries.h"
#include "exponents.h"
#include "gram.h"
#include "rotations.h"
#include "eigenvectors.h"
#include "thin.h"
#include "product_metrics.h"
