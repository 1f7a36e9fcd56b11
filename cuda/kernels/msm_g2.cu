// Multi-scalar multiplication in G2.
#include "msm_kernels.cuh"

namespace pm {
PM_INSTANTIATE_MSM(Fq2)
}
