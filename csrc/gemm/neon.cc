#include "base/simd/neon.h"

#include "gemm/columns-inl.h"
#include "gemm/microkernel-inl.h"
#include "gemm/pack-inl.h"
#include "gemm/strip-inl.h"
#include "gemm/vector-inl.h"

namespace sixloop {

void gemm_rows_f32_6x16__neon(const GemmTile<float>& t) { gemm_rows_tile<neon::F32, 6, 4>(t); }
void gemm_rows_f32_8x12__neon(const GemmTile<float>& t) { gemm_rows_tile<neon::F32, 8, 3>(t); }
void gemm_rows_f32_12x8__neon(const GemmTile<float>& t) { gemm_rows_tile<neon::F32, 12, 2>(t); }
void gemm_rows_f32_16x4__neon(const GemmTile<float>& t) { gemm_rows_tile<neon::F32, 16, 1>(t); }
void gemm_rows_f64_6x8__neon(const GemmTile<double>& t) { gemm_rows_tile<neon::F64, 6, 4>(t); }
void gemm_rows_f64_8x6__neon(const GemmTile<double>& t) { gemm_rows_tile<neon::F64, 8, 3>(t); }
void gemm_rows_f64_12x4__neon(const GemmTile<double>& t) { gemm_rows_tile<neon::F64, 12, 2>(t); }
void gemm_rows_f64_16x2__neon(const GemmTile<double>& t) { gemm_rows_tile<neon::F64, 16, 1>(t); }
void gemm_panel_f32_6x16__neon(const GemmTile<float>& t) { gemm_panel_tile<neon::F32, 6, 4>(t); }
void gemm_panel_f32_8x12__neon(const GemmTile<float>& t) { gemm_panel_tile<neon::F32, 8, 3>(t); }
void gemm_panel_f32_12x8__neon(const GemmTile<float>& t) { gemm_panel_tile<neon::F32, 12, 2>(t); }
void gemm_panel_f32_16x4__neon(const GemmTile<float>& t) { gemm_panel_tile<neon::F32, 16, 1>(t); }
void gemm_panel_f64_6x8__neon(const GemmTile<double>& t) { gemm_panel_tile<neon::F64, 6, 4>(t); }
void gemm_panel_f64_8x6__neon(const GemmTile<double>& t) { gemm_panel_tile<neon::F64, 8, 3>(t); }
void gemm_panel_f64_12x4__neon(const GemmTile<double>& t) { gemm_panel_tile<neon::F64, 12, 2>(t); }
void gemm_panel_f64_16x2__neon(const GemmTile<double>& t) { gemm_panel_tile<neon::F64, 16, 1>(t); }
void gemm_strip_f32_6x16__neon(const GemmStripArgs<float>& s) { gemm_strip<neon::F32, 6, 4>(s); }
void gemm_strip_f64_6x8__neon(const GemmStripArgs<double>& s) { gemm_strip<neon::F64, 6, 4>(s); }
void gemm_columns_f32_6x16__neon(const GemmColumnsArgs<float>& s) { gemm_columns<neon::F32, 6, 4>(s); }
void gemm_columns_f32_8x12__neon(const GemmColumnsArgs<float>& s) { gemm_columns<neon::F32, 8, 3>(s); }
void gemm_columns_f32_12x8__neon(const GemmColumnsArgs<float>& s) { gemm_columns<neon::F32, 12, 2>(s); }
void gemm_columns_f64_6x8__neon(const GemmColumnsArgs<double>& s) { gemm_columns<neon::F64, 6, 4>(s); }
void gemm_columns_f64_8x6__neon(const GemmColumnsArgs<double>& s) { gemm_columns<neon::F64, 8, 3>(s); }
void gemm_columns_f64_12x4__neon(const GemmColumnsArgs<double>& s) { gemm_columns<neon::F64, 12, 2>(s); }
void gemm_transpose_f32__neon(const GemmTransposeArgs<float>& s) { gemm_transpose<neon::F32>(s); }
void gemm_transpose_f64__neon(const GemmTransposeArgs<double>& s) { gemm_transpose<neon::F64>(s); }
void gemm_pack_f32__neon(const GemmPackArgs<float>& s) { gemm_pack<neon::F32>(s); }
void gemm_pack_f64__neon(const GemmPackArgs<double>& s) { gemm_pack<neon::F64>(s); }
void gemm_vector_f32__neon(const GemmVectorArgs<float>& s) { gemm_vector<neon::F32>(s); }
void gemm_vector_turned_f32__neon(const GemmVectorArgs<float>& s) { gemm_vector_turned<neon::F32>(s); }
void gemm_vector_f64__neon(const GemmVectorArgs<double>& s) { gemm_vector<neon::F64>(s); }
void gemm_vector_turned_f64__neon(const GemmVectorArgs<double>& s) { gemm_vector_turned<neon::F64>(s); }
int64_t fma_peak_f32__neon(int64_t rounds, float* sink) { return fma_rounds<neon::F32, 24>(rounds, sink); }
int64_t fma_peak_f64__neon(int64_t rounds, double* sink) { return fma_rounds<neon::F64, 24>(rounds, sink); }

}  // namespace sixloop
