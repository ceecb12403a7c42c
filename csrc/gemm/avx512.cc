#include "base/simd/avx512.h"

#include "gemm/columns-inl.h"
#include "gemm/microkernel-inl.h"
#include "gemm/pack-inl.h"
#include "gemm/strip-inl.h"
#include "gemm/vector-inl.h"

namespace sixloop {

void gemm_rows_f32_10x32__avx512(const GemmTile<float>& t) { gemm_rows_tile<avx512::F32, 10, 2>(t); }
void gemm_rows_f32_8x48__avx512(const GemmTile<float>& t) { gemm_rows_tile<avx512::F32, 8, 3>(t); }
void gemm_rows_f32_8x32__avx512(const GemmTile<float>& t) { gemm_rows_tile<avx512::F32, 8, 2>(t); }
void gemm_rows_f32_12x16__avx512(const GemmTile<float>& t) { gemm_rows_tile<avx512::F32, 12, 1>(t); }
void gemm_rows_f64_10x16__avx512(const GemmTile<double>& t) { gemm_rows_tile<avx512::F64, 10, 2>(t); }
void gemm_rows_f64_12x8__avx512(const GemmTile<double>& t) { gemm_rows_tile<avx512::F64, 12, 1>(t); }
void gemm_panel_f32_14x32__avx512(const GemmTile<float>& t) { gemm_panel_tile<avx512::F32, 14, 2>(t); }
void gemm_panel_f32_13x32__avx512(const GemmTile<float>& t) { gemm_panel_tile<avx512::F32, 13, 2>(t); }
void gemm_panel_f32_12x32__avx512(const GemmTile<float>& t) { gemm_panel_tile<avx512::F32, 12, 2>(t); }
void gemm_panel_f32_16x16__avx512(const GemmTile<float>& t) { gemm_panel_tile<avx512::F32, 16, 1>(t); }
void gemm_panel_f64_14x16__avx512(const GemmTile<double>& t) { gemm_panel_tile<avx512::F64, 14, 2>(t); }
void gemm_panel_f64_13x16__avx512(const GemmTile<double>& t) { gemm_panel_tile<avx512::F64, 13, 2>(t); }
void gemm_panel_f64_12x16__avx512(const GemmTile<double>& t) { gemm_panel_tile<avx512::F64, 12, 2>(t); }
void gemm_panel_f64_16x8__avx512(const GemmTile<double>& t) { gemm_panel_tile<avx512::F64, 16, 1>(t); }
void gemm_strip_f32_8x32__avx512(const GemmStripArgs<float>& s) { gemm_strip<avx512::F32, 8, 2>(s); }
void gemm_strip_f32_10x16__avx512(const GemmStripArgs<float>& s) { gemm_strip<avx512::F32, 10, 1>(s); }
void gemm_strip_f32_14x32__avx512(const GemmStripArgs<float>& s) { gemm_strip<avx512::F32, 14, 2>(s); }
void gemm_strip_f32_7x48__avx512(const GemmStripArgs<float>& s) { gemm_strip<avx512::F32, 7, 3>(s); }
void gemm_strip_f64_14x16__avx512(const GemmStripArgs<double>& s) { gemm_strip<avx512::F64, 14, 2>(s); }
void gemm_strip_f64_10x8__avx512(const GemmStripArgs<double>& s) { gemm_strip<avx512::F64, 10, 1>(s); }
void gemm_strip_f64_8x16__avx512(const GemmStripArgs<double>& s) { gemm_strip<avx512::F64, 8, 2>(s); }
void gemm_columns_f32_9x32__avx512(const GemmColumnsArgs<float>& s) { gemm_columns<avx512::F32, 9, 2>(s); }
void gemm_columns_f32_8x32__avx512(const GemmColumnsArgs<float>& s) { gemm_columns<avx512::F32, 8, 2>(s); }
void gemm_columns_f32_9x16__avx512(const GemmColumnsArgs<float>& s) { gemm_columns<avx512::F32, 9, 1>(s); }
void gemm_columns_f64_9x16__avx512(const GemmColumnsArgs<double>& s) { gemm_columns<avx512::F64, 9, 2>(s); }
void gemm_columns_f64_8x16__avx512(const GemmColumnsArgs<double>& s) { gemm_columns<avx512::F64, 8, 2>(s); }
void gemm_columns_f64_9x8__avx512(const GemmColumnsArgs<double>& s) { gemm_columns<avx512::F64, 9, 1>(s); }
void gemm_transpose_f32__avx512(const GemmTransposeArgs<float>& s) { gemm_transpose<avx512::F32>(s); }
void gemm_transpose_f64__avx512(const GemmTransposeArgs<double>& s) { gemm_transpose<avx512::F64>(s); }
void gemm_pack_f32__avx512(const GemmPackArgs<float>& s) { gemm_pack<avx512::F32>(s); }
void gemm_pack_f64__avx512(const GemmPackArgs<double>& s) { gemm_pack<avx512::F64>(s); }
void gemm_vector_f32__avx512(const GemmVectorArgs<float>& s) { gemm_vector<avx512::F32>(s); }
void gemm_vector_turned_f32__avx512(const GemmVectorArgs<float>& s) { gemm_vector_turned<avx512::F32>(s); }
void gemm_vector_f64__avx512(const GemmVectorArgs<double>& s) { gemm_vector<avx512::F64>(s); }
void gemm_vector_turned_f64__avx512(const GemmVectorArgs<double>& s) { gemm_vector_turned<avx512::F64>(s); }
int64_t fma_peak_f32__avx512(int64_t rounds, float* sink) { return fma_rounds<avx512::F32, 12>(rounds, sink); }
int64_t fma_peak_f64__avx512(int64_t rounds, double* sink) { return fma_rounds<avx512::F64, 12>(rounds, sink); }

}  // namespace sixloop
