#include "base/simd/avx2.h"

#include "gemm/columns-inl.h"
#include "gemm/microkernel-inl.h"
#include "gemm/pack-inl.h"
#include "gemm/strip-inl.h"
#include "gemm/vector-inl.h"

namespace sixloop {

void gemm_rows_f32_6x16__avx2(const GemmTile<float>& t) { gemm_rows_tile<avx2::F32, 6, 2>(t); }
void gemm_rows_f32_8x8__avx2(const GemmTile<float>& t) { gemm_rows_tile<avx2::F32, 8, 1>(t); }
void gemm_rows_f64_6x8__avx2(const GemmTile<double>& t) { gemm_rows_tile<avx2::F64, 6, 2>(t); }
void gemm_rows_f64_8x4__avx2(const GemmTile<double>& t) { gemm_rows_tile<avx2::F64, 8, 1>(t); }
void gemm_panel_f32_6x16__avx2(const GemmTile<float>& t) { gemm_panel_tile<avx2::F32, 6, 2>(t); }
void gemm_panel_f32_12x8__avx2(const GemmTile<float>& t) { gemm_panel_tile<avx2::F32, 12, 1>(t); }
void gemm_panel_f64_6x8__avx2(const GemmTile<double>& t) { gemm_panel_tile<avx2::F64, 6, 2>(t); }
void gemm_panel_f64_12x4__avx2(const GemmTile<double>& t) { gemm_panel_tile<avx2::F64, 12, 1>(t); }
void gemm_strip_f32_6x16__avx2(const GemmStripArgs<float>& s) { gemm_strip<avx2::F32, 6, 2>(s); }
void gemm_strip_f32_5x16__avx2(const GemmStripArgs<float>& s) { gemm_strip<avx2::F32, 5, 2>(s); }
void gemm_strip_f64_5x8__avx2(const GemmStripArgs<double>& s) { gemm_strip<avx2::F64, 5, 2>(s); }
void gemm_strip_f64_6x8__avx2(const GemmStripArgs<double>& s) { gemm_strip<avx2::F64, 6, 2>(s); }
void gemm_columns_f32_6x16__avx2(const GemmColumnsArgs<float>& s) { gemm_columns<avx2::F32, 6, 2>(s); }
void gemm_columns_f32_9x8__avx2(const GemmColumnsArgs<float>& s) { gemm_columns<avx2::F32, 9, 1>(s); }
void gemm_columns_f64_6x8__avx2(const GemmColumnsArgs<double>& s) { gemm_columns<avx2::F64, 6, 2>(s); }
void gemm_columns_f64_9x4__avx2(const GemmColumnsArgs<double>& s) { gemm_columns<avx2::F64, 9, 1>(s); }
void gemm_transpose_f32__avx2(const GemmTransposeArgs<float>& s) { gemm_transpose<avx2::F32>(s); }
void gemm_transpose_f64__avx2(const GemmTransposeArgs<double>& s) { gemm_transpose<avx2::F64>(s); }
void gemm_pack_f32__avx2(const GemmPackArgs<float>& s) { gemm_pack<avx2::F32>(s); }
void gemm_pack_f64__avx2(const GemmPackArgs<double>& s) { gemm_pack<avx2::F64>(s); }
void gemm_vector_f32__avx2(const GemmVectorArgs<float>& s) { gemm_vector<avx2::F32>(s); }
void gemm_vector_turned_f32__avx2(const GemmVectorArgs<float>& s) { gemm_vector_turned<avx2::F32>(s); }
void gemm_vector_f64__avx2(const GemmVectorArgs<double>& s) { gemm_vector<avx2::F64>(s); }
void gemm_vector_turned_f64__avx2(const GemmVectorArgs<double>& s) { gemm_vector_turned<avx2::F64>(s); }
int64_t fma_peak_f32__avx2(int64_t rounds, float* sink) { return fma_rounds<avx2::F32, 12>(rounds, sink); }
int64_t fma_peak_f64__avx2(int64_t rounds, double* sink) { return fma_rounds<avx2::F64, 12>(rounds, sink); }

}  // namespace sixloop
