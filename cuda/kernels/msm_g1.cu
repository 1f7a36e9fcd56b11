// Multi-scalar multiplication in G1.
#include "msm_kernels.cuh"

namespace pm {
PM_INSTANTIATE_MSM(Fq)
}
