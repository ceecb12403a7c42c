// Marks the functions that CUDA kernels call, too: one text has one arithmetic.
#pragma once

#if defined(__CUDACC__)
#define SIXLOOP_HD __host__ __device__
#else
#define SIXLOOP_HD
#endif
