#include "base/simd/scalar.h"

#include "gemm/columns-inl.h"
#include "gemm/microkernel-inl.h"
#include "gemm/pack-inl.h"
#include "gemm/strip-inl.h"
#include "gemm/vector-inl.h"

namespace sixloop {

void gemm_rows_f32_4x4__scalar(const GemmTile<float>& t) { gemm_rows_tile<scalar::F32, 4, 4>(t); }
void gemm_rows_f64_4x4__scalar(const GemmTile<double>& t) { gemm_rows_tile<scalar::F64, 4, 4>(t); }
void gemm_panel_f32_4x4__scalar(const GemmTile<float>& t) { gemm_panel_tile<scalar::F32, 4, 4>(t); }
void gemm_panel_f64_4x4__scalar(const GemmTile<double>& t) { gemm_panel_tile<scalar::F64, 4, 4>(t); }
void gemm_strip_f32_4x4__scalar(const GemmStripArgs<float>& s) { gemm_strip<scalar::F32, 4, 4>(s); }
void gemm_strip_f64_4x4__scalar(const GemmStripArgs<double>& s) { gemm_strip<scalar::F64, 4, 4>(s); }
void gemm_columns_f32_4x4__scalar(const GemmColumnsArgs<float>& s) { gemm_columns<scalar::F32, 4, 4>(s); }
void gemm_columns_f64_4x4__scalar(const GemmColumnsArgs<double>& s) { gemm_columns<scalar::F64, 4, 4>(s); }
void gemm_transpose_f32__scalar(const GemmTransposeArgs<float>& s) { gemm_transpose<scalar::F32>(s); }
void gemm_transpose_f64__scalar(const GemmTransposeArgs<double>& s) { gemm_transpose<scalar::F64>(s); }
void gemm_pack_f32__scalar(const GemmPackArgs<float>& s) { gemm_pack<scalar::F32>(s); }
void gemm_pack_f64__scalar(const GemmPackArgs<double>& s) { gemm_pack<scalar::F64>(s); }
void gemm_vector_f32__scalar(const GemmVectorArgs<float>& s) { gemm_vector<scalar::F32>(s); }
void gemm_vector_turned_f32__scalar(const GemmVectorArgs<float>& s) { gemm_vector_turned<scalar::F32>(s); }
void gemm_vector_f64__scalar(const GemmVectorArgs<double>& s) { gemm_vector<scalar::F64>(s); }
void gemm_vector_turned_f64__scalar(const GemmVectorArgs<double>& s) { gemm_vector_turned<scalar::F64>(s); }
int64_t fma_peak_f32__scalar(int64_t rounds, float* sink) { return fma_rounds<scalar::F32, 12>(rounds, sink); }
int64_t fma_peak_f64__scalar(int64_t rounds, double* sink) { return fma_rounds<scalar::F64, 12>(rounds, sink); }

}  // namespace sixloop
